// The orders of one customer: index.html?customer=ada.
import { createClient, mirror } from "@watchroute/client";
import { OrderSchema, OrderStatus, type Order } from "../../../gen/ts/shop/v1/orders_pb.js";

const customer = new URLSearchParams(location.search).get("customer") ?? "ada";
const client = createClient({ baseUrl: NODE });

const orders = mirror(client, OrderSchema, {
  parent: "orders",
  filter: `data.customer_id == ${JSON.stringify(customer)}`,
  onChange: show,
  onState: (_, state) => say(state === "LIVE" ? "live" : `as of ${orders.liveAsOf?.toLocaleTimeString() ?? "never"}: ${state}`),
});
orders.ended().catch((error) => say(error.message)); // trying again is of no use

function show(): void {
  document.getElementById("orders")!.replaceChildren(...orders.list().map((order) => row(order.data)));
}

function row(order: Order): HTMLElement {
  const row = document.createElement("tr");
  for (const text of [order.orderId, OrderStatus[order.status], order.location?.description ?? "", `${order.total?.units} ${order.total?.currencyCode}`]) {
    row.insertCell().textContent = text;
  }
  return row;
}

function say(text: string): void {
  document.getElementById("state")!.textContent = text;
}
