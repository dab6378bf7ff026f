import { grpcWeb, type Rung } from "@watchroute/client";
import { sse } from "@watchroute/client/sse";
import { Feed } from "./feed.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";

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
  for (const { feed, panel, picture } of [left, right]) {
    feed.look();
    panel.draw(picture);
  }
  agree();
}

function half(panel: Panel, rung: Rung) {
  const picture = new Picture();
  const feed = new Feed(rung, credential, picture, panel.say, schedule);
  panel.cuts(() => feed.resume(feed.held()));
  return { panel, picture, feed };
}

const left = half(new Panel("grpcweb", "gRPC-Web, by the client", "POST /watchroute.v1.ResourceService/Watch"), grpcWeb());
const right = half(new Panel("sse", "Server-Sent Events, by the client", "GET /v1/orders:watch"), sse());

// Says whether both hold the same. While one is a moment ahead there is nothing to
// compare.
function agree(): void {
  const [a, b] = [left.picture.held, right.picture.held];
  const pill = document.getElementById("agree")!;
  if (!a.whole || !b.whole) {
    pill.dataset.is = "wait";
    pill.textContent = "waiting for both";
    return;
  }
  let same = a.rows.size === b.rows.size;
  for (const [name, row] of a.rows) same &&= b.rows.get(name)?.revision === row.revision && b.rows.get(name)?.order.status === row.order.status;
  if (!same && a.revision !== b.revision) return;
  pill.dataset.is = same ? "good" : "bad";
  pill.textContent = same ? "both agree" : `they differ at revision ${a.revision}`;
}

// Each goes on with the other's token, and so with what the other holds.
document.getElementById("swap")!.addEventListener("click", () => {
  const [ours, theirs] = [left.feed.held(), right.feed.held()];
  left.feed.resume(theirs);
  right.feed.resume(ours);
});
left.feed.resume(left.feed.held());
right.feed.resume(right.feed.held());
setInterval(schedule, 1000); // a token moves without an event too
