import { eventSource } from "./eventsource.js";
import { grpcWeb } from "./grpcweb.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";

const url = "/v1/orders/watch-all";
// A credential in the fragment, #access_token=..., does not leave the browser with the
// page's URL.
const credential = new URLSearchParams(location.hash.slice(1)).get("access_token") ?? "";
let scheduled = false;

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  // Not by animation frames alone: a page in the background gets none.
  setTimeout(draw, 50);
}

function draw(): void {
  scheduled = false;
  left.panel.draw(left.picture);
  right.panel.draw(right.picture);
  agree();
}

function half<F>(panel: Panel, make: (p: Picture, panel: Panel) => F) {
  const picture = new Picture(schedule);
  return { panel, picture, feed: make(picture, panel) };
}

const left = half(new Panel("grpcweb", "gRPC-Web", "OrderService.WatchOrders, from gen/ts"), (p, panel) => grpcWeb(credential, p, panel.say));
const right = half(new Panel("eventsource", "EventSource", `GET ${url}`), (p, panel) => eventSource(url, credential, p, panel.say));

// Says whether both hold the same. While one is a moment ahead there is nothing to
// compare.
function agree(): void {
  const [a, b] = [left.picture, right.picture];
  const pill = document.getElementById("agree")!;
  if (!a.whole || !b.whole) {
    pill.dataset.is = "wait";
    pill.textContent = "waiting for both";
    return;
  }
  if (a.revision !== b.revision) return;
  let same = a.rows.size === b.rows.size;
  for (const [name, row] of a.rows) same &&= b.rows.get(name)?.revision === row.revision && b.rows.get(name)?.order.stage === row.order.stage;
  pill.dataset.is = same ? "good" : "bad";
  pill.textContent = same ? "both agree" : `they differ at revision ${a.revision}`;
}

left.panel.cuts(left.feed, left.picture);
right.panel.cuts(right.feed, right.picture);
document.getElementById("swap")!.addEventListener("click", () => {
  const [a, b] = [left.picture, right.picture];
  const [ours, theirs] = [a.token, b.token];
  a.reconnects++;
  b.reconnects++;
  left.feed.resume(theirs);
  right.feed.resume(ours);
});
left.feed.resume("");
right.feed.resume("");
