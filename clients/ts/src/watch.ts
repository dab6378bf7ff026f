import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Client } from "./client.js";
import type { Event, State } from "./event.js";
import { Follower, type Counters } from "./follow.js";
import type { WatchOptions } from "./request.js";
import type { JsonObject } from "./resource.js";

/** The type of values: that of the message, or a JSON object where there is none. */
export type ValueOf<S extends DescMessage | undefined> = S extends DescMessage ? MessageShape<S> : JsonObject;

/**
 * Watches a collection, or some names of it. `schema` is the generated descriptor of the
 * collection's message, such as OrderSchema; undefined where it has no contract.
 *
 *     for await (const event of watch(client, OrderSchema, { parent: "orders" })) ...
 */
export function watch<S extends DescMessage>(client: Client, schema: S, options: WatchOptions): Watch<MessageShape<S>>;
/** Values without a contract are JSON objects; what they have in them is what the program says: `watch<Note>(client, undefined, ...)`. */
export function watch<T = JsonObject>(client: Client, schema: undefined, options: WatchOptions): Watch<T>;
export function watch<S extends DescMessage | undefined>(client: Client, schema: S, options: WatchOptions): Watch<ValueOf<S>>;
export function watch(client: Client, schema: DescMessage | undefined, options: WatchOptions): Watch<unknown> {
  return new Watch<unknown>(client, schema, options);
}

/**
 * The events of a watch, in order, over as many connections as it takes. It begins with the first
 * `next`, and reads no further than the program asks; what the program does not ask
 * for, the server folds or keeps. Leaving the loop ends it. It fails with a
 * WatchrouteError only where trying again does not help.
 */
export class Watch<T> implements AsyncIterableIterator<Event<T>> {
  readonly #follower: Follower<T>;
  #events: readonly Event<T>[] = [];
  #at = 0;
  #last: Promise<unknown> | undefined;

  constructor(private readonly client: Client, schema: DescMessage | undefined, readonly options: WatchOptions) {
    this.#follower = new Follower<T>(client, schema, options, this);
  }

  get state(): State {
    return this.#follower.state;
  }

  get counters(): Readonly<Counters> {
    return this.#follower.counters;
  }

  /** By what it travels now. */
  get via(): string {
    return this.#follower.via;
  }

  /**
   * With which token it would be resumed now. It moves in the call of `next`, before that returns: once it has moved, it stands
   * behind all that the program was told and has finished with.
   */
  get token(): string | undefined {
    return this.#follower.token;
  }

  next(): Promise<IteratorResult<Event<T>, undefined>> {
    if (this.#last) return this.#serially();
    if (this.#at < this.#events.length && this.state !== "CLOSED") return Promise.resolve({ done: false, value: this.#events[this.#at++]! });
    return this.#serially();
  }

  // Whoever asks for several events before the first has come gets them one after the other.
  #serially(): Promise<IteratorResult<Event<T>, undefined>> {
    const turn = this.#last ? this.#last.then(() => this.#advance(), () => this.#advance()) : this.#advance();
    this.#last = turn;
    const over = () => {
      if (this.#last === turn) this.#last = undefined;
    };
    turn.then(over, over);
    return turn;
  }

  async #advance(): Promise<IteratorResult<Event<T>, undefined>> {
    while (this.state === "CLOSED" || this.#at >= this.#events.length) {
      const step = await this.#follower.next();
      if (step === undefined) return { done: true, value: undefined };
      this.#events = step.events;
      this.#at = 0;
    }
    return { done: false, value: this.#events[this.#at++]! };
  }

  /**
   * Batches of events for a program that need not see each: at most one every so many milliseconds, with the last event of each name,
   * in their order. After a quiet time the first comes at once. A RESET is the first of its batch, and what came before is left out; SYNCED
   * ends one at once. While the program is busy with a batch nothing more is read, but what was being read already. The token goes to the
   * `store` when it asks for the next one.
   */
  async *batches(every: number): AsyncGenerator<readonly Event<T>[], void> {
    const { clock } = this.client;
    let due = -Infinity;
    let pending: Promise<IteratorResult<Event<T>, undefined>> | undefined;
    this.#follower.hold();
    try {
      for (;;) {
        const batch = new Batch<T>();
        let timeIsUp: Promise<undefined> | undefined;
        let cancelTimer = () => {};
        try {
          while (!batch.complete) {
            pending ??= this.next();
            const step: IteratorResult<Event<T>, undefined> | undefined = await (timeIsUp ? Promise.race([pending, timeIsUp]) : pending);
            if (step === undefined) break;
            pending = undefined;
            if (step.done) return;
            batch.add(step.value);
            timeIsUp ??= new Promise((resolve) => (cancelTimer = clock.after(Math.max(0, due - clock.now()), () => resolve(undefined))));
          }
        } catch (cause) {
          yield* batch.given();
          throw cause;
        } finally {
          cancelTimer();
        }
        due = clock.now() + every;
        const finished = this.#follower.hold();
        yield* batch.given();
        finished();
      }
    } finally {
      await this.cancel();
    }
  }

  /** Ends the watch; resolves when the last token is saved. */
  async cancel(): Promise<void> {
    await this.#follower.cancel();
  }

  async return(): Promise<IteratorResult<Event<T>, undefined>> {
    await this.cancel();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** The last event of each name, between a RESET and a SYNCED. */
class Batch<T> {
  #reset: Event<T> | undefined;
  readonly #changes = new Map<string, Event<T>>();
  #synced: Event<T> | undefined;

  add(event: Event<T>): void {
    if (event.kind === "RESET") {
      this.#reset = event;
      this.#changes.clear();
    } else if (event.kind === "SYNCED") {
      this.#synced = event;
    } else {
      this.#changes.delete(event.name); // to be behind the others
      this.#changes.set(event.name, event);
    }
  }

  get complete(): boolean {
    return this.#synced !== undefined;
  }

  /** Itself, unless it is empty. */
  *given(): Generator<readonly Event<T>[], void> {
    const events = [...(this.#reset ? [this.#reset] : []), ...this.#changes.values(), ...(this.#synced ? [this.#synced] : [])];
    if (events.length > 0) yield events;
  }
}
