// What the pages know of the shop: where things are, who one is, and how orders are shown.
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { OrderStatus, type Money, type Order } from "../../../../gen/ts/shop/v1/orders_pb.js";

/** The steps of an order, and how they are called here. */
export const steps: ReadonlyMap<string, string> = new Map([
  ["PENDING", "Placed"],
  ["SHIPPED", "Shipped"],
  ["OUT_FOR_DELIVERY", "Out for delivery"],
  ["DELIVERED", "Delivered"],
]);

export type Who = { customer: string } | { warehouse: true };

async function json<T>(url: string, options?: RequestInit): Promise<T> {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return (await answer.json()) as T;
}

const post = <T>(url: string, body: unknown, headers: Record<string, string> = {}) =>
  json<T>(url, { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) });

/** Where Watchroute is, and who the customers are. */
export const shop = () => json<{ watchroute: string; customers: string[] }>("shop.json");

/** A credential that counts for a while. */
export const login = async (who: Who) => (await post<{ token: string }>("login", who)).token;

/** Places an order, as the customer that a token is of. */
export const placeOrder = (token: string, items: { sku: string; quantity: number }[]) => post("orders", { items }, { Authorization: "Bearer " + token });

export const status = (order: Order) => OrderStatus[order.status] ?? "";

export const milliseconds = (t: Timestamp | undefined) => (t ? timestampDate(t).getTime() : 0);

export const time = (ms: number) => new Date(ms).toLocaleTimeString("en-GB");

export const goods = (order: Order) => order.items.map((i) => `${i.quantity} × ${i.sku}`).join(", ");

export const money = (m: Money | undefined) => (Number(m?.units ?? 0) + (m?.nanos ?? 0) / 1e9).toFixed(2) + " " + (m?.currencyCode ?? "");

export const at = (id: string) => document.getElementById(id)!;

/** An element with attributes and children, which are text or elements. */
export function element(name: string, attributes: Record<string, string>, ...children: (string | Node)[]): HTMLElement {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

/** Gives a function that draws soon, however often it is called. */
export function drawn(draw: () => void): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    // A page in the background gets no animation frames.
    setTimeout(() => {
      waiting = false;
      draw();
    }, 20);
  };
}
