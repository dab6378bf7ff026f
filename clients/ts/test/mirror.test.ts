import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, type ClientOptions } from "../src/client.js";
import { WatchrouteError } from "../src/error.js";
import { mirror, type MirrorOptions } from "../src/mirror.js";
import type { JsonObject } from "../src/resource.js";
import { absent, bookmark, events, FakeClock, present, reset, ScriptedRung, settle, snapshotEnd, started, type Line } from "./scripted.js";

function run(script: (n: number) => Line[], options: Partial<MirrorOptions<JsonObject>> = {}, client: Partial<ClientOptions> = {}) {
  const clock = new FakeClock();
  const rung = new ScriptedRung(script);
  const changes: string[] = [];
  const m = mirror(createClient({ baseUrl: "", rungs: [rung], clock, ...client }), undefined, {
    parent: "n",
    onChange: ({ name, before, after }) => void changes.push(`${name} ${before?.revision ?? "-"} ${after?.revision ?? "-"}`),
    ...options,
  });
  return { clock, rung, m, changes, shows: () => m.list().map((r) => `${r.name} ${r.revision}`) };
}

test("a mirror shows nothing before its first state is complete, and then all of it", async () => {
  const { m, changes, shows } = run(() => [started("SNAPSHOT"), events(2, "", present("n/b", 1, { x: 1 }), present("n/a", 2, { x: 2 })), snapshotEnd(2)]);
  assert.deepEqual([shows(), m.revision, m.liveAsOf], [[], 0n, undefined]);
  await m.synced();
  assert.deepEqual(shows(), ["n/a 2", "n/b 1"]);
  assert.deepEqual(m.get("b"), m.get("n/b"));
  assert.equal(m.get("b")?.data["x"], 1);
  assert.equal(m.revision, 2n);
  await settle();
  assert.deepEqual(changes, ["n/b - 1", "n/a - 2"]);
  await m.close();
  assert.deepEqual(shows(), ["n/a 2", "n/b 1"], "it goes on to show what it has");
});

test("changes are shown together, when a message carries a token", async () => {
  let proceed = () => {};
  const { m, shows } = run(() => [started("SNAPSHOT"), snapshotEnd(1), events(2, "", present("n/a", 2, {})), events(2, "t2", present("n/b", 2, {})), "hang"], {
    onChange: () => new Promise<void>((resolve) => (proceed = resolve)),
  });
  const shown: string[][] = [];
  await m.synced();
  shown.push(shows());
  await m.waitFor(2n);
  shown.push(shows());
  assert.deepEqual(shown, [[], ["n/a 2", "n/b 2"]]);
  proceed();
  await settle();
  proceed();
  await m.close();
});

test("what came behind the last token of a stream that was cut is not shown", async () => {
  const { clock, m, shows } = run((n) => (n === 0
    ? [started("SNAPSHOT"), events(1, "", present("n/a", 1, {})), snapshotEnd(1), events(9, "", present("n/a", 9, {})), "end"]
    : [started("RESUMED"), events(5, "t5", present("n/a", 5, {}), present("n/b", 5, {})), "hang"]));
  await clock.next();
  await settle();
  assert.equal(m.revision, 5n);
  assert.deepEqual(shows(), ["n/a 5", "n/b 5"]);
  await m.close();
});

test("after a reset it keeps what it has until the new state is complete, and tells what differs", async () => {
  const { m, changes, shows } = run(() => [
    started("SNAPSHOT"), events(3, "", present("n/a", 1, {}), present("n/b", 2, {}), present("n/c", 3, {})), snapshotEnd(3),
    reset("ACCESS"), events(4, "", present("n/a", 1, {}), present("n/b", 4, {})), "hang",
  ]);
  await settle();
  assert.equal(m.state, "RESETTING");
  assert.deepEqual(shows(), ["n/a 1", "n/b 2", "n/c 3"]);
  await m.close();

  const other = run(() => [
    started("SNAPSHOT"), events(3, "", present("n/a", 1, {}), present("n/b", 2, {}), present("n/c", 3, {})), snapshotEnd(3),
    reset("EPOCH"), events(2, "", present("n/a", 1, {}), present("n/b", 1, {})), snapshotEnd(2), "hang",
  ]);
  await settle();
  assert.deepEqual(other.shows(), ["n/a 1", "n/b 1"]);
  assert.equal(other.m.revision, 2n, "another life of the log counts anew");
  assert.deepEqual(other.changes.slice(3), ["n/b 2 1", "n/c 3 -"]);
  await other.m.close();
  assert.deepEqual(changes.length, 3);
});

test("an index follows the changes", async () => {
  const { m } = run(() => [
    started("SNAPSHOT"), events(2, "", present("n/a", 1, { tag: "x" }), present("n/b", 2, { tag: "x" })), snapshotEnd(2),
    events(3, "t3", present("n/a", 3, { tag: "y" })), events(4, "t4", absent("n/b", 4)),
  ], { indexes: { tag: (r) => [String(r.data["tag"])] } });
  await m.waitFor(2n);
  const names = (key: string) => m.index("tag", key).map((r) => r.name);
  assert.deepEqual([names("x"), names("y")], [["n/a", "n/b"], []]);
  await m.waitFor(4n);
  assert.deepEqual([names("x"), names("y")], [[], ["n/a"]]);
  assert.throws(() => m.index("other", "x"), TypeError);
  await m.close();
});

test("liveAsOf is the time of the last message, and stands still while it comes back", async () => {
  const { clock, m } = run((n) => (n === 0 ? [started("SNAPSHOT", 2000), snapshotEnd(1)] : []));
  await settle();
  const at = m.liveAsOf;
  assert.deepEqual(at, clock.date());
  await clock.advance(2500);
  assert.equal(m.liveAsOf, at);
  await m.close();
});

test("a slow callback holds up the progress, not the readers", async () => {
  let free = () => {};
  const told: string[] = [];
  const { m, shows } = run(() => [started("SNAPSHOT"), events(1, "", present("n/a", 1, {})), snapshotEnd(1), events(2, "t2", present("n/a", 2, {}))], {
    onChange: ({ after }) => (told.push(String(after?.revision)), new Promise<void>((resolve) => (free = resolve))),
  });
  await m.synced();
  await settle();
  assert.deepEqual([shows(), told], [["n/a 1"], ["1"]]);
  free();
  await settle();
  assert.deepEqual([shows(), told], [["n/a 2"], ["1", "2"]]);
  free();
  await m.close();
});

test("waiting ends with the mirror", async () => {
  const failed = run(() => [new WatchrouteError("NOT_FOUND", "no", { reason: "COLLECTION_NOT_FOUND" })]);
  await assert.rejects(failed.m.synced(), { reason: "COLLECTION_NOT_FOUND" });
  await assert.rejects(failed.m.ended(), { reason: "COLLECTION_NOT_FOUND" });
  const { m } = run(() => [started("SNAPSHOT"), snapshotEnd(1), bookmark(1)]);
  await m.synced();
  const waiting = assert.rejects(m.waitFor(99n), { code: "CANCELLED" });
  await m.close();
  await waiting;
  await m.ended();
});

test("a listener or an index that throws is the program's matter: it is logged, and the mirror goes on", async () => {
  const warnings: string[] = [];
  const { m, changes } = run(() => [started("SNAPSHOT"), events(1, "", present("n/a", 1, { bad: true })), snapshotEnd(1), events(2, "t2", present("n/b", 2, { tag: "x" }))], {
    indexes: {
      tag: (r) => {
        if (r.data["bad"]) throw new Error("bad");
        return ["x"];
      },
    },
  }, { log: ({ level, message }) => level === "warn" && warnings.push(message) });
  m.onChange(() => {
    throw new Error("oops");
  });
  await m.waitFor(2n);
  await settle();
  assert.deepEqual(m.index("tag", "x").map((r) => r.name), ["n/b"]);
  assert.deepEqual(changes.length, 2);
  assert.deepEqual([...new Set(warnings)].sort(), ["a mirror's listener failed", "the index tag failed"]);
  assert.equal(m.state, "LIVE");
  await m.close();
});

test("who no longer waits leaves nothing behind", async () => {
  const { m } = run(() => []);
  const abort = new AbortController();
  const waiting = assert.rejects(m.synced(abort.signal), { message: "enough" });
  abort.abort(new Error("enough"));
  await waiting;
  await assert.rejects(m.waitFor(9n, abort.signal), { message: "enough" });
  await m.close();
});
