// The warehouse's page: a copy of all orders by WebSocket, where a fresh credential takes
// the place of the old one while the watch goes on.
import { createClient, mirror, type Resource } from "@watchroute/client";
import { webSocket } from "@watchroute/client/websocket";
import { OrderSchema, type Order } from "../../../../gen/ts/shop/v1/orders_pb.js";
import { connection } from "./connection.js";
import { at, drawn, element, goods, login, milliseconds, shop, status, steps, time } from "./shop.js";

const most = 30; // of a step are shown

for (const [step, text] of steps) {
  at("board").append(element("section", { "data-status": step, "aria-label": text },
    element("h2", {}, text + " ", element("span", { class: "count" }, "0")), element("ol", {})));
}

const since = (order: Resource<Order>) => milliseconds(order.data.statusTime);

const show = drawn(() => {
  for (const section of document.querySelectorAll<HTMLElement>("section[data-status]")) {
    const here = [...orders.index("step", section.dataset.status!)].sort((a, b) => since(b) - since(a));
    section.querySelector(".count")!.textContent = String(here.length);
    section.querySelector("ol")!.replaceChildren(...here.slice(0, most).map((o) =>
      element("li", { class: "order", "data-order": o.data.orderId }, element("strong", {}, o.data.orderId), ` ${o.data.customerId}`,
        element("small", {}, `${goods(o.data)}, since ${time(since(o))}`))));
  }
});

const { watchroute } = await shop();
const client = createClient({ baseUrl: watchroute, token: () => login({ warehouse: true }), rungs: [webSocket()], onState: connection() });
const orders = mirror(client, OrderSchema, { parent: "orders", heartbeat: 5000, indexes: { step: (o) => [status(o.data)] }, onChange: show });
await orders.ended();
