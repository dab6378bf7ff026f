import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../src/client.js";
import { WatchrouteError } from "../src/error.js";
import type { WatchOptions } from "../src/request.js";
import { watch } from "../src/watch.js";
import { absent, events, FakeClock, present, reset, ScriptedRung, settle, short, snapshotEnd, started, type Line } from "./scripted.js";

/** A program that takes batches when it is let, and what it was given at which time. */
function run(script: (n: number) => Line[], options: Partial<WatchOptions> = {}) {
  const clock = new FakeClock();
  const rung = new ScriptedRung(script);
  const w = watch(createClient({ baseUrl: "", rungs: [rung], clock }), undefined, { parent: "n", ...options });
  const batches = w.batches(100);
  const log: string[] = [];
  const take = async () => {
    const batch = await batches.next();
    log.push(`${clock.time}: ${batch.done ? "end" : batch.value.map(short).join(", ")}`);
    return batch.done === true;
  };
  return { clock, rung, w, batches, log, take };
}

const change = (name: string, revision: number) => events(revision, `t${revision}`, present(`n/${name}`, revision, {}));

test("what has come already is given at once, and of each name the last", async () => {
  const { log, take, batches } = run(() => [started("SNAPSHOT"), events(2, "", present("n/a", 1, {}), present("n/b", 2, {})), snapshotEnd(2), change("a", 3), change("b", 4), change("a", 5)]);
  await take();
  assert.deepEqual(log, ["0: PRESENT n/a 1, PRESENT n/b 2, SYNCED  2"], "SYNCED ends a batch");
  await batches.return();
});

test("later batches come no more often than they were asked for, the first after a quiet time at once", async () => {
  const lines: Line[] = [started("SNAPSHOT"), snapshotEnd(0)];
  let say = (_: Line) => {};
  const { clock, log, rung, take, batches } = run(() => lines);
  // A stream that goes on: lines are given to who waits.
  rung.open = (call) => ({
    credential: undefined,
    next: () => new Promise((resolve, reject) => {
      const next = lines.shift();
      if (next !== undefined) return resolve(next as never);
      say = (line) => resolve(line as never);
      call.signal.addEventListener("abort", () => reject(new Error("aborted")));
    }),
  });
  await take();
  let taking = take();
  for (const [name, revision] of [["a", 1], ["b", 2], ["a", 3]] as const) {
    await clock.advance(20);
    say(change(name, revision));
    await settle();
  }
  await clock.advance(39);
  assert.equal(log.length, 1);
  await clock.advance(1);
  await taking;
  taking = take();
  await clock.advance(150);
  say(change("c", 4));
  await settle();
  await clock.advance(0);
  await taking;
  assert.deepEqual(log, ["0: SYNCED  0", "100: PRESENT n/b 2, PRESENT n/a 3", "250: PRESENT n/c 4"]);
  await batches.return();
});

test("a reset makes what came before it in the batch void", async () => {
  const { clock, log, take } = run(() => [started("SNAPSHOT"), snapshotEnd(0), change("a", 1), reset("ACCESS"), events(3, "", present("n/b", 3, {})), snapshotEnd(3)]);
  await take();
  const second = take();
  await clock.advance(0);
  await second;
  assert.deepEqual(log, ["0: SYNCED  0", "0: RESET ACCESS 0, PRESENT n/b 3, SYNCED  3"]);
});

test("what came before an error is given before it", async () => {
  const { clock, log, take, w } = run(() => [started("SNAPSHOT"), snapshotEnd(0), change("a", 1), events(2, "t2", absent("n/a", 2)), new WatchrouteError("NOT_FOUND", "no")]);
  await take();
  await take();
  assert.deepEqual(log, ["0: SYNCED  0", "0: ABSENT n/a 2"]);
  await assert.rejects(take(), { code: "NOT_FOUND" });
  assert.equal(w.state, "CLOSED");
  assert.equal(clock.timers, 0);
});

test("while the program is busy no more is read than was being read", async () => {
  const lines = [started("SNAPSHOT"), snapshotEnd(0), ...Array.from({ length: 10 }, (_, i) => change("a", i + 1))];
  const { take, batches } = run(() => lines);
  await take();
  await settle();
  assert.equal(lines.length, 10, "nothing behind SYNCED");
  await batches.return();
});

test("the store has a token once the program has finished with the batch", async () => {
  const saved: (string | undefined)[] = [];
  const lines: Line[] = [started("SNAPSHOT"), snapshotEnd(0), change("a", 1), change("b", 2)];
  const { clock, take, batches, w } = run(() => lines, { store: { load: () => undefined, save: (_, token) => void saved.push(token) } });
  await take();
  const second = take();
  await clock.advance(100);
  await second;
  await clock.advance(5_000);
  assert.deepEqual(saved, [], "the second is not finished");
  const third = take();
  await clock.advance(5_000);
  assert.deepEqual(saved, ["t2"]);
  await w.cancel();
  await third;
  await batches.return();
});

test("a loop that is left frees everything, also while it waits", async () => {
  const { clock, rung, batches, take, w } = run(() => [started("SNAPSHOT"), snapshotEnd(0), change("a", 1)]);
  await take();
  const waiting = take();
  await settle();
  await w.cancel();
  await waiting;
  await batches.return();
  assert.equal(rung.open_, 0);
  assert.equal(clock.timers, 0);
});
