// The warehouse's page: all orders by WebSocket. The credential is the first message, so
// that it is in no URL; a fresh one is sent before it expires, and the watch goes on.

import { backoff, element, goods, id, login, shop, sleep, steps, time } from "./shop.js";

const { watchroute } = await shop();
const warehouse = { warehouse: true };
const most = 30; // of a step are shown

const orders = new Map();
let token = "";

for (const [status, text] of Object.entries(steps)) {
  document.getElementById("board").append(element("section", { "data-status": status, "aria-label": text },
    element("h2", {}, text + " ", element("span", { class: "count" }, "0")), element("ol", {})));
}

function show() {
  for (const section of document.querySelectorAll("section[data-status]")) {
    const here = [...orders.values()].filter((o) => o.data.status === section.dataset.status).sort((a, b) => b.data.statusTime.localeCompare(a.data.statusTime));
    section.querySelector(".count").textContent = here.length;
    section.querySelector("ol").replaceChildren(...here.slice(0, most).map((o) =>
      element("li", { class: "order", "data-order": id(o) }, element("strong", {}, id(o)), ` ${o.data.customerId}`,
        element("small", {}, `${goods(o.data)}, since ${time(o.data.statusTime)}`))));
  }
}

const state = (text, good) => {
  const pill = document.getElementById("state");
  pill.textContent = text;
  pill.className = good ? "pill good" : "pill";
};

function apply(m) {
  if (m.started) {
    if (m.started.mode === "SNAPSHOT") orders.clear();
    state(m.started.mode === "RESUMED" ? "live, went on where it was" : "live", true);
  }
  if (m.reset) {
    orders.clear();
    token = "";
  }
  for (const e of m.events?.events ?? []) {
    if (e.state === "PRESENT") orders.set(e.resource.name, e.resource);
    else orders.delete(e.resource.name);
  }
  if (m.resumeToken) token = m.resumeToken;
  requestAnimationFrame(show);
}

/** Watches until the socket closes, and says for how long it was heard from. */
async function watch() {
  const url = new URL("/v1/orders/watch-all", watchroute.replace(/^http/, "ws"));
  url.searchParams.set("heartbeat", "5s");
  if (token) url.searchParams.set("resume_token", token);
  let { token: credential, expiresIn } = await login(warehouse);
  const socket = new WebSocket(url, "watchroute.v1.json");
  const authenticate = () => socket.send(JSON.stringify({ authenticate: { credential } }));
  socket.onopen = authenticate;
  let first = 0, heard = Date.now(), limit = 30000;
  socket.onmessage = (e) => {
    first ||= heard = Date.now();
    heard = Date.now();
    const m = JSON.parse(e.data);
    if (m.started?.silenceLimit) limit = parseFloat(m.started.silenceLimit) * 1000;
    apply(m);
  };
  let renew = Date.now() + expiresIn * 700;
  const timer = setInterval(async () => {
    if (Date.now() - heard > limit) socket.close();
    if (Date.now() < renew || socket.readyState !== WebSocket.OPEN) return;
    renew = Infinity;
    try {
      ({ token: credential, expiresIn } = await login(warehouse));
      authenticate();
      renew = Date.now() + expiresIn * 700;
    } catch {
      renew = Date.now() + 1000;
    }
  }, 500);
  await new Promise((over) => (socket.onclose = over));
  clearInterval(timer);
  return first ? heard - first : 0;
}

for (let attempt = 0; ; attempt++) {
  try {
    if ((await watch()) > 1000) attempt = 0;
  } catch (e) {
    console.log(e.message);
  }
  state("connecting again", false);
  await sleep(backoff(attempt));
}
