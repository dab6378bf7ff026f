import { element, shop } from "./shop.js";

const { customers } = await shop();
const who = document.getElementById("who");
const link = (href, text) => who.append(element("li", {}, element("a", { href }, text)));
for (const customer of customers) link("customer.html?customer=" + encodeURIComponent(customer), customer + ", a customer");
link("warehouse.html", "the warehouse, which sees all orders");
