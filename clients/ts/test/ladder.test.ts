import assert from "node:assert/strict";
import { test } from "node:test";
import { Ladder, type StreamEnd } from "../src/ladder.js";
import type { Rung } from "../src/rung.js";
import { FakeClock } from "./scripted.js";

function ladder(rungs = 3) {
  const clock = new FakeClock();
  const names = Array.from({ length: rungs }, (_, i) => `rung ${i}`);
  const made = new Ladder(names.map((name) => ({ name, occupies: false }) as Rung), clock, { upAfter: 60, upAtMost: 1000 });
  return {
    clock,
    ladder: made,
    end: (end: StreamEnd, times = 1) => {
      for (let i = 0; i < times; i++) made.ended(end);
    },
    /** The rung above is tried and works. */
    up: () => made.wentUp(made.above!),
    /** How long until that, from now. */
    wait: () => made.upAt! - clock.time,
  };
}

test("each time that it goes down the wait is twice as long", () => {
  const l = ladder();
  for (const wait of [60, 120, 240]) {
    l.end("buffered");
    l.ladder.started();
    assert.equal(l.wait(), wait);
    l.up();
    l.ladder.started();
  }
});

test("a rung that works for longer than it was waited for makes the wait short again", () => {
  const l = ladder();
  for (const wait of [60, 120]) {
    l.end("buffered");
    l.ladder.started();
    assert.equal(l.wait(), wait);
    l.up();
  }
  l.clock.time += 241;
  l.end("buffered");
  l.ladder.started();
  assert.equal(l.wait(), 60);
});

test("a server that was away for long costs no more than one step", () => {
  const l = ladder();
  l.ladder.started();
  l.end("unreached", 3 * 3 * 50 + 3);
  assert.equal(l.ladder.rung.name, "rung 1");
  l.ladder.started();
  assert.equal(l.wait(), 60);
  l.up();
  l.end("unreached", 3 * 3 * 50);
  l.ladder.started();
  assert.equal(l.ladder.rung.name, "rung 0");
  assert.equal(l.ladder.upAt, undefined);
});

test("a try that fails makes the wait longer", () => {
  const l = ladder();
  l.end("foreign");
  l.ladder.started();
  l.ladder.upFailed();
  assert.equal(l.wait(), 120);
  l.ladder.upFailed();
  assert.equal(l.wait(), 240);
  for (let i = 0; i < 10; i++) l.ladder.upFailed();
  assert.equal(l.wait(), 1000);
});
