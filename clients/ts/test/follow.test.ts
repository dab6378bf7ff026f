import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, type ClientOptions } from "../src/client.js";
import { WatchrouteError } from "../src/error.js";
import type { JsonObject } from "../src/resource.js";
import type { WatchOptions } from "../src/request.js";
import type { Rung } from "../src/rung.js";
import { watch } from "../src/watch.js";
import { bookmark, drain, events, FakeClock, listen, present, reset, ScriptedRung, settle, short, snapshotEnd, started, type Line } from "./scripted.js";

/** A watch whose program asks for the next event as soon as it has one. */
function run(script: (n: number) => Line[], options: Partial<WatchOptions> = {}, client: Partial<ClientOptions> = {}) {
  const clock = new FakeClock();
  const rung = new ScriptedRung(script);
  const log: string[] = [];
  const c = createClient({ baseUrl: "", rungs: [rung], clock, ...client });
  const w = watch(c, undefined, { parent: "n", onState: (_, state) => log.push(state), ...options });
  return { clock, rung, ...listen(w, log) };
}

const error = (code: "UNAVAILABLE" | "NOT_FOUND" | "UNAUTHENTICATED" | "UNIMPLEMENTED" | "INTERNAL", reason = "", retryAfter?: number) =>
  new WatchrouteError(code, "no", { reason, ...(retryAfter !== undefined && { retryAfter }) });

test("the ceiling of the wait doubles to its most, and starts again after a message behind started", async () => {
  const { clock, w } = run((n) => (n === 7 ? [started("SNAPSHOT"), snapshotEnd(1), "end"] : [error("UNAVAILABLE")]), {}, { backoff: { first: 1000, most: 8000 } });
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) waits.push(await clock.next());
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 8000, 8000, 8000, 1000, 2000]);
  await w.cancel();
});

test("started alone does not make the wait short again", async () => {
  const { clock, w } = run(() => [started("SNAPSHOT"), "end"]);
  assert.deepEqual([await clock.next(), await clock.next(), await clock.next()], [1000, 2000, 4000]);
  await w.cancel();
});

test("the wait of RetryInfo is kept at least", async () => {
  const { clock, w } = run(() => [error("UNAVAILABLE", "STORE_UNAVAILABLE", 5000)]);
  clock.chance = 0;
  assert.equal(await clock.next(), 5000);
  await w.cancel();
});

test("after drain the watch comes back when it was told to", async () => {
  const { clock, log, rung, w } = run((n) => (n === 0 ? [started("SNAPSHOT"), snapshotEnd(1), drain(1234)] : [started("RESUMED")]));
  assert.equal(await clock.next(), 1234);
  await settle();
  assert.deepEqual(log, ["CONNECTING", "SNAPSHOT", "LIVE", "SYNCED  1", "DRAINING", "RESUMING", "LIVE"]);
  assert.equal(rung.open_, 1);
  await w.cancel();
});

test("silence ends a stream: at first after 30 s, then after the limit that started gave", async () => {
  const { clock, log, rung, w } = run((n) => (n === 0 ? [] : [started("SNAPSHOT", 2000), snapshotEnd(1)]));
  assert.equal(await clock.next(), 30_000);
  assert.equal(await clock.next(), 1000); // the wait
  await settle();
  assert.equal(log.at(-1), "SYNCED  1");
  assert.equal(await clock.next(), 2000);
  assert.equal(log.at(-1), "BACKING_OFF");
  assert.equal(rung.open_, 0);
  await w.cancel();
});

test("a program that is slow is no silence", async () => {
  const clock = new FakeClock();
  const rung = new ScriptedRung(() => [started("SNAPSHOT", 2000), snapshotEnd(1), bookmark(2), events(3, "t3", present("n/a", 3, {}))]);
  const w = watch(createClient({ baseUrl: "", rungs: [rung], clock }), undefined, { parent: "n" });
  assert.equal((await w.next()).value?.kind, "SYNCED");
  await clock.advance(60_000);
  assert.equal((await w.next()).value?.kind, "PRESENT");
  assert.equal(rung.calls.length, 1);
  await w.cancel();
});

test("a process that stood still reads what has come before it calls that silence, once", async () => {
  const { clock, log, w } = run(() => [started("SNAPSHOT", 2000), snapshotEnd(1)]);
  await settle();
  clock.time += 60_000; // no timer ran
  await clock.advance(0);
  assert.equal(log.at(-1), "SYNCED  1");
  await clock.advance(1000);
  assert.equal(log.at(-1), "BACKING_OFF");
  await w.cancel();
});

test("an error that is final ends the watch, and stays", async () => {
  const { log, w, ended } = run(() => [error("NOT_FOUND", "COLLECTION_NOT_FOUND")]);
  await assert.rejects(ended, { code: "NOT_FOUND", reason: "COLLECTION_NOT_FOUND" });
  await assert.rejects(w.next(), { code: "NOT_FOUND" });
  assert.deepEqual(log, ["CONNECTING", "CLOSED"]);
});

test("failFast makes the first failure to connect final, and only that", async () => {
  await assert.rejects(run(() => [error("UNAVAILABLE")], { failFast: true }).ended, { code: "UNAVAILABLE" });
  const { clock, log, w } = run((n) => (n === 0 ? [started("SNAPSHOT"), "end"] : [error("UNAVAILABLE")]), { failFast: true });
  await clock.next();
  assert.equal(log.at(-1), "BACKING_OFF");
  await w.cancel();
});

test("what does not speak the protocol is final on the first connection, and later a failure like others", async () => {
  const foreign = error("UNIMPLEMENTED", "NOT_WATCHROUTE");
  await assert.rejects(run(() => [foreign]).ended, { reason: "NOT_WATCHROUTE" });
  const { clock, log, w } = run((n) => (n === 0 ? [started("SNAPSHOT"), snapshotEnd(1), "end"] : n === 1 ? [foreign] : [started("RESUMED")]));
  await clock.next();
  await clock.next();
  await settle();
  assert.equal(log.at(-1), "LIVE");
  await w.cancel();
});

test("the provider is asked before each connection, and told when a credential was refused", async () => {
  const asked: boolean[] = [];
  const { clock, rung, w } = run(
    (n) => (n === 0 ? [started("SNAPSHOT"), snapshotEnd(1), error("UNAUTHENTICATED", "CREDENTIAL_EXPIRED")] : n === 1 ? [error("UNAUTHENTICATED", "CREDENTIAL_EXPIRED")] : [started("RESUMED")]),
    {},
    { token: ({ refused }) => (asked.push(refused), `c${asked.length}`) },
  );
  await settle();
  assert.equal(rung.calls.length, 2, "it comes back at once");
  assert.equal(await clock.next(), 1000, "what is refused again waits");
  await settle();
  assert.deepEqual(rung.credentials, ["c1", "c2", "c3"]);
  assert.deepEqual(asked, [false, true, true]);
  await w.cancel();
});

test("a refused credential is final, unless the provider has another one", async () => {
  await assert.rejects(run(() => [error("UNAUTHENTICATED", "CREDENTIAL_INVALID")], {}, { token: "fixed" }).ended, { code: "UNAUTHENTICATED" });
  const asked: boolean[] = [];
  const { rung, ended } = run(() => [error("UNAUTHENTICATED", "CREDENTIAL_REVOKED")], {}, { token: ({ refused }) => (asked.push(refused), refused ? "b" : "a") });
  await assert.rejects(ended, { reason: "CREDENTIAL_REVOKED" });
  assert.deepEqual(rung.credentials, ["a", "b"]);
  assert.deepEqual(asked, [false, true, true]);
});

class MemoryStore {
  readonly saves: (string | undefined)[] = [];
  constructor(public token?: string) {}
  load() {
    return this.token;
  }
  save(_key: string, token: string | undefined) {
    this.saves.push((this.token = token));
  }
}

test("a store begins with RESUMING, takes bundled saves, and the last at the end", async () => {
  const store = new MemoryStore("kept");
  const { clock, log, rung, w } = run(() => [started("RESUMED"), bookmark(2), bookmark(3), "hang"], { store });
  await settle();
  assert.deepEqual(rung.calls[0]!.request.start, { case: "resumeToken", value: "kept" });
  assert.deepEqual(log, ["RESUMING", "LIVE"]);
  assert.deepEqual(store.saves, []);
  await clock.advance(1000);
  assert.deepEqual(store.saves, ["t3"]);
  await w.cancel();
  assert.deepEqual(store.saves, ["t3"]);
});

test("the token of an event is saved when the program asks for the next one", async () => {
  const store = new MemoryStore();
  const rung = new ScriptedRung(() => [started("SNAPSHOT"), snapshotEnd(1), events(2, "t2", present("n/a", 2, {}))]);
  const w = watch(createClient({ baseUrl: "", rungs: [rung], clock: new FakeClock() }), undefined, { parent: "n", store });
  await w.next();
  await w.next();
  await w.cancel();
  assert.equal(store.token, "t1", "the program left with the event");
});

test("a token that is void is taken out of the store before the program hears RESET", async () => {
  const store = new MemoryStore("kept");
  const rung = new ScriptedRung(() => [started("SNAPSHOT"), reset("COMPACTED"), snapshotEnd(9)]);
  const w = watch(createClient({ baseUrl: "", rungs: [rung], clock: new FakeClock() }), undefined, { parent: "n", store });
  assert.equal((await w.next()).value?.kind, "RESET");
  assert.equal(store.token, undefined);
  await w.cancel();
});

test("a store that fails ends nothing", async () => {
  const store = { load: () => Promise.reject(new Error("disk")), save: () => Promise.reject(new Error("disk")) };
  const { clock, log, w } = run(() => [started("SNAPSHOT"), snapshotEnd(1), bookmark(2)], { store });
  await clock.advance(1000);
  assert.equal(log.at(-1), "SYNCED  1");
  assert.equal(w.counters.storeFailures, 2);
  await w.cancel();
});

test("cancel ends a wait, a read and a program's loop, and leaves no timer", async () => {
  for (const script of [[error("UNAVAILABLE")], [started("SNAPSHOT"), snapshotEnd(1)], []] as Line[][]) {
    const { clock, log, rung, w, ended } = run(() => [...script]);
    await settle();
    await w.cancel();
    await ended;
    assert.equal(log.at(-1), "CLOSED");
    assert.equal(clock.timers, 0);
    assert.equal(rung.open_, 0);
  }
});

test("a connection that does not hear that it is ended holds nothing up", async () => {
  const deaf: Rung = { name: "deaf", occupies: false, open: () => ({ credential: undefined, next: () => new Promise<never>(() => {}) }) };
  const { clock, log, w, ended } = run(() => [], {}, { rungs: [deaf] });
  await clock.advance(30_000);
  assert.deepEqual(log, ["CONNECTING", "BACKING_OFF"]);
  await w.cancel();
  await ended;
});

test("a signal cancels too", async () => {
  const abort = new AbortController();
  const { log, ended } = run(() => [started("SNAPSHOT")], { signal: abort.signal });
  await settle();
  abort.abort();
  await ended;
  assert.equal(log.at(-1), "CLOSED");
});

test("a hook that throws is the program's matter: it is logged, and the watch goes on", async () => {
  const warnings: string[] = [];
  const { log, rung, w } = run(() => [started("SNAPSHOT"), snapshotEnd(1), events(2, "t2", present("n/a", 2, {}))], {
    onState: () => {
      throw new Error("oops");
    },
  }, { log: ({ level, message, cause }) => level === "warn" && warnings.push(`${message}: ${cause}`) });
  await settle();
  assert.deepEqual(log, ["SYNCED  1", "PRESENT n/a 2"]);
  assert.equal(rung.calls.length, 1);
  assert.ok(warnings.length >= 3 && warnings.every((text) => text === "onState failed: Error: oops"), String(warnings));
  await w.cancel();
  const deaf = run(() => [started("SNAPSHOT"), snapshotEnd(1)], {}, { log: () => { throw new Error("oops"); } });
  await settle();
  assert.equal(deaf.w.state, "LIVE");
  await deaf.w.cancel();
});

test("the log says each state, why, and by what", async () => {
  const entries: object[] = [];
  const { w, clock } = run((n) => (n === 0 ? [started("SNAPSHOT"), snapshotEnd(1), error("INTERNAL")] : [started("RESUMED")]), {}, { log: (entry) => entries.push(entry) });
  await clock.next();
  await w.cancel();
  const state = (name: string, cause: string) => ({ level: "debug", message: "state", watch: "n", state: name, cause, via: "scripted" });
  assert.deepEqual(entries, [
    state("CONNECTING", "opened"), state("SNAPSHOT", "started SNAPSHOT"), state("LIVE", "snapshot_end"), state("BACKING_OFF", "no"),
    state("RESUMING", "the wait is over"), state("LIVE", "started RESUMED"), state("CLOSED", "cancelled"),
  ]);
});

test("a watch that is cancelled while it asks for another credential ends in order", async () => {
  for (const answer of ["another", "first"]) {
    let give: ((token: string) => void) | undefined;
    const { log, ended, w } = run(() => [error("UNAUTHENTICATED", "CREDENTIAL_REVOKED")], {}, { token: ({ refused }) => (refused ? new Promise((resolve) => (give = resolve)) : "first") });
    await settle();
    const cancelled = w.cancel();
    give!(answer);
    await cancelled;
    await ended; // and does not throw
    await settle();
    assert.deepEqual(log, ["CONNECTING", "CLOSED"], answer);
  }
});

test("watches that are refused together ask once", async () => {
  let asked = 0;
  const rung = new ScriptedRung((n) => (n < 3 ? [error("UNAUTHENTICATED", "CREDENTIAL_REVOKED")] : [started("SNAPSHOT"), snapshotEnd(1)]));
  const client = createClient({
    baseUrl: "", rungs: [rung], clock: new FakeClock(),
    token: async ({ refused }) => {
      asked++;
      await settle();
      return refused ? "second" : "first";
    },
  });
  const watches = [1, 2, 3].map(() => watch(client, undefined, { parent: "n" }));
  await Promise.all(watches.map((w) => w.next()));
  assert.deepEqual(rung.credentials, ["first", "first", "first", "second", "second", "second"]);
  assert.equal(asked, 2);
  await client.close();
});

test("a browser that is online again comes back soon, but not earlier than the server asked", async () => {
  const listeners = new Set<() => void>();
  const browser = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
  const before = { add: browser.addEventListener, remove: browser.removeEventListener };
  browser.addEventListener = (_: string, listener: () => void) => listeners.add(listener);
  browser.removeEventListener = (_: string, listener: () => void) => listeners.delete(listener);
  try {
    const { clock, rung, w } = run(() => [error("UNAVAILABLE")], {}, { backoff: { first: 60_000, most: 60_000 } });
    await settle();
    assert.equal(listeners.size, 1);
    for (const listener of listeners) listener();
    await clock.advance(1000);
    assert.equal(rung.calls.length, 2);
    await w.cancel();
    await settle();
    assert.equal(listeners.size, 0);
    const asked = run(() => [error("UNAVAILABLE", "STORE_UNAVAILABLE", 5000)]);
    await settle();
    assert.equal(listeners.size, 0);
    await asked.w.cancel();
  } finally {
    Object.assign(browser, { addEventListener: before.add, removeEventListener: before.remove });
  }
});

test("counters say what came, of a watch and of all", async () => {
  const { clock, w } = run((n) => (n === 0 ? [started("SNAPSHOT"), snapshotEnd(1), events(2, "", present("n/a", 2, {})), error("INTERNAL")]
    : [started("RESUMED"), events(2, "", present("n/a", 2, {})), events(3, "t3", present("n/a", 3, {})), reset("ACCESS"), snapshotEnd(4)]));
  await clock.next();
  await settle();
  const counted = { messages: 8, events: 5, duplicates: 1, reconnects: 1, resets: 1, bytes: 0, storeFailures: 0 };
  assert.deepEqual({ ...w.counters }, counted);
  const { client } = w as unknown as { client: ReturnType<typeof createClient> };
  assert.deepEqual(client.counters, counted);
  await w.cancel();
  assert.deepEqual(client.counters, counted, "what has ended counts, too");
});

test("a client that is closed ends its watches, and opens no more", async () => {
  const { log, ended, w, rung } = run(() => [started("SNAPSHOT"), snapshotEnd(1)]);
  await settle();
  const { client } = w as unknown as { client: ReturnType<typeof createClient> };
  await client.close();
  await ended;
  assert.equal(log.at(-1), "CLOSED");
  assert.equal(rung.open_, 0);
  await assert.rejects(watch(client, undefined, { parent: "n" }).next(), { code: "CANCELLED", message: "the client is closed" });
  await assert.rejects(client.get(undefined, "n/a"), { code: "CANCELLED", message: "the client is closed" });
});

// The ladder.

function climb(scripts: Record<string, (n: number) => Line[]>, options: Partial<ClientOptions> = {}) {
  const clock = new FakeClock();
  clock.chance = 0.5;
  const rungs = Object.entries(scripts).map(([name, script]) => new ScriptedRung(script, name, name === "grpc-web" || name === "sse"));
  const log: string[] = [];
  const c = createClient({ baseUrl: "", rungs: rungs as Rung[], clock, backoff: { first: 10, most: 10 }, ...options });
  const open = () => {
    const w = watch(c, undefined, { parent: "n", onState: (self, state) => log.push(`${state} ${self.via}`) });
    void (async () => {
      for await (const e of w) log.push(short(e));
    })().catch((cause: WatchrouteError) => log.push(`ended ${cause.reason}`));
    return w;
  };
  return { clock, log, rungs, open };
}

const live = (n: number): Line[] => [started(n === 0 ? "SNAPSHOT" : "RESUMED"), ...(n === 0 ? [snapshotEnd(1)] : []), "hang"];

test("three failures before a first message go down one rung, and up again beside the running one", async () => {
  let works = false;
  const { clock, log, rungs, open } = climb({ "grpc-web": () => (works ? [started("RESUMED"), events(3, "t3", present("n/b", 3, {}))] : [error("UNAVAILABLE")]), websocket: () => [started("SNAPSHOT", 600_000), snapshotEnd(1), events(2, "", present("n/a", 2, {}))] });
  const w = open();
  await clock.advance(20);
  assert.equal(rungs[0]!.calls.length, 3);
  assert.equal(log.at(-1), "PRESENT n/a 2");
  await clock.advance(60_000);
  assert.equal(rungs[0]!.calls.length, 4, "tried after a minute");
  assert.equal(w.via, "websocket");
  works = true;
  await clock.advance(119_000);
  assert.equal(rungs[0]!.calls.length, 4);
  await clock.advance(2_000);
  assert.deepEqual(rungs[0]!.calls[4]!.request.start, { case: "resumeToken", value: "t1" });
  assert.deepEqual(log.slice(-3), ["RESUMING grpc-web", "LIVE grpc-web", "PRESENT n/b 3"]);
  assert.equal(rungs[1]!.open_, 0, "the one below has ended");
  assert.equal(rungs[1]!.calls.length, 1);
  await w.cancel();
});

test("a stream that does not start within 5 s goes down", async () => {
  const { clock, log, open } = climb({ "grpc-web": () => [], sse: live });
  const w = open();
  await clock.advance(5_010);
  assert.equal(w.via, "sse");
  assert.equal(log.at(-1), "SYNCED  1");
  await w.cancel();
});

test("a stream that is silent twice in a row goes down, with its token", async () => {
  const { clock, rungs, open } = climb({ "grpc-web": (n) => [started(n === 0 ? "SNAPSHOT" : "RESUMED", 1000), ...(n === 0 ? [snapshotEnd(1)] : []), "hang"], sse: () => [started("RESUMED")] });
  const w = open();
  await clock.advance(2_020);
  assert.equal(w.via, "sse");
  assert.deepEqual(rungs[1]!.calls[0]!.request.start, { case: "resumeToken", value: "t1" });
  await w.cancel();
});

test("from the last rung it goes to the first", async () => {
  const { clock, rungs, open } = climb({ "grpc-web": (n) => (n < 3 ? [error("UNAVAILABLE")] : live(0)), sse: () => [error("UNAVAILABLE")] });
  const w = open();
  await clock.advance(100);
  assert.equal(w.via, "grpc-web");
  assert.equal(rungs[1]!.calls.length, 3);
  assert.equal(w.state, "LIVE");
  await w.cancel();
});

test("an answer of the server is no reason to go down", async () => {
  const { clock, open } = climb({ "grpc-web": () => [error("UNAVAILABLE", "STORE_UNAVAILABLE", 1)], sse: live });
  const w = open();
  await clock.advance(1000);
  assert.equal(w.via, "grpc-web");
  await w.cancel();
});

test("what does not speak the protocol is left at once, and final when it is so on each rung", async () => {
  const foreign = error("UNIMPLEMENTED", "NOT_WATCHROUTE");
  const { clock, log, rungs, open } = climb({ "grpc-web": () => [foreign], sse: () => [foreign] });
  open();
  await clock.advance(100);
  assert.equal(log.at(-1), "ended NOT_WATCHROUTE");
  assert.deepEqual(rungs.map((r) => r.calls.length), [1, 1]);
});

test("further watches begin on the WebSocket when three streams are open", async () => {
  const { clock, rungs, open } = climb({ "grpc-web": () => live(0), websocket: () => live(0), sse: () => live(0) });
  const watches = [open(), open(), open(), open(), open()];
  await clock.advance(1000);
  assert.deepEqual(rungs.map((r) => r.open_), [3, 2, 0]);
  await watches[0]!.cancel();
  assert.equal(rungs[0]!.open_, 2);
  await Promise.all(watches.map((w) => w.cancel()));
  assert.deepEqual(rungs.map((r) => r.open_), [0, 0, 0]);
});

test("values stay with the program: what is told is whole with deltas too", async () => {
  const values: JsonObject[] = [];
  const rung = new ScriptedRung(() => [started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1, y: 2 })), snapshotEnd(1), events(2, "t2", present("n/a", 2, { x: 3 }, { paths: ["x"], base: 1 })), error("NOT_FOUND")]);
  const w = watch(createClient({ baseUrl: "", rungs: [rung], clock: new FakeClock() }), undefined, { parent: "n", delta: true });
  await assert.rejects(async () => {
    for await (const e of w) if (e.kind === "PRESENT") values.push(e.data);
  });
  assert.deepEqual(values, [{ x: 1, y: 2 }, { x: 3, y: 2 }]);
  assert.equal(rung.calls[0]!.request.delta, true);
});
