import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Client } from "./client.js";
import { WatchrouteError } from "./error.js";
import type { State } from "./event.js";
import { Follower, type Counters, type Step } from "./follow.js";
import type { WatchOptions } from "./request.js";
import type { JsonObject, Resource } from "./resource.js";
import type { ValueOf } from "./watch.js";

/** What a mirror's callback is told: a resource before and after; undefined: it is not there. */
export interface MirrorChange<T> {
  readonly name: string;
  readonly before: Resource<T> | undefined;
  readonly after: Resource<T> | undefined;
  /** At which the mirror shows it. */
  readonly revision: bigint;
}

/** Told of each change in order, after the mirror shows it. What it returns is waited for, and holds up the mirror's progress; what it throws is logged. */
export type MirrorListener<T> = (change: MirrorChange<T>) => unknown;

/** Gives the keys under which a resource is found; the same for the same resource. Where it throws, the resource is under none. */
export type IndexKeys<T> = (resource: Resource<T>) => readonly string[];

export interface MirrorOptions<T> extends Omit<WatchOptions, "store" | "key" | "resumeToken" | "afterRevision" | "from" | "delivery" | "onExpired"> {
  /** Indexes by their names. */
  indexes?: Readonly<Record<string, IndexKeys<T>>>;
  onChange?: MirrorListener<T>;
}

/** Mirrors a collection or a part of it. It begins at once. */
export function mirror<S extends DescMessage>(client: Client, schema: S, options: MirrorOptions<MessageShape<S>>): Mirror<MessageShape<S>>;
/** Values without a contract are JSON objects; what they have in them is what the program says. */
export function mirror<T = JsonObject>(client: Client, schema: undefined, options: MirrorOptions<T>): Mirror<T>;
export function mirror<S extends DescMessage | undefined>(client: Client, schema: S, options: MirrorOptions<ValueOf<S>>): Mirror<ValueOf<S>>;
export function mirror<T>(client: Client, schema: DescMessage | undefined, options: MirrorOptions<T>): Mirror<T> {
  return new Mirror<T>(client, schema, options);
}

/**
 * A read-only copy, always current: it shows the state at one revision, as changes are taken over
 * together where the watch can be cut. While it comes back, and while a new state comes after a
 * reset, it shows what it has. The resources that it hands out are never changed.
 */
export class Mirror<T> {
  readonly #follower: Follower<T>;
  readonly #parent: string;
  #resources = new Map<string, Resource<T>>();
  #names: readonly string[] | undefined;
  #list: readonly Resource<T>[] | undefined;
  readonly #indexes = new Map<string, Index<T>>();
  readonly #listeners = new Set<MirrorListener<T>>();
  #revision = 0n;
  #complete = false;
  #liveAsOf: Date | undefined;
  #error: WatchrouteError | undefined;
  #waiters: { revision: bigint; resolve: () => void; reject: (cause: unknown) => void }[] = [];
  readonly #running: Promise<void>;

  /** Changes that no token has come for: undefined is what is removed. */
  #pending = new Map<string, Resource<T> | undefined>();
  /** The new state after a reset, until it is complete. */
  #next: Map<string, Resource<T>> | undefined;

  constructor(client: Client, schema: DescMessage | undefined, readonly options: MirrorOptions<T>) {
    const { indexes, onChange, ...watch } = options;
    this.#parent = options.parent ?? options.names?.[0]?.split("/")[0] ?? "";
    for (const [name, keys] of Object.entries(indexes ?? {})) this.#indexes.set(name, new Index(keys, (cause) => this.#follower.warn(`the index ${name} failed`, cause)));
    if (onChange) this.#listeners.add(onChange);
    this.#follower = new Follower<T>(client, schema, watch, this, true);
    this.#running = this.#run(client);
  }

  /** The resource of a name, or of an id within the collection. */
  get(nameOrId: string): Resource<T> | undefined {
    return this.#resources.get(nameOrId.includes("/") ? nameOrId : `${this.#parent}/${nameOrId}`);
  }

  /** All resources, in the order of their names. The same array until something changes. */
  list(): readonly Resource<T>[] {
    if (this.#list === undefined) {
      this.#names ??= [...this.#resources.keys()].sort();
      this.#list = this.#names.map((name) => this.#resources.get(name)!);
    }
    return this.#list;
  }

  /** The resources that an index has under a key, in the order of their names. */
  index(name: string, key: string): readonly Resource<T>[] {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new TypeError(`the mirror has no index ${name}`);
    return index.names(key).map((n) => this.#resources.get(n)!);
  }

  /** Whether the state was complete once. */
  get complete(): boolean {
    return this.#complete;
  }

  get size(): number {
    return this.#resources.size;
  }

  /** At which revision the state is; 0 before it is complete for the first time. */
  get revision(): bigint {
    return this.#revision;
  }

  get state(): State {
    return this.#follower.state;
  }

  get counters(): Readonly<Counters> {
    return this.#follower.counters;
  }

  get via(): string {
    return this.#follower.via;
  }

  /** When it was last known to be current; undefined: never yet. */
  get liveAsOf(): Date | undefined {
    return this.#liveAsOf;
  }

  /** Resolves once the first state is complete; rejects where the mirror ends before, or the signal is aborted. */
  synced(signal?: AbortSignal): Promise<void> {
    return this.#complete ? Promise.resolve() : this.waitFor(0n, signal);
  }

  /** Resolves once the mirror shows a revision: the one that a write gave. Rejects as `synced` does. */
  waitFor(revision: bigint, signal?: AbortSignal): Promise<void> {
    if (this.#complete && this.#revision >= revision) return Promise.resolve();
    if (this.state === "CLOSED") return Promise.reject(this.#error ?? closed());
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const waiter = { revision, resolve, reject };
      this.#waiters.push(waiter);
      signal?.addEventListener("abort", () => {
        this.#waiters = this.#waiters.filter((w) => w !== waiter);
        reject(signal.reason);
      }, { once: true });
    });
  }

  /** Tells a function each change from now on; the answer ends that. */
  onChange(listener: MirrorListener<T>): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when the mirror has ended: by `close`; rejects with the error that ended it. */
  async ended(): Promise<void> {
    await this.#running;
    if (this.#error) throw this.#error;
  }

  /** Ends it; it goes on to show what it has. */
  async close(): Promise<void> {
    await this.#follower.cancel();
    this.#rejectWaiters(closed());
  }

  async #run(client: Client): Promise<void> {
    try {
      for (let step = await this.#follower.next(); step !== undefined; step = await this.#follower.next()) {
        if (this.#follower.state === "LIVE") this.#liveAsOf = client.clock.date();
        await this.#take(step);
      }
    } catch (cause) {
      this.#error = cause as WatchrouteError;
      await this.#follower.cancel();
    }
    this.#rejectWaiters(this.#error ?? closed());
  }

  async #take(step: Step<T>): Promise<void> {
    for (const event of step.events) {
      switch (event.kind) {
        case "RESET":
          this.#next = new Map();
          this.#pending.clear();
          break;
        case "PRESENT":
          if (this.#next) this.#next.set(event.name, event.resource);
          else if (event.revision > this.#revision) this.#pending.set(event.name, event.resource);
          break;
        case "ABSENT":
          if (this.#next) this.#next.delete(event.name);
          else if (event.revision > this.#revision) this.#pending.set(event.name, undefined);
          break;
      }
    }
    const { body, revision, token } = step.message;
    // What came behind the last token comes again, folded anew: at an older revision perhaps.
    if (body.kind === "started") this.#pending.clear();
    if (body.kind === "snapshotEnd") {
      if (this.#next) this.#differences(this.#next);
      this.#next = undefined;
      this.#complete = true;
    } else if (token === "" || this.#next || !this.#complete || revision < this.#revision) {
      return;
    }
    await this.#show(revision, body.kind === "snapshotEnd");
  }

  // What the new state changes, as if it had been told.
  #differences(next: Map<string, Resource<T>>): void {
    this.#pending.clear();
    for (const [name, resource] of next) {
      const held = this.#resources.get(name);
      if (held === undefined || held.revision !== resource.revision || held.uid !== resource.uid) this.#pending.set(name, resource);
    }
    for (const name of this.#resources.keys()) if (!next.has(name)) this.#pending.set(name, undefined);
  }

  async #show(revision: bigint, anew: boolean): Promise<void> {
    const changes: MirrorChange<T>[] = [];
    for (const [name, after] of this.#pending) {
      const before = this.#resources.get(name);
      if (before === after) continue;
      if (after === undefined) this.#resources.delete(name);
      else this.#resources.set(name, after);
      if (!before !== !after) this.#names = undefined;
      this.#list = undefined;
      for (const index of this.#indexes.values()) index.change(before, after);
      changes.push({ name, before, after, revision });
    }
    this.#pending.clear();
    if (anew || revision > this.#revision) this.#revision = revision;
    this.#resolveWaiters();
    for (const change of changes) {
      for (const listener of [...this.#listeners]) {
        try {
          await listener(change);
        } catch (cause) {
          this.#follower.warn("a mirror's listener failed", cause);
        }
      }
    }
  }

  #resolveWaiters(): void {
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter((w) => w.revision <= this.#revision);
    this.#waiters = this.#waiters.filter((w) => w.revision > this.#revision);
    for (const w of ready) w.resolve();
  }

  #rejectWaiters(cause: WatchrouteError): void {
    for (const w of this.#waiters.splice(0)) w.reject(cause);
  }
}

function closed(): WatchrouteError {
  return new WatchrouteError("CANCELLED", "the mirror is closed");
}

class Index<T> {
  readonly #names = new Map<string, Set<string>>();

  constructor(private readonly keys: IndexKeys<T>, private readonly onFailure: (cause: unknown) => void) {}

  names(key: string): string[] {
    return [...(this.#names.get(key) ?? [])].sort();
  }

  change(before: Resource<T> | undefined, after: Resource<T> | undefined): void {
    if (before) {
      for (const key of this.#keysOf(before)) {
        const names = this.#names.get(key);
        names?.delete(before.name);
        if (names?.size === 0) this.#names.delete(key);
      }
    }
    if (after) {
      for (const key of this.#keysOf(after)) {
        const names = this.#names.get(key);
        if (names) names.add(after.name);
        else this.#names.set(key, new Set([after.name]));
      }
    }
  }

  #keysOf(resource: Resource<T>): Set<string> {
    try {
      return new Set(this.keys(resource));
    } catch (cause) {
      this.onFailure(cause);
      return new Set();
    }
  }
}
