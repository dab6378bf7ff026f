// The rungs of HTTP, on a fetch that answers what a test says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { Cause, ResourceSchema, State } from "../src/gen/watchroute/v1/resource_pb.js";
import { ListRequestSchema, ListResponseSchema } from "../src/gen/watchroute/v1/service_pb.js";
import { WatchResponseSchema, Started_Mode } from "../src/gen/watchroute/v1/watch_pb.js";
import { createClient } from "../src/client.js";
import { grpcWeb } from "../src/grpcweb.js";
import { longPoll } from "../src/longpoll.js";
import type { Rung } from "../src/rung.js";
import { sse } from "../src/sse.js";
import { watch } from "../src/watch.js";
import { FakeClock, listen, settle, short } from "./scripted.js";

type Answer = (url: URL, init: RequestInit) => Response | Promise<Response>;

function run(rung: Rung, answer: Answer, options: { token?: string; afterRevision?: bigint; names?: string[]; filter?: string } = {}) {
  const clock = new FakeClock();
  const { token, ...rest } = options;
  const client = createClient({
    baseUrl: "http://node/", rungs: [rung], clock, headers: { "watchroute-tenant": "t" }, ...(token && { token }),
    fetch: async (input, init) => answer(new URL(String(input)), init ?? {}),
  });
  const states: string[] = [];
  const w = watch(client, undefined, { parent: "n", onState: (_, state, cause) => states.push(`${state} ${cause}`), ...rest });
  return { clock, states, ...listen(w) };
}

function body(pieces: Uint8Array[], signal?: AbortSignal | null): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
    },
    pull(controller) {
      const piece = pieces.shift();
      if (piece) controller.enqueue(piece);
      else controller.close();
    },
  });
}

function frame(flags: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(5 + bytes.length);
  out[0] = flags;
  new DataView(out.buffer).setUint32(1, bytes.length);
  out.set(bytes, 5);
  return out;
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const trailer = (text: string) => frame(0x80, new TextEncoder().encode(text));

const struct = Uint8Array.from([0x0a, 0x0e, 0x0a, 0x01, 0x61, 0x12, 0x09, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]); // {"a": 1}

const wire = [
  create(WatchResponseSchema, { body: { case: "started", value: { mode: Started_Mode.SNAPSHOT, silenceLimit: { seconds: 30n } } } }),
  create(WatchResponseSchema, {
    revision: 3n,
    body: {
      case: "events",
      value: {
        events: [
          { state: State.PRESENT, cause: Cause.ENTERED, resource: create(ResourceSchema, { name: "n/a", revision: 3n, data: { typeUrl: "type.googleapis.com/google.protobuf.Struct", value: struct } }) },
        ],
      },
    },
  }),
  create(WatchResponseSchema, { revision: 3n, resumeToken: "t3", body: { case: "snapshotEnd", value: {} } }),
].map((m) => frame(0, toBinary(WatchResponseSchema, m)));

const status = create(StatusSchema, {
  code: 9,
  message: "no: ü",
  details: [
    // ErrorInfo{reason: "R", domain: "d", metadata: {k: "v"}} and RetryInfo{retry_delay: 1.5s}
    { typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Uint8Array.from([0x0a, 1, 0x52, 0x12, 1, 0x64, 0x1a, 6, 0x0a, 1, 0x6b, 0x12, 1, 0x76]) },
    { typeUrl: "type.googleapis.com/google.rpc.RetryInfo", value: Uint8Array.from([0x0a, 8, 0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 1]) },
  ],
});
const details = Buffer.from(toBinary(StatusSchema, status)).toString("base64").replace(/=+$/, "");

const web = { "Content-Type": "application/grpc-web+proto" };

test("gRPC-Web: a message that says that it is huge is not waited for", async () => {
  const { states, w } = run(grpcWeb(), () => new Response(body([Uint8Array.from([0, 0x04, 0, 0, 1, 0])]), { headers: web }));
  await settle();
  assert.deepEqual(states.at(-1), "BACKING_OFF a message has more than 67108864 bytes");
  await w.cancel();
});

test("gRPC-Web: the messages are the same wherever the body is cut", async () => {
  const bytes = join(...wire, trailer(`grpc-status: 9\r\ngrpc-message: no\r\ngrpc-status-details-bin: ${details}\r\n`));
  for (let cut = 0; cut <= bytes.length; cut++) {
    const { log, ended } = run(grpcWeb(), () => new Response(body([bytes.slice(0, cut), bytes.slice(cut)].filter((p) => p.length > 0)), { headers: web }));
    await assert.rejects(ended, { code: "FAILED_PRECONDITION", reason: "R", message: "no: ü", metadata: { k: "v" }, retryAfter: 1500 }, `cut at ${cut}`);
    assert.deepEqual(log, ["PRESENT n/a 3", "SYNCED  3"], `cut at ${cut}`);
  }
});

test("gRPC-Web: a body byte by byte, and what is in a struct", async () => {
  const bytes = join(...wire, trailer("grpc-status: 5\r\n"));
  const values: unknown[] = [];
  const client = createClient({ baseUrl: "http://node", clock: new FakeClock(), fetch: async () => new Response(body([...bytes].map((b) => Uint8Array.of(b))), { headers: web }) });
  await assert.rejects(async () => {
    for await (const e of watch(client, undefined, { parent: "n" })) if (e.kind === "PRESENT") values.push(e.data);
  }, { code: "NOT_FOUND" });
  assert.deepEqual(values, [{ a: 1 }]);
});

test("gRPC-Web: an answer of headers only is the error", async () => {
  const { ended } = run(grpcWeb(), () => new Response(null, { headers: { ...web, "grpc-status": "3", "grpc-message": "b%C3%A4d" } }));
  await assert.rejects(ended, { code: "INVALID_ARGUMENT", message: "bäd" });
});

for (const [name, rung] of [["gRPC-Web", grpcWeb], ["SSE", sse], ["long-poll", longPoll]] as const) {
  test(`${name}: a page of HTML with 200 is not Watchroute, one with 502 is tried again`, async () => {
    const page = (code: number) => new Response("<html>", { status: code, headers: { "Content-Type": "text/html" } });
    await assert.rejects(run(rung(), () => page(200)).ended, { reason: "NOT_WATCHROUTE", code: "UNIMPLEMENTED" });
    const { clock, w } = run(rung(), () => page(502));
    assert.equal(await clock.next(), 1000);
    await w.cancel();
  });

  test(`${name}: says who it is`, async () => {
    let headers = new Headers();
    const { ended } = run(rung(), (_, init) => ((headers = new Headers(init.headers)), new Response(null, { status: 403 })), { token: "secret" });
    await assert.rejects(ended, { code: "PERMISSION_DENIED" });
    assert.equal(headers.get("Authorization"), "Bearer secret");
    assert.equal(headers.get("watchroute-tenant"), "t");
  });
}

test("a body that ends without its status is a failure", async () => {
  const { clock, log, w } = run(grpcWeb(), () => new Response(body([join(...wire)]), { headers: web }));
  assert.equal(await clock.next(), 1000);
  assert.deepEqual(log.slice(0, 2), ["PRESENT n/a 3", "SYNCED  3"]);
  await w.cancel();
});

test("SSE: the request is in the URL, and changes are messages", async () => {
  let url = new URL("http://none");
  const text = 'event: started\ndata: {"started":{"mode":"RESUMED","silenceLimit":"2s"}}\n\nevent: change\nid: t5\ndata: {"state":"PRESENT","cause":"CREATED","resource":{"name":"n/a","revision":"5","data":{"x":1}}}\n\nevent: closed\ndata: {"closed":{"code":5,"message":"gone","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"COLLECTION_NOT_FOUND","metadata":{"collection":"n"}}]}}\n\n';
  const { log, w, ended } = run(sse(), (u) => ((url = u), new Response(text, { headers: { "Content-Type": "text/event-stream" } })), { afterRevision: 4n, names: ["n/a", "n/b"], filter: "data.x > 0" });
  await assert.rejects(ended, { reason: "COLLECTION_NOT_FOUND", metadata: { collection: "n" } });
  assert.equal(`${url.pathname} ${url.searchParams}`, "/v1/n:watch names=n%2Fa&names=n%2Fb&filter=data.x+%3E+0&after_revision=4");
  assert.deepEqual(log, ["PRESENT n/a 5"]);
  assert.equal(w.token, "t5");
});

test("SSE: an error before the stream has its reason and its wait", async () => {
  const answer = '{"code":14,"message":"later","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.5s"}]}';
  const { clock, w } = run(sse(), () => new Response(answer, { status: 503, headers: { "Content-Type": "application/json" } }));
  clock.chance = 0;
  assert.equal(await clock.next(), 2500);
  await w.cancel();
});

test("long-poll: polls are one stream, each resumed from the last token", async () => {
  const urls: URL[] = [];
  const answers = [
    '{"responses":[{"started":{"mode":"SNAPSHOT","silenceLimit":"4s"}},{"revision":"1","events":{"events":[{"state":"PRESENT","resource":{"name":"n/a","revision":"1","data":{}}}]}},{"revision":"1","resumeToken":"t1","snapshotEnd":{}}],"resumeToken":"t1"}',
    '{"responses":[{"started":{"mode":"RESUMED","silenceLimit":"4s"}},{"revision":"2","resumeToken":"t2","events":{"events":[{"state":"ABSENT","resource":{"name":"n/a","revision":"2"}}]}}],"resumeToken":"t2"}',
    '{"responses":[{"started":{"mode":"SNAPSHOT","silenceLimit":"4s"}},{"reset":{"reason":"ACCESS"}},{"revision":"3","resumeToken":"t3","snapshotEnd":{}}],"resumeToken":"t3"}',
  ];
  const states: string[] = [];
  const client = createClient({
    baseUrl: "http://node", rungs: [longPoll()], clock: new FakeClock(), onState: (_, state) => states.push(state),
    fetch: async (input, init) => {
      urls.push(new URL(String(input)));
      const answer = answers.shift();
      if (answer !== undefined) return new Response(answer, { headers: { "Content-Type": "application/json" } });
      return new Promise((_, reject) => init!.signal!.addEventListener("abort", () => reject(new Error("aborted"))));
    },
  });
  const log: string[] = [];
  const w = watch(client, undefined, { parent: "n" });
  void (async () => {
    for await (const e of w) log.push(short(e));
  })();
  await settle();
  assert.deepEqual(log, ["PRESENT n/a 1", "SYNCED  1", "ABSENT n/a 2", "RESET ACCESS 0", "SYNCED  3"]);
  assert.deepEqual(urls.map((u) => String(u.searchParams)), ["wait=1ms", "wait=2000ms&resume_token=t1", "wait=2000ms&resume_token=t2", "wait=2000ms&resume_token=t3"]);
  assert.deepEqual(states, ["CONNECTING", "SNAPSHOT", "LIVE", "RESETTING", "LIVE"]);
  await w.cancel();
});

test("a put of JSON travels as text, and is tried again only with a request id", async () => {
  let calls = 0;
  const clock = new FakeClock();
  const client = createClient({ baseUrl: "http://node", clock, timeout: 0, fetch: async () => (calls++, new Response(null, { headers: { ...web, "grpc-status": "14", "grpc-status-details-bin": details.replace(/^CAk/, "CA4") } })) });
  await assert.rejects(client.put(undefined, "n/a", { x: 1 }), { code: "UNAVAILABLE", retryAfter: 1500 });
  assert.equal(calls, 1);
  const again = client.put(undefined, "n/a", { x: 1 }, { requestId: "r" });
  const refused = assert.rejects(again, { code: "UNAVAILABLE" });
  // What the server asked for, and a random time under the ceiling; the clock of the test draws the ceiling.
  for (const more of [1000, 2000, 4000, 8000]) assert.equal(await clock.next(), 1500 + more);
  await refused;
  assert.equal(calls, 6);
});

test("a write with a request id is tried again where the server is not reached", async () => {
  let calls = 0;
  const clock = new FakeClock();
  const fetch = async () => {
    calls++;
    throw new TypeError("failed to fetch");
  };
  const client = createClient({ baseUrl: "http://node", clock, fetch, timeout: 0 });
  await assert.rejects(client.put(undefined, "n/a", { x: 1 }), { code: "UNAVAILABLE" });
  assert.equal(calls, 1);
  const refused = assert.rejects(client.put(undefined, "n/a", { x: 1 }, { requestId: "r" }), { code: "UNAVAILABLE" });
  for (const wait of [1000, 2000, 4000, 8000]) assert.equal(await clock.next(), wait);
  await refused;
  assert.equal(calls, 6);
});

test("a call ends when its time is over or its caller wants it no more, with what is tried again", async () => {
  const clock = new FakeClock();
  const never: typeof fetch = (_, init) => new Promise((_, reject) => init!.signal!.addEventListener("abort", () => reject(new Error("aborted"))));
  const client = createClient({ baseUrl: "http://node", clock, fetch: never });
  const late = assert.rejects(client.get(undefined, "n/a"), { code: "DEADLINE_EXCEEDED" });
  assert.equal(await clock.next(), 10_000);
  await late;
  const sooner = assert.rejects(client.get(undefined, "n/a", { timeout: 500 }), { code: "DEADLINE_EXCEEDED" });
  assert.equal(await clock.next(), 500);
  await sooner;
  const abort = new AbortController();
  const cancelled = assert.rejects(client.list(undefined, "n", { signal: abort.signal, timeout: 0 }), { code: "CANCELLED" });
  abort.abort();
  await cancelled;
  await assert.rejects(client.list(undefined, "n", { signal: abort.signal }), { code: "CANCELLED" });
  assert.equal(clock.timers, 0);
  let calls = 0;
  const broken = createClient({ baseUrl: "http://node", clock, fetch: async () => { calls++; throw new TypeError("no"); } });
  const gaveUp = assert.rejects(broken.put(undefined, "n/a", {}, { requestId: "r" }), { code: "UNAVAILABLE" });
  for (const wait of [1000, 2000, 4000]) assert.equal(await clock.next(), wait);
  await gaveUp; // the next wait would end too late
  assert.equal(calls, 4);
  assert.equal(clock.timers, 0);
});

test("listAll asks page by page", async () => {
  const asked: string[] = [];
  const pages: Record<string, [string[], string]> = { "": [["n/a", "n/b"], "p2"], p2: [[], "p3"], p3: [["n/c"], ""] };
  const client = createClient({
    baseUrl: "http://node",
    fetch: async (_, init) => {
      const { pageToken, filter, pageSize } = fromBinary(ListRequestSchema, (init!.body as Uint8Array).subarray(5));
      asked.push(`${pageToken} ${filter} ${pageSize}`);
      const [names, nextPageToken] = pages[pageToken]!;
      const answer = create(ListResponseSchema, { resources: names.map((name) => ({ name })), nextPageToken });
      return new Response(join(frame(0, toBinary(ListResponseSchema, answer)), trailer("grpc-status: 0\r\n")) as Uint8Array<ArrayBuffer>, { headers: web });
    },
  });
  const names: string[] = [];
  for await (const r of client.listAll(undefined, "n", { filter: "f", pageSize: 2 })) names.push(r.name);
  assert.deepEqual(names, ["n/a", "n/b", "n/c"]);
  assert.deepEqual(asked, [" f 2", "p2 f 2", "p3 f 2"]);
});

test("long-polls of many watches take turns, and none of them starves", async () => {
  const clock = new FakeClock();
  let open = 0;
  let most = 0;
  const answer = (url: URL) => {
    const began = !url.searchParams.has("resume_token");
    const responses = [{ started: { mode: began ? "SNAPSHOT" : "RESUMED", silenceLimit: "30s" } }, began ? { revision: "1", resumeToken: "t1", snapshotEnd: {} } : { revision: "1", resumeToken: "t1", bookmark: {} }];
    return new Response(JSON.stringify({ responses }), { headers: { "Content-Type": "application/json" } });
  };
  const client = createClient({
    baseUrl: "http://node", rungs: [longPoll()], clock,
    fetch: (input, init) => new Promise((resolve, reject) => {
      const url = new URL(String(input));
      most = Math.max(most, ++open);
      const cancel = clock.after(parseInt(url.searchParams.get("wait")!), () => (open--, resolve(answer(url))));
      init!.signal!.addEventListener("abort", () => (open--, cancel(), reject(new Error("aborted"))));
    }),
  });
  const opened: ReturnType<typeof watch>[] = [];
  const more = (n: number) => {
    for (let i = 0; i < n; i++) {
      const w = watch(client, undefined, { parent: "n" });
      void (async () => {
        for await (const _ of w);
      })();
      opened.push(w);
    }
  };
  more(4);
  await clock.advance(1000);
  assert.deepEqual(opened.map((w) => w.counters.messages), [2, 2, 2, 2], "each waits for long");
  more(5);
  await clock.advance(100);
  assert.deepEqual(opened.map((w) => w.state), opened.map(() => "LIVE"), "who begins does not wait for who waits");
  await clock.advance(60_000);
  assert.equal(most, 4);
  for (const w of opened) {
    assert.equal(w.counters.reconnects, 0);
    assert.ok(w.counters.messages > 15, `heard ${w.counters.messages} times in a minute`);
  }
  const counts = opened.map((w) => w.counters.messages);
  await Promise.all(opened.slice(1).map((w) => w.cancel()));
  await clock.advance(60_000);
  assert.ok(opened[0]!.counters.messages - counts[0]! < 10, "alone again, it waits for long");
  await opened[0]!.cancel();
  assert.deepEqual([open, clock.timers], [0, 0]);
});
