// The page that two tabs show: what @watchroute/client tells it, kept for the test.
//
//   page.html?base=http://HOST:PORT&via=ladder

import { createClient, mirror, watch, type Event, type JsonObject } from "@watchroute/client";
import { ladder } from "@watchroute/client/ladder";
import { sharedWebSocket } from "@watchroute/client/shared";
import { webSocket } from "@watchroute/client/websocket";

const query = new URLSearchParams(location.search);
const via = query.get("via") ?? "ladder";
const rungs = via === "shared"
  ? [webSocket({ WebSocket: sharedWebSocket(() => new SharedWorker("worker.js", { type: "module" }), { user: "tester" }) })]
  : ladder().filter((r) => via === "ladder" || r.name === via);
const client = createClient({
  baseUrl: query.get("base")!,
  rungs,
  backoff: { first: 50, most: 500 },
  ladder: { startWithin: 1500, upAfter: 1000, upAtMost: 2000 },
});

// Where connections are counted, a slow machine must not be taken for silence.
const heartbeat = via === "shared" ? 5000 : 1000;

const told: object[] = [];
const states: string[] = [];
const ways = new Set<string>();
let failure = "";

function report(event: Event<JsonObject>): object {
  const { kind, revision } = event;
  if (kind === "PRESENT") return { kind, name: event.name, revision: String(revision), cause: event.cause, coalesced: event.coalesced, data: event.data };
  if (kind === "ABSENT") return { kind, name: event.name, revision: String(revision), cause: event.cause, coalesced: event.coalesced };
  if (kind === "RESET") return { kind, revision: String(revision), reason: event.reason };
  return { kind, revision: String(revision) };
}

const events = watch(client, undefined, { parent: "notes", delivery: "EVERY_CHANGE", heartbeat, onState: (w, state) => (states.push(state), ways.add(w.via)) });
const copy = mirror(client, undefined, { parent: "notes", heartbeat });

async function run(): Promise<void> {
  try {
    for await (const event of events) told.push(report(event));
  } catch (cause) {
    failure = String(cause);
  }
}
void run();

const others: { heard: bigint; state: () => string }[] = [];

/** Watches more, on the same client. */
function more(count: number): void {
  for (let i = 0; i < count; i++) {
    const w = watch(client, undefined, { parent: "notes", heartbeat });
    const other = { heard: 0n, state: () => w.state };
    others.push(other);
    void (async () => {
      for await (const event of w) other.heard = event.revision;
    })();
  }
}

/** What the test asks for. */
Object.assign(window, {
  take: () => ({ told: told.splice(0), states: states.splice(0), ways: [...ways], via: events.via, failure, counters: { ...events.counters } }),
  more,
  others: () => others.map(({ heard, state }) => ({ heard: String(heard), state: state() })),
  put: async (name: string) => String((await client.put(undefined, name, { owner: "page" })).revision),
  held: () => ({
    revision: String(copy.revision),
    state: copy.state,
    resources: Object.fromEntries(copy.list().map((r) => [r.name, { revision: String(r.revision), data: r.data }])),
  }),
});
