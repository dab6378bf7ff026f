// What both pages know: where things are, who one is, and how orders are shown.

/** The steps of an order, and how they are called here. */
export const steps = {
  PENDING: "Placed",
  SHIPPED: "Shipped",
  OUT_FOR_DELIVERY: "Out for delivery",
  DELIVERED: "Delivered",
};

async function json(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

const post = (url, body, headers = {}) =>
  json(url, { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) });

/** Where Watchroute is, and who the customers are. */
export const shop = () => json("shop.json");

/** A token, and for how many seconds it counts: {token, expiresIn}. */
export const login = (who) => post("login", who);

/** Places an order, as the customer that a token is of. */
export const order = (token, items) => post("orders", { items }, { Authorization: "Bearer " + token });

/** The id of a resource: the order `42` is `orders/42`. */
export const id = (resource) => resource.name.slice(resource.name.indexOf("/") + 1);

export const time = (text) => new Date(text).toLocaleTimeString("en-GB");

export const goods = (data) => (data.items ?? []).map((i) => `${i.quantity} × ${i.sku}`).join(", ");

export const money = (m) => (Number(m?.units ?? 0) + (m?.nanos ?? 0) / 1e9).toFixed(2) + " " + (m?.currencyCode ?? "");

/** An element with attributes and children, which are text or elements. */
export function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  e.append(...children);
  return e;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A random time between 0 and 1 s, 2 s, 4 s ... up to 30 s: so long a client waits before
 * its nth attempt, from 0, to come back. */
export const backoff = (n) => Math.random() * Math.min(30, 2 ** n) * 1000;
