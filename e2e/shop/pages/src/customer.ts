// The customer's page: a watch of the customer's own orders, by whatever gets through to this
// browser. Which orders those are is Watchroute's to say: the page asks for all, and is shown
// its own.
import { createClient, watch, type Event } from "@watchroute/client";
import { ladder } from "@watchroute/client/ladder";
import { OrderSchema, type Order } from "../../../../gen/ts/shop/v1/orders_pb.js";
import { connection } from "./connection.js";
import { at, drawn, element, goods, login, milliseconds, money, placeOrder, shop, status, steps, time } from "./shop.js";

/** An order as it is shown. */
interface Shown {
  id: string;
  text: string;
  status: string;
  placed: number;
  /** When it came to each step. */
  seen: Record<string, number>;
  where: string;
}

/** What the page holds: `orders` by name, `news` in the order in which it came. */
interface Held {
  /** Stands behind all of the rest: with it the watch goes on after a reload. */
  token: string;
  orders: Record<string, Shown>;
  news: { id: string; status: string; time: number }[];
}

const customer = new URLSearchParams(location.search).get("customer") ?? "";
const key = "orders of " + customer;
const held: Held = (JSON.parse(sessionStorage.getItem(key) ?? "null") as Held | null) ?? { token: "", orders: {}, news: [] };
/** What was held when the state was told to be void, until the new one is complete: it is no news. */
let former: Record<string, Shown> = {};

at("customer").textContent = customer;

function apply(event: Event<Order>): void {
  switch (event.kind) {
    case "RESET":
      former = { ...former, ...held.orders };
      held.orders = {};
      held.token = "";
      break;
    case "SYNCED":
      former = {};
      break;
    case "ABSENT":
      delete held.orders[event.name];
      break;
    case "PRESENT": {
      const { data, name } = event;
      const before = held.orders[name] ?? former[name];
      const step = status(data), since = milliseconds(data.statusTime);
      held.orders[name] = {
        id: data.orderId, text: `${goods(data)}, ${money(data.total)}`, status: step, placed: milliseconds(data.placeTime),
        seen: { ...before?.seen, [step]: since }, where: data.location?.description ?? "",
      };
      if (before?.status !== step) held.news = [...held.news.slice(-99), { id: data.orderId, status: step, time: since }];
    }
  }
}

const show = drawn(() => {
  const names = [...steps.keys()];
  const newest = Object.values(held.orders).sort((a, b) => b.placed - a.placed);
  at("orders").replaceChildren(...newest.map((o) => {
    const reached = names.indexOf(o.status);
    return element("li", { class: "order", "data-order": o.id, "data-status": o.status },
      element("strong", {}, o.id), ` ${o.text}`,
      element("ol", { class: "steps" }, ...[...steps].map(([name, text], n) =>
        element("li", n <= reached ? { class: "done" } : {}, text + (o.seen[name] ? " " + time(o.seen[name]) : "")))),
      element("small", {}, o.where));
  }));
  at("news").replaceChildren(...held.news.map((n) => element("li", { "data-order": n.id }, `${time(n.time)} ${n.id}: ${steps.get(n.status) ?? n.status}`)));
});

const problem = (cause?: unknown) => (at("problem").textContent = cause === undefined ? "" : cause instanceof Error ? cause.message : String(cause));

async function credential(): Promise<string> {
  try {
    const token = await login({ customer });
    problem();
    return token;
  } catch (cause) {
    problem(cause);
    throw cause;
  }
}

at("order").onclick = async () => {
  try {
    await placeOrder(await login({ customer }), [{ sku: "tea", quantity: 1 }]);
    problem();
  } catch (cause) {
    problem(cause);
  }
};

show();
const { watchroute } = await shop();
const client = createClient({ baseUrl: watchroute, token: credential, rungs: ladder(), onState: connection() });
const orders = watch(client, OrderSchema, { parent: "orders", delivery: "EVERY_CHANGE", heartbeat: 5000, resumeToken: held.token || undefined });

// The watch's token moves once the page has finished with all that is before it. So when it
// has moved since the last event was taken, it and what the page holds belong together.
function keep(): void {
  if (orders.token === undefined || orders.token === held.token) return;
  held.token = orders.token;
  sessionStorage.setItem(key, JSON.stringify(held));
}
addEventListener("pagehide", keep);

try {
  for await (const event of orders) {
    keep();
    apply(event);
    show();
  }
} catch (cause) {
  problem(cause);
}
