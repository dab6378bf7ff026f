// The customer's page: an EventSource on the customer's own orders. Which those are is
// Watchroute's to say: the page asks for all, and is shown its own.

import { backoff, element, goods, id, login, money, order, shop, sleep, steps, time } from "./shop.js";

const customer = new URLSearchParams(location.search).get("customer") ?? "";
const { watchroute } = await shop();
const at = (name) => document.getElementById(name);
at("customer").textContent = customer;

// What the page holds, kept for a reload together with the token that stands behind it:
// `orders` by name, `news` in the order in which it came.
const key = "orders of " + customer;
let held = JSON.parse(sessionStorage.getItem(key)) ?? { token: "", orders: {}, news: [] };

function apply(event) {
  const { name, revision, data } = event.resource;
  const before = held.orders[name];
  if (before && BigInt(revision) <= BigInt(before.revision)) return; // told again
  if (event.state !== "PRESENT") {
    delete held.orders[name];
    return;
  }
  held.orders[name] = { revision, id: id(event.resource), data, seen: { ...before?.seen, [data.status]: data.statusTime } };
  if (before?.data.status !== data.status) held.news = [...held.news.slice(-99), { id: id(event.resource), status: data.status, time: data.statusTime }];
}

let showing = false;
function show() {
  if (showing) return;
  showing = true;
  requestAnimationFrame(() => {
    showing = false;
    const newest = Object.values(held.orders).sort((a, b) => b.data.placeTime.localeCompare(a.data.placeTime));
    at("orders").replaceChildren(...newest.map((o) => {
      const reached = Object.keys(steps).indexOf(o.data.status);
      return element("li", { class: "order", "data-order": o.id, "data-status": o.data.status },
        element("strong", {}, o.id), ` ${goods(o.data)}, ${money(o.data.total)}`,
        element("ol", { class: "steps" }, ...Object.entries(steps).map(([status, text], n) =>
          element("li", n <= reached ? { class: "done" } : {}, text + (o.seen[status] ? " " + time(o.seen[status]) : "")))),
        element("small", {}, o.data.location?.description ?? ""));
    }));
    at("news").replaceChildren(...held.news.map((n) => element("li", { "data-order": n.id }, `${time(n.time)} ${n.id}: ${steps[n.status] ?? n.status}`)));
  });
}

const state = (text, good) => {
  at("state").textContent = text;
  at("state").className = good ? "pill good" : "pill";
};

/** Watches with one token until the EventSource cannot go on by itself. While it can, the
 * browser connects anew and says itself where it was. */
function watch(token) {
  return new Promise((over) => {
    const url = new URL("/v1/orders/watch-all", watchroute);
    url.searchParams.set("delivery", "EVERY_CHANGE");
    url.searchParams.set("heartbeat", "5s");
    url.searchParams.set("access_token", token);
    if (held.token) url.searchParams.set("resume_token", held.token);
    const source = new EventSource(url);
    let heard = Date.now(), limit = 30000;
    const watchdog = setInterval(() => Date.now() - heard > limit && end("nothing was heard"), 1000);
    const end = (why) => {
      clearInterval(watchdog);
      source.close();
      over(why);
    };
    const on = (kind, act) => source.addEventListener(kind, (e) => {
      heard = Date.now();
      act(JSON.parse(e.data));
      held.token = e.lastEventId;
      sessionStorage.setItem(key, JSON.stringify(held));
      show();
    });
    on("started", ({ started }) => {
      limit = parseFloat(started.silenceLimit) * 1000;
      if (started.mode === "SNAPSHOT") held = { ...held, orders: {} };
      state(started.mode === "RESUMED" ? "live, went on where it was" : "live", true);
    });
    on("change", apply);
    on("reset", () => (held = { ...held, orders: {} }));
    on("snapshot_end", () => {});
    on("bookmark", () => {});
    on("drain", () => {});
    on("closed", ({ closed }) => end(closed.message)); // the token has expired, above all
    source.onerror = () => {
      state("connecting again", false);
      if (source.readyState === EventSource.CLOSED) end("it was refused"); // perhaps the token has expired while the node was away
      heard = Date.now();
    };
  });
}

async function main() {
  for (let attempt = 0; ; attempt++) {
    try {
      const { token } = await login({ customer });
      const began = Date.now();
      const why = await watch(token);
      console.log("the watch is opened again: " + why);
      if (Date.now() - began > 1000) attempt = -1; // at once
    } catch (e) {
      at("problem").textContent = e.message;
    }
    if (attempt >= 0) await sleep(backoff(attempt));
  }
}

at("order").onclick = async () => {
  try {
    const { token } = await login({ customer });
    await order(token, [{ sku: "tea", quantity: 1 }]);
    at("problem").textContent = "";
  } catch (e) {
    at("problem").textContent = e.message;
  }
};

show();
main();
