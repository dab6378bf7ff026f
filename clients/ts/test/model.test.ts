// A model of a server, which cuts its streams, folds, batches, sends deltas and resets as chance
// has it; what the program was told is compared with the log.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "../src/client.js";
import { createClient } from "../src/client.js";
import { WatchrouteError } from "../src/error.js";
import type { Event } from "../src/event.js";
import type { Call } from "../src/rung.js";
import type { JsonObject } from "../src/resource.js";
import { watch } from "../src/watch.js";
import type { WatchOptions } from "../src/request.js";
import { absent, bookmark, drain, events, FakeClock, present, reset, ScriptedRung, snapshotEnd, started, type Line } from "./scripted.js";

interface Change {
  name: string;
  revision: number;
  data: JsonObject | undefined;
}

/** Numbers that a seed decides (mulberry32). */
function chances(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Model {
  readonly log: Change[] = [];
  #random: () => number;

  constructor(random: () => number, changes: number) {
    this.#random = random;
    let revision = 0;
    for (let i = 0; i < changes; i++) {
      revision += 1 + this.#below(3);
      const name = `n/${this.#below(4)}`;
      const before = this.at(revision).get(name)?.data;
      const gone = before !== undefined && this.#below(5) === 0;
      this.log.push({ name, revision, data: gone ? undefined : this.#changed(before ?? {}) });
    }
  }

  get head(): number {
    return this.log.at(-1)?.revision ?? 0;
  }

  at(revision: number): Map<string, Change> {
    const state = new Map<string, Change>();
    for (const c of this.log) {
      if (c.revision > revision) break;
      if (c.data) state.set(c.name, c);
      else state.delete(c.name);
    }
    return state;
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #changed(data: JsonObject): JsonObject {
    const copy = structuredClone(data);
    for (const key of ["a", "b", "c"]) {
      if (this.#below(3) === 0) delete copy[key];
      if (this.#below(3) === 0) copy[key] = this.#below(100);
    }
    if (this.#below(2) === 0) copy["deep"] = { ...(copy["deep"] as JsonObject), [`k${this.#below(3)}`]: this.#below(100) };
    return copy;
  }

  /** One stream, of which at most `most` lines come. */
  stream(call: Call, most: number, faults: boolean): Line[] {
    const { request: r } = call;
    const lines: Line[] = [];
    let from = 0;
    const resumed = r.start.case === "resumeToken";
    if (resumed) from = Number(r.start.value);
    const every = r.delivery === 2;
    if (resumed && !(faults && this.#below(8) === 0)) {
      lines.push(started("RESUMED"));
    } else {
      lines.push(started("SNAPSHOT"));
      if (resumed) lines.push(reset("COMPACTED"));
      // The state of some moment, and then what came since.
      from = this.log[this.#below(this.log.length)]?.revision ?? 0;
      for (const c of this.at(from).values()) lines.push(events(from, "", present(c.name, c.revision, c.data!)));
      lines.push(snapshotEnd(from, String(from)));
    }
    while (from < this.head) {
      const to = every ? this.#after(from, 1 + this.#below(3)) : this.#after(from, 1 + this.#below(6));
      const changes = every ? this.log.filter((c) => c.revision > from && c.revision <= to) : this.#folded(from, to);
      let before = this.at(from);
      const token = this.#below(3) > 0 ? String(to) : "";
      const wire = changes.map((c) => {
        const old = before.get(c.name);
        before = new Map(before).set(c.name, c);
        if (!c.data) return absent(c.name, c.revision);
        if (!r.delta || !old?.data || this.#below(4) === 0) return present(c.name, c.revision, c.data);
        return delta(old, c);
      });
      if (wire.length > 0) lines.push(events(to, token, ...wire));
      from = to;
    }
    lines.push(bookmark(this.head, String(this.head)), new WatchrouteError("OUT_OF_RANGE", "the log ends here", { reason: "END" }));
    lines.splice(most);
    if (lines.length === most) lines.push([new Error("cut"), "end" as const, drain(10)][this.#below(3)]!);
    return lines;
  }

  #after(from: number, changes: number): number {
    return this.log.filter((c) => c.revision > from)[changes - 1]?.revision ?? this.head;
  }

  #folded(from: number, to: number): Change[] {
    const last = new Map<string, Change>();
    // As nodes do: what was there at any moment is told as absent, as the reader may have heard of it.
    const seen = new Set(this.at(from).keys());
    for (const c of this.log) {
      if (c.revision <= from || c.revision > to) continue;
      last.set(c.name, c);
      if (c.data) seen.add(c.name);
    }
    return [...last.values()].filter((c) => c.data || seen.has(c.name)).sort((a, b) => a.revision - b.revision);
  }
}

function delta(old: Change, c: Change) {
  const paths: string[] = [];
  const part: JsonObject = {};
  for (const key of new Set([...Object.keys(old.data!), ...Object.keys(c.data!)])) {
    const [was, is] = [old.data![key], c.data![key]];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    if (key === "deep" && was && is) {
      for (const k of new Set([...Object.keys(was), ...Object.keys(is)])) {
        const [w, i] = [(was as JsonObject)[k], (is as JsonObject)[k]];
        if (w === i) continue;
        paths.push(`deep.${k}`);
        if (i !== undefined) part["deep"] = { ...(part["deep"] as JsonObject), [k]: i };
      }
      continue;
    }
    paths.push(key);
    if (is !== undefined) part[key] = is;
  }
  return paths.length > 0 ? present(c.name, c.revision, part, { paths, base: old.revision }) : present(c.name, c.revision, c.data!);
}

/** Follows until the log is over; checks on the way. */
async function follow(model: Model, client: Client, options: WatchOptions, note: string): Promise<void> {
  const held = new Map<string, { revision: bigint; data: JsonObject }>();
  let told = new Map<string, bigint[]>();
  let from = 0n;
  const w = watch(client, undefined, { parent: "n", ...options });
  for (;;) {
    let e: Event<JsonObject>;
    try {
      const next = await w.next();
      assert.ok(!next.done, note);
      e = next.value;
    } catch (cause) {
      assert.equal((cause as WatchrouteError).reason, "END", note);
      break;
    }
    if (e.kind === "RESET") {
      held.clear();
      told = new Map();
    } else if (e.kind === "SYNCED") {
      const state = new Map([...model.at(Number(e.revision))].map(([name, c]) => [name, c.data]));
      assert.deepEqual(new Map([...held].map(([name, r]) => [name, r.data])), state, `${note}: the state at SYNCED`);
      told = new Map();
      from = e.revision;
    } else {
      const before = told.get(e.name) ?? [];
      assert.ok(!before.includes(e.revision), `${note}: ${e.name} at ${e.revision} came twice`);
      told.set(e.name, [...before, e.revision]);
      if (e.kind === "PRESENT") held.set(e.name, { revision: e.revision, data: e.data });
      else held.delete(e.name);
    }
  }
  assert.deepEqual(new Map([...held].map(([name, r]) => [name, r.data])), new Map([...model.at(model.head)].map(([name, c]) => [name, c.data])), note);
  if (options.delivery === "EVERY_CHANGE") {
    const expected = new Map<string, bigint[]>();
    for (const c of model.log) if (BigInt(c.revision) > from) expected.set(c.name, [...(expected.get(c.name) ?? []), BigInt(c.revision)]);
    assert.deepEqual(new Map([...told].sort()), new Map([...expected].sort()), `${note}: every change exactly once`);
  }
}

const variants: WatchOptions[] = [{}, { delivery: "EVERY_CHANGE" }, { delta: true }, { delta: true, delivery: "EVERY_CHANGE" }];

function patient(): FakeClock {
  const clock = new FakeClock();
  clock.chance = 0;
  clock.after = (milliseconds, fn) => {
    // Waits of a back-off are over at once; silence never comes.
    if (milliseconds >= 5_000) return () => {};
    const turn = setImmediate(fn);
    return () => clearImmediate(turn);
  };
  return clock;
}

test("a stream that is cut after any of its messages loses nothing and doubles nothing", async () => {
  for (const options of variants) {
    const model = new Model(chances(7), 25);
    for (let cut = 1; cut < 45; cut++) {
      const random = chances(cut);
      const streams = new Model(random, 0);
      streams.log.push(...model.log);
      const rung = new ScriptedRung((n, call) => streams.stream(call, n === 0 ? cut : 1000, false));
      await follow(model, createClient({ baseUrl: "", rungs: [rung], clock: patient() }), options, `${JSON.stringify(options)} cut after ${cut}`);
    }
  }
});

test("whatever chance does to the streams, the program is told the state and each change", async () => {
  const first = Number(process.env["SEED"] ?? Math.floor(Math.random() * 1e9));
  console.log(`seed ${first} (SEED=${first} repeats it)`);
  for (let i = 0; i < 250; i++) {
    const seed = first + i;
    const random = chances(seed);
    const model = new Model(random, 5 + Math.floor(random() * 40));
    const options = variants[i % variants.length]!;
    const rung = new ScriptedRung((n, call) => model.stream(call, n > 30 ? 1000 : 1 + Math.floor(random() * 12), n <= 30));
    await follow(model, createClient({ baseUrl: "", rungs: [rung], clock: patient() }), options, `seed ${seed} ${JSON.stringify(options)}`);
  }
});
