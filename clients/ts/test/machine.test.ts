import assert from "node:assert/strict";
import { test } from "node:test";
import { applyDelta } from "../src/delta.js";
import type { Event, State } from "../src/event.js";
import { Lost, Machine, type MachineOptions } from "../src/machine.js";
import type { Message } from "../src/message.js";
import type { JsonObject } from "../src/resource.js";
import { absent, bookmark, drain, events, present, reset, short, snapshotEnd, started } from "./scripted.js";

const merge = (held: JsonObject, part: JsonObject, paths: readonly string[]) => applyDelta<JsonObject>(undefined, held, part, paths);

function machine(options: Partial<MachineOptions<JsonObject>> = {}) {
  const states: State[] = [];
  const m = new Machine<JsonObject>({ ...options, onState: (state) => states.push(state) });
  const told: string[] = [];
  const all: Event<JsonObject>[] = [];
  return {
    m, states, told, all,
    say(...messages: Message<JsonObject>[]) {
      for (const message of messages) {
        const made = m.take(message);
        all.push(...made);
        told.push(...made.map(short));
        m.done(message);
      }
    },
  };
}

test("a first stream goes from CONNECTING over SNAPSHOT to LIVE", () => {
  const { m, states, told, say } = machine();
  assert.deepEqual(m.open("opened"), { token: undefined, first: true, delta: false });
  say(started("SNAPSHOT"), events(3, "", present("n/a", 2, {}), present("n/b", 3, {})), snapshotEnd(3), events(4, "t4", absent("n/a", 4)));
  assert.deepEqual(states, ["CONNECTING", "SNAPSHOT", "LIVE"]);
  assert.deepEqual(told, ["PRESENT n/a 2", "PRESENT n/b 3", "SYNCED  3", "ABSENT n/a 4"]);
  assert.equal(m.token, "t4");
});

test("NOW is live at once, and counts until there is a token", () => {
  const { m, states, say } = machine();
  m.open("opened");
  say(started("NOW"));
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").first, true);
  say(started("NOW"), bookmark(7));
  m.ended("BACKING_OFF", "cut");
  assert.deepEqual(m.open("again"), { token: "t7", first: false, delta: false });
  assert.deepEqual(states, ["CONNECTING", "LIVE", "BACKING_OFF", "CONNECTING", "LIVE", "BACKING_OFF", "RESUMING"]);
});

test("what was told behind the token is not told again", () => {
  const { m, states, told, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"), snapshotEnd(1), events(3, "", present("n/a", 2, {}), present("n/b", 3, {})));
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").token, "t1");
  say(started("RESUMED"), events(3, "t3", present("n/a", 2, {}), present("n/b", 3, {})), events(4, "t4", present("n/a", 4, {})));
  assert.deepEqual(told, ["SYNCED  1", "PRESENT n/a 2", "PRESENT n/b 3", "PRESENT n/a 4"]);
  assert.equal(m.duplicates, 2);
  assert.deepEqual(states.slice(-3), ["BACKING_OFF", "RESUMING", "LIVE"]);
});

test("a name that is folded anew with an older revision than the one told is left out", () => {
  const { m, told, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"), snapshotEnd(1), events(9, "", present("n/a", 9, {})));
  m.ended("BACKING_OFF", "cut");
  m.open("again");
  say(started("RESUMED"), events(5, "t5", present("n/a", 5, {})), events(9, "t9", present("n/a", 9, {})), events(10, "t10", present("n/a", 10, {})));
  assert.deepEqual(told, ["SYNCED  1", "PRESENT n/a 9", "PRESENT n/a 10"]);
});

test("started SNAPSHOT and then reset are one RESET, with the reason of the second", () => {
  const { m, states, told, say } = machine({ token: "old" });
  assert.equal(m.open("opened").token, "old");
  say(started("SNAPSHOT"));
  assert.equal(m.token, undefined);
  say(reset("COMPACTED"), events(5, "", present("n/a", 5, {})), snapshotEnd(5));
  assert.deepEqual(told, ["RESET COMPACTED 0", "PRESENT n/a 5", "SYNCED  5"]);
  assert.deepEqual(states, ["RESUMING", "RESETTING", "LIVE"]);
  assert.equal(m.resets, 1);
});

test("a position that the program gave is void after started SNAPSHOT too", () => {
  const { m, told, say } = machine({ positioned: true });
  assert.equal(m.open("opened").first, true);
  say(started("SNAPSHOT"), reset("COMPACTED"), snapshotEnd(5));
  assert.deepEqual(told, ["RESET COMPACTED 0", "SYNCED  5"]);
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").first, false);
});

test("a snapshot that is cut begins anew with INTERRUPTED, unless nothing was told", () => {
  const { m, states, told, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"));
  m.ended("BACKING_OFF", "cut");
  m.open("again");
  say(started("SNAPSHOT"), events(2, "", present("n/a", 2, {})));
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").token, undefined);
  say(started("SNAPSHOT"), events(3, "", present("n/b", 3, {})), snapshotEnd(3));
  assert.deepEqual(told, ["PRESENT n/a 2", "RESET INTERRUPTED 0", "PRESENT n/b 3", "SYNCED  3"]);
  assert.deepEqual(states, ["CONNECTING", "SNAPSHOT", "BACKING_OFF", "CONNECTING", "SNAPSHOT", "BACKING_OFF", "CONNECTING", "RESETTING", "LIVE"]);
});

test("a reset on a stream drops the token until the new state is complete", () => {
  const { m, states, told, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"), snapshotEnd(1), events(2, "t2", present("n/a", 2, {})), reset("ACCESS"));
  assert.equal(m.token, undefined);
  say(snapshotEnd(2));
  assert.equal(m.token, "t2");
  assert.deepEqual(told, ["SYNCED  1", "PRESENT n/a 2", "RESET ACCESS 0", "SYNCED  2"]);
  assert.deepEqual(states.slice(-2), ["RESETTING", "LIVE"]);
});

test("drain and the end are states", () => {
  const { m, states, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"), snapshotEnd(1), drain(100));
  m.open("the wait is over");
  say(started("RESUMED"));
  m.ended("CLOSED", "cancelled");
  assert.deepEqual(states.slice(-4), ["DRAINING", "RESUMING", "LIVE", "CLOSED"]);
});

test("deltas change what is held, and apply to what was held at the token after a resume", () => {
  const { m, all, told, say } = machine({ merge });
  assert.equal(m.open("opened").delta, true);
  say(started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1, y: { z: 1, w: 1 } })), snapshotEnd(1));
  // Behind the token: x is cleared, y.z changes. What follows the cut is a delta to revision 1 again.
  say(events(2, "", present("n/a", 2, { y: { z: 2 } }, { paths: ["x", "y.z"], base: 1 })));
  m.ended("BACKING_OFF", "cut");
  m.open("again");
  say(started("RESUMED"), events(3, "t3", present("n/a", 3, { v: 3 }, { paths: ["v"], base: 1 })));
  const values = all.flatMap((e) => (e.kind === "PRESENT" ? [e.data] : []));
  assert.deepEqual(values, [{ x: 1, y: { z: 1, w: 1 } }, { y: { z: 2, w: 1 } }, { x: 1, y: { z: 1, w: 1 }, v: 3 }]);
  assert.deepEqual(told.slice(-1), ["PRESENT n/a 3"]);
});

test("a delta may build upon a change that was not shown", () => {
  const { m, told, say } = machine({ merge });
  m.open("opened");
  say(started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1));
  say(events(9, "t9", present("n/a", 9, { x: 9 }, { paths: ["x"], base: 5 })));
  assert.deepEqual(told.slice(2), ["PRESENT n/a 9"]);
});

test("a delta to what is not held begins anew, and the second time without deltas", () => {
  const { m, told, say } = machine({ merge });
  m.open("opened");
  say(started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1));
  const bad = events(9, "t9", present("n/b", 9, { x: 9 }, { paths: ["x"], base: 5 }));
  assert.throws(() => m.take(bad), Lost);
  m.lose();
  assert.deepEqual(m.open("again"), { token: undefined, first: false, delta: true });
  say(started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1));
  assert.throws(() => m.take(bad), Lost);
  m.lose();
  assert.equal(m.open("again").delta, false);
  assert.deepEqual(told.slice(2), ["RESET INTERRUPTED 0", "PRESENT n/a 1", "SYNCED  1"]);
});

test("who begins with a token of a store has no values to change", () => {
  const { m, say } = machine({ merge, token: "kept" });
  assert.equal(m.open("opened").delta, false);
  say(started("SNAPSHOT"), reset("COMPACTED"), snapshotEnd(5));
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").delta, true);
});

test("while the token is pinned a stream that begins there tells nothing twice", () => {
  const { m, told, say } = machine();
  m.open("opened");
  say(started("SNAPSHOT"), snapshotEnd(1));
  m.pin();
  say(events(2, "t2", present("n/a", 2, {})));
  assert.equal(m.token, "t1");
  m.replaced();
  m.open("up");
  say(started("RESUMED"), events(3, "t3", present("n/a", 2, {}), present("n/b", 3, {})));
  assert.deepEqual(told, ["SYNCED  1", "PRESENT n/a 2", "PRESENT n/b 3"]);
  m.pin();
  say(bookmark(4));
  m.unpin();
  assert.equal(m.token, "t4");
});

test("unpinned in the middle of a batch, deltas still apply to what was held at the token", () => {
  const { m, all, say } = machine({ merge });
  m.open("opened");
  say(started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1));
  m.pin();
  say(events(2, "t2", present("n/b", 2, {})), events(3, "", present("n/a", 3, {}, { paths: ["x"], base: 1 })));
  m.unpin();
  m.ended("BACKING_OFF", "cut");
  assert.equal(m.open("again").token, "t1");
  say(started("RESUMED"), events(4, "t4", present("n/b", 2, {}), present("n/a", 4, { y: 4 }, { paths: ["y"], base: 1 })));
  const last = all.at(-1);
  assert.deepEqual(last?.kind === "PRESENT" && last.data, { x: 1, y: 4 });
  assert.equal(m.token, "t4");
});
