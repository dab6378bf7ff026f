// The watch as Server-Sent Events, with EventSource as browsers ship it: it keeps
// the token (`id:`) and reconnects with it by itself.
import { backoff, type Feed, money, type Order, type Picture, type Say } from "./picture.js";

// The JSON of the contract, as far as it is used here.
interface Change {
  state: "PRESENT" | "ABSENT";
  resource: { name: string; revision: string; data?: OrderJSON };
}
interface OrderJSON {
  orderId?: string;
  customerId?: string;
  status?: string;
  total?: { currencyCode?: string; units?: string; nanos?: number };
  location?: { description?: string };
}
interface Message {
  revision?: string;
  started?: { mode?: string };
}

export function eventSource(url: string, credential: string, picture: Picture, say: Say): Feed {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;

  function open(token: string): void {
    close();
    say("wait", "connecting");
    const s = (source = new EventSource(`${url}?${parameters(token)}`));
    const on = (kind: string, f: (m: Message, token: string) => void) =>
      s.addEventListener(kind, (e: MessageEvent<string>) => f(JSON.parse(e.data) as Message, e.lastEventId));
    let begun = false;
    on("started", (m, token) => {
      if (begun) picture.reconnects++; // EventSource's own
      begun = true;
      attempt = 0;
      picture.started(m.started?.mode === "SNAPSHOT", token);
      say("good", "live");
    });
    s.addEventListener("change", (e: MessageEvent<string>) => {
      const c = JSON.parse(e.data) as Change;
      picture.change(c.resource.name, BigInt(c.resource.revision), c.state === "PRESENT" ? order(c.resource.data ?? {}) : undefined);
      picture.stands(0n, e.lastEventId);
    });
    on("reset", () => picture.clear());
    on("snapshot_end", (m, token) => picture.snapshotEnd(BigInt(m.revision ?? 0), token));
    on("bookmark", (m, token) => picture.stands(BigInt(m.revision ?? 0), token));
    on("drain", (m, token) => picture.stands(BigInt(m.revision ?? 0), token));
    s.addEventListener("error", () => {
      if (s !== source) return;
      if (s.readyState === EventSource.CONNECTING) {
        say("wait", "reconnecting");
        return;
      }
      // The answer had another status than 200: EventSource has given up.
      void explain(url, credential).then((note) => {
        if (s !== source) return;
        const wait = backoff(attempt++);
        say(note ? "bad" : "wait", `again in ${(wait / 1000).toFixed(1)} s`, note);
        timer = setTimeout(() => {
          picture.reconnects++;
          open(picture.token);
        }, wait);
      });
    });
  }

  // EventSource cannot set a header.
  function parameters(token: string): string {
    const p = new URLSearchParams();
    if (token) p.set("resume_token", token);
    if (credential) p.set("access_token", credential);
    return p.toString();
  }

  function close(): void {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  }

  return { resume: open };
}

// EventSource does not tell why it was refused; asking again does.
async function explain(url: string, credential: string): Promise<string | undefined> {
  const stop = new AbortController();
  try {
    const answer = await fetch(url, { headers: { Accept: "text/event-stream", ...(credential && { Authorization: `Bearer ${credential}` }) }, signal: stop.signal });
    if (answer.status === 404) return "This node does not serve the shop contract. Start it with --contracts shop, or with `make run`.";
    if (answer.status === 401 || answer.status === 403) return "This needs a credential: open the page as /#access_token=TOKEN.";
    if (answer.ok || answer.status === 503) return undefined;
    return `HTTP ${answer.status}`;
  } catch {
    return undefined;
  } finally {
    stop.abort();
  }
}

function order(o: OrderJSON): Order {
  return {
    id: o.orderId ?? "",
    customer: o.customerId ?? "",
    stage: o.status ?? "",
    total: o.total ? money(o.total.currencyCode ?? "", BigInt(o.total.units ?? 0), o.total.nanos ?? 0) : "",
    where: o.location?.description ?? "",
  };
}
