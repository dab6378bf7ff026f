import { at, element, shop } from "./shop.js";

const { customers } = await shop();
const link = (href: string, text: string) => at("who").append(element("li", {}, element("a", { href }, text)));
for (const customer of customers) link("customer.html?customer=" + encodeURIComponent(customer), customer + ", a customer");
link("warehouse.html", "the warehouse, which sees all orders");
