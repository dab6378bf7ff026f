// A clock that is set by hand, and a transport that says what a script tells it.
import type { Clock } from "../src/clock.js";
import type { Body, Change, Message } from "../src/message.js";
import type { Call, Connection, Rung } from "../src/rung.js";
import type { Cause, JsonObject } from "../src/resource.js";
import type { Watch } from "../src/watch.js";

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock implements Clock {
  time = 0;
  /** What `random` gives. */
  chance = 1;
  #timers = new Set<{ at: number; fn: () => void }>();

  now(): number {
    return this.time;
  }

  date(): Date {
    return new Date(1_000_000 + this.time);
  }

  random(): number {
    return this.chance;
  }

  after(milliseconds: number, fn: () => void): () => void {
    const timer = { at: this.time + milliseconds, fn };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Goes on by some milliseconds; each timer runs at its time. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.time + milliseconds;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.time = Math.max(this.time, due.at);
      due.fn();
      await settle();
    }
    this.time = end;
  }

  /** To the next timer; how long that took. */
  async next(): Promise<number> {
    await settle();
    const first = [...this.#timers].sort((a, b) => a.at - b.at)[0];
    if (!first) throw new Error("nothing waits for the clock");
    const wait = first.at - this.time;
    await this.advance(wait);
    return wait;
  }
}

/** What a scripted stream does next: says something, fails, ends in order, or says no more. */
export type Line = Message<JsonObject> | Error | "end" | "hang";

export class ScriptedRung implements Rung {
  readonly calls: Call[] = [];
  /** Credentials that were asked for. */
  readonly credentials: (string | undefined)[] = [];
  open_ = 0;

  /** `script` is asked for the lines of each stream, by its number from 0. */
  constructor(
    private readonly script: (n: number, call: Call) => Line[],
    readonly name = "scripted",
    readonly occupies = false,
  ) {}

  open<T>(call: Call): Connection<T> {
    const lines = this.script(this.calls.push(call) - 1, call);
    const credentials = this.credentials;
    let credential: string | undefined;
    let first = true;
    this.open_++;
    call.signal.addEventListener("abort", () => this.open_--);
    return {
      get credential() {
        return credential;
      },
      async next() {
        if (first) credentials.push((credential = await call.credential()));
        first = false;
        const line = lines.shift() ?? "hang";
        if (call.signal.aborted) throw new Error("aborted");
        if (line === "hang") return new Promise((_, reject) => call.signal.addEventListener("abort", () => reject(new Error("aborted"))));
        if (line === "end") return undefined;
        if (line instanceof Error) throw line;
        return line as Message<T>;
      },
    };
  }
}

export function message(revision: number, token: string, body: Body<JsonObject>): Message<JsonObject> {
  return { revision: BigInt(revision), token, body };
}

export const started = (mode: "SNAPSHOT" | "RESUMED" | "NOW", silenceLimit = 30_000) => message(0, "", { kind: "started", mode, silenceLimit });
export const snapshotEnd = (revision: number, token = `t${revision}`) => message(revision, token, { kind: "snapshotEnd" });
export const bookmark = (revision: number, token = `t${revision}`) => message(revision, token, { kind: "bookmark" });
export const reset = (reason: "COMPACTED" | "SCOPE" | "EPOCH" | "ACCESS") => message(0, "", { kind: "reset", reason });
export const drain = (reconnectAfter: number) => message(0, "", { kind: "drain", reconnectAfter });
export const events = (revision: number, token: string, ...changes: Change<JsonObject>[]) => message(revision, token, { kind: "events", changes });

export function present(name: string, revision: number, data: JsonObject, delta?: { paths: string[]; base: number }, cause: Cause = "UPDATED"): Change<JsonObject> {
  return { present: true, cause, coalesced: 0, resource: resource(name, revision, data), paths: delta?.paths, base: BigInt(delta?.base ?? 0) };
}

export function absent(name: string, revision: number): Change<JsonObject> {
  return { present: false, cause: "DELETED", coalesced: 0, resource: resource(name, revision, {}), paths: undefined, base: 0n };
}

function resource(name: string, revision: number, data: JsonObject) {
  return { name, uid: "u", revision: BigInt(revision), createRevision: 1n, etag: "", labels: {}, createTime: undefined, updateTime: undefined, data };
}

/** An event as one short text, to compare. */
export function short(e: { kind: string; name?: string; revision: bigint; reason?: string }): string {
  return [e.kind, e.name ?? e.reason ?? "", e.revision].join(" ");
}

/** A program that asks for the next event as soon as it has one, and keeps them as short texts. */
export function listen<T>(w: Watch<T>, log: string[] = []) {
  const ended = (async () => {
    for await (const e of w) log.push(short(e));
  })();
  ended.catch(() => {});
  return { w, log, ended };
}
