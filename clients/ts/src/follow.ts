import type { DescMessage } from "@bufbuild/protobuf";
import { Backoff } from "./backoff.js";
import type { Client } from "./client.js";
import { sleep } from "./clock.js";
import { Credentials } from "./credential.js";
import { applyDelta } from "./delta.js";
import { unavailable, WatchrouteError } from "./error.js";
import type { Event, State } from "./event.js";
import type { WatchRequest } from "./gen/watchroute/v1/watch_pb.js";
import { Ladder, type StreamEnd } from "./ladder.js";
import { Lost, Machine } from "./machine.js";
import type { Message } from "./message.js";
import { keyOf, requestOf, type WatchOptions } from "./request.js";
import type { Connection, Rung } from "./rung.js";
import { TokenKeeper } from "./store.js";

/** One message of a watch and what it makes a program hear. */
export interface Step<T> {
  readonly message: Message<T>;
  readonly events: readonly Event<T>[];
}

/** What a watch counts. */
export interface Counters {
  messages: number;
  events: number;
  /** Events left out, as they had been told. */
  duplicates: number;
  reconnects: number;
  resets: number;
  bytes: number;
  /** Tokens that a store did not take or give. */
  storeFailures: number;
}

export function noCounts(): Counters {
  return { messages: 0, events: 0, duplicates: 0, reconnects: 0, resets: 0, bytes: 0, storeFailures: 0 };
}

const silenceAtFirst = 30_000;

/** A stream that is open, or being opened. */
class Stream<T> {
  readonly abort = new AbortController();
  readonly connection: Connection<T>;
  readonly openedAt: number;
  /** Why it was ended from here. */
  failure: { error: WatchrouteError; end: StreamEnd } | undefined;
  startedAt: number | undefined;
  /** When a read began that still waits. */
  waitingSince: number | undefined;
  silenceLimit: number;
  cancelTimer: (() => void) | undefined;
  #interrupt: ((cause: Error) => void) | undefined;

  constructor(readonly rung: Rung, request: WatchRequest, follower: FollowerContext, limit: number) {
    this.openedAt = follower.client.clock.now();
    this.silenceLimit = limit;
    if (rung.occupies) follower.client.streams++;
    this.connection = rung.open<T>({
      endpoint: follower.client,
      request,
      schema: follower.schema,
      signal: this.abort.signal,
      credential: () => follower.credentials.next(),
      renew: () => follower.credentials.renew(),
      received: (bytes) => void (follower.counters.bytes += bytes),
    });
    this.abort.signal.addEventListener("abort", () => {
      this.#interrupt?.(new Error("the stream was ended"));
      this.cancelTimer?.();
      if (rung.occupies) follower.client.streams--;
    });
  }

  /** As that of the connection, but that it fails at once when the stream is ended: a `fetch` that is aborted at the wrong moment says nothing any more. */
  next(): Promise<Message<T> | undefined> {
    return new Promise((resolve, reject) => {
      if (this.abort.signal.aborted) return reject(new Error("the stream was ended"));
      this.#interrupt = reject;
      this.connection.next().then(resolve, reject);
    });
  }

  fail(error: WatchrouteError, end: StreamEnd): void {
    this.failure ??= { error, end };
    this.abort.abort(error);
  }
}

/** A stream on the rung above, beside the one that runs. */
interface Probe<T> {
  readonly stream: Stream<T>;
  /** Its `started`, once that has come: the stream can take over. */
  first: Message<T> | undefined;
}

interface FollowerContext {
  readonly client: Client;
  readonly schema: DescMessage | undefined;
  readonly credentials: Credentials;
  readonly counters: Counters;
}

/**
 * Follows one watch over all connections that it takes, message by message: opens
 * streams, measures silence, waits, comes back, and moves on the ladder.
 *
 * Nothing is read before `next` is called; the call says too that the program has finished
 * with the step before. One call at a time.
 */
export class Follower<T> implements FollowerContext {
  readonly counters = noCounts();
  readonly credentials: Credentials;
  readonly #backoff: Backoff;
  readonly #ladder: Ladder;
  readonly #keeper: TokenKeeper | undefined;
  readonly #closing = new AbortController();
  #machine: Machine<T> | undefined;
  #stream: Stream<T> | undefined;
  #step: Step<T> | undefined;
  #comeBackAt: number | undefined;
  /** The wait is one that the server asked for. */
  #asked = false;
  #everReceived = false;
  /** A refused credential was replaced, and nothing was received since. */
  #renewed = false;
  #opened = false;
  #error: WatchrouteError | undefined;
  #probe: Probe<T> | undefined;
  /** `started` of a stream that took the place of another. */
  #first: Message<T> | undefined;
  #cancelUp: (() => void) | undefined;
  #finished: Promise<void> | undefined;
  /** How often what the store has was made void. */
  #voids = 0;
  /** Tokens go to the store when the program says so. */
  #holding = false;

  constructor(
    readonly client: Client,
    readonly schema: DescMessage | undefined,
    readonly options: WatchOptions,
    private readonly watch: unknown,
    /** As MachineOptions.transactional. */
    private readonly transactional = false,
  ) {
    this.credentials = new Credentials(client.token);
    this.#backoff = new Backoff(client.clock, { ...client.options.backoff, ...options.backoff });
    this.#ladder = new Ladder(client.rungs, client.clock, client.options.ladder, () => client.streams < client.mostStreams);
    if (options.store) {
      this.#keeper = new TokenKeeper(options.store, options.key ?? keyOf(options), client.clock, (cause) => {
        this.counters.storeFailures++;
        this.#log("warn", "the token's store failed", { cause: String(cause) });
      });
    }
    const signal = options.signal;
    if (signal) {
      const cancel = () => void this.cancel();
      if (signal.aborted) cancel();
      else signal.addEventListener("abort", cancel, { once: true, signal: this.#closing.signal });
    }
  }

  get state(): State {
    return this.#closing.signal.aborted ? "CLOSED" : (this.#machine?.state ?? "CONNECTING");
  }

  /** The name of the rung that the watch is on. */
  get via(): string {
    return this.#ladder.rung.name;
  }

  /** The token with which the watch would be resumed. */
  get token(): string | undefined {
    return this.#machine?.token;
  }

  /** The next message that counts; undefined once the watch was cancelled. Throws the error with which it ended. */
  async next(): Promise<Step<T> | undefined> {
    if (this.#error) throw this.#error;
    if (this.#closing.signal.aborted) return undefined;
    this.client.open(this);
    const machine = (this.#machine ??= await this.#begin());
    if (this.#step) this.#done(machine, this.#step.message);
    while (!this.#closing.signal.aborted) {
      try {
        const stream = this.#stream ?? (await this.#open(machine));
        if (stream === undefined) break;
        const message = this.#first ?? (await this.#read(stream));
        this.#first = undefined;
        if (this.#closing.signal.aborted) break;
        return (this.#step = await this.#take(machine, message));
      } catch (cause) {
        if (this.#closing.signal.aborted) break;
        await this.#failed(machine, cause);
      }
    }
    await this.#finished;
    return undefined;
  }

  /** From now on tokens go to the store by what this gives: the token of now, once the program has finished with what it was told. */
  hold(): () => void {
    this.#holding = true;
    const { token } = this;
    const voids = this.#voids;
    return () => {
      if (token !== undefined && voids === this.#voids) this.#keeper?.keep(token);
    };
  }

  /** Says what went wrong that ends nothing. */
  warn(message: string, cause: unknown): void {
    this.#log("warn", message, { cause: String(cause) });
  }

  /** Ends the watch; resolves when the last token is saved. */
  async cancel(): Promise<void> {
    this.#close("cancelled");
    await this.#finished;
  }

  async #begin(): Promise<Machine<T>> {
    const { options, schema } = this;
    const stored = await this.#keeper?.load();
    return new Machine<T>({
      token: stored ?? (options.resumeToken || undefined),
      transactional: this.transactional,
      positioned: options.afterRevision !== undefined,
      ...(options.delta && options.from !== "NOW" && { merge: (held: T, part: T, paths: readonly string[]) => applyDelta(schema, held, part, paths) }),
      onState: (state, cause) => this.#tell(state, cause),
    });
  }

  #done(machine: Machine<T>, message: Message<T>): void {
    this.#step = undefined;
    const before = machine.token;
    machine.done(message);
    if (this.#keeper && !this.#holding && machine.token !== undefined && machine.token !== before) this.#keeper.keep(machine.token);
  }

  async #open(machine: Machine<T>): Promise<Stream<T> | undefined> {
    if (this.#comeBackAt !== undefined) {
      await this.#wait(this.#comeBackAt - this.client.clock.now());
      if (this.#closing.signal.aborted) return undefined;
      this.#comeBackAt = undefined;
    }
    this.#ladder.makeRoom();
    if (this.#opened) this.counters.reconnects++;
    const opening = machine.open(this.#opened ? "the wait is over" : "opened");
    this.#opened = true;
    return (this.#stream = this.#newStream(this.#ladder.rung, opening));
  }

  // A browser that is online again makes the rest of a long wait pointless.
  async #wait(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return;
    const { clock } = this.client;
    const over = new AbortController();
    const end = () => over.abort();
    const online = () => void clock.after(clock.random() * 1000, end);
    this.#closing.signal.addEventListener("abort", end, { once: true });
    if (!this.#asked) globalThis.addEventListener?.("online", online, { once: true });
    await sleep(clock, milliseconds, over.signal);
    globalThis.removeEventListener?.("online", online);
    this.#closing.signal.removeEventListener("abort", end);
  }

  #newStream(rung: Rung, opening: ReturnType<Machine<T>["opening"]>): Stream<T> {
    return new Stream<T>(rung, requestOf(this.options, opening), this, this.#ladder.startWithin);
  }

  async #read(stream: Stream<T>): Promise<Message<T>> {
    this.#considerUp();
    stream.waitingSince = this.client.clock.now();
    if (!stream.cancelTimer) this.#watchSilence(stream);
    const message = await stream.next();
    stream.waitingSince = undefined;
    if (stream.failure) throw stream.failure.error;
    if (message === undefined) throw unavailable("the stream ended");
    return message;
  }

  #watchSilence(stream: Stream<T>, wait = stream.silenceLimit, excused = false): void {
    const { clock } = this.client;
    const due = clock.now() + wait;
    stream.cancelTimer = clock.after(wait, () => {
      stream.cancelTimer = undefined;
      if (stream.waitingSince === undefined) return;
      const left = stream.waitingSince + stream.silenceLimit - clock.now();
      // A timer that is late by far says that this process stood still: what has come meanwhile is not read yet.
      const stoodStill = clock.now() - due > 100;
      if (left > 0) this.#watchSilence(stream, left);
      else if (stoodStill && !excused) this.#watchSilence(stream, Math.min(1000, stream.silenceLimit), true);
      else if (stream.startedAt === undefined) stream.fail(unavailable(`the stream did not start within ${stream.silenceLimit} ms`), "buffered");
      else stream.fail(unavailable(`nothing came for ${stream.silenceLimit} ms`), "silent");
    });
  }

  async #take(machine: Machine<T>, message: Message<T>): Promise<Step<T>> {
    const stream = this.#stream!;
    const { body } = message;
    this.counters.messages++;
    this.#everReceived = true;
    if (body.kind === "closed") throw body.error ?? unavailable("the server ended the watch");
    if (body.kind === "started") {
      this.#started(stream, body.silenceLimit);
    } else {
      this.#backoff.succeeded();
      if (this.client.clock.now() - stream.startedAt! > 10 * stream.silenceLimit) this.#ladder.lasted();
    }
    const token = machine.token;
    const events = machine.take(message);
    this.counters.events += events.length;
    this.counters.duplicates = machine.duplicates;
    this.counters.resets = machine.resets;
    if (token !== undefined && machine.token === undefined) await this.#void();
    if (body.kind === "drain") {
      this.#drop();
      this.#asked = true;
      this.#comeBackAt = this.client.clock.now() + body.reconnectAfter;
    }
    return { message, events };
  }

  #started(stream: Stream<T>, silenceLimit: number | undefined): void {
    stream.startedAt = this.client.clock.now();
    stream.silenceLimit = silenceLimit || silenceAtFirst;
    stream.cancelTimer?.();
    stream.cancelTimer = undefined;
    this.#renewed = false;
    this.credentials.accepted();
    this.#ladder.started();
  }

  #drop(): void {
    this.#cancelUp?.();
    this.#cancelUp = undefined;
    this.#stream?.abort.abort();
    this.#stream = undefined;
    if (this.#probe) this.#probeFailed(this.#probe);
  }

  async #failed(machine: Machine<T>, cause: unknown): Promise<void> {
    const stream = this.#stream;
    const probe = this.#probe;
    if (probe?.first && stream?.failure?.end === "other") return this.#goUp(machine, probe.stream);
    // What was thrown may quote a value: it is the cause, and not in the message, which is logged.
    let error = stream?.failure?.error ?? unavailable("the connection failed", cause);
    if (cause instanceof Lost) {
      error = unavailable(cause.message, cause);
      machine.lose();
      await this.#void();
    }
    const refused = stream?.connection.credential;
    const end = stream ? endOf(stream, error) : "other";
    this.#drop();
    const moved = this.#ladder.ended(end);
    let wait: number | undefined;
    if (error.code === "UNAUTHENTICATED" && error.retryAfter === undefined) {
      const expired = error.reason === "CREDENTIAL_EXPIRED";
      if (expired) {
        this.credentials.expired();
      } else {
        const another = await this.#another(refused);
        if (this.#closing.signal.aborted) return; // cancelled meanwhile
        if (!another) return this.#fail(error);
      }
      if (!this.#renewed) wait = 0;
      this.#renewed = true;
    } else if (error.reason === "NOT_WATCHROUTE") {
      if (!this.#everReceived && this.#ladder.allForeign) return this.#fail(error);
    } else if (error.final) {
      return this.#fail(error);
    }
    if (this.options.failFast && !this.#everReceived && !moved) return this.#fail(error);
    this.#asked = error.retryAfter !== undefined;
    wait ??= this.#backoff.failed(error.retryAfter);
    this.#comeBackAt = this.client.clock.now() + wait;
    machine.ended("BACKING_OFF", error.message);
  }

  /** What the store has is of no more use. */
  async #void(): Promise<void> {
    this.#voids++;
    await this.#keeper?.drop();
  }

  async #another(refused: string | undefined): Promise<boolean> {
    try {
      return await this.credentials.another(refused);
    } catch (cause) {
      this.#log("warn", "the token provider failed", { cause: cause instanceof Error ? cause.name : "" });
      return false;
    }
  }

  // The rung above is tried only between steps: the token is pinned then, and what is told
  // meanwhile is remembered, so that the switch is a reconnect like any other.
  #considerUp(): void {
    const upAt = this.#ladder.upAt;
    if (upAt === undefined || this.#probe || this.#cancelUp || this.#machine!.state !== "LIVE" || this.#machine!.token === undefined) return;
    const wait = upAt - this.client.clock.now();
    if (wait > 0) {
      this.#cancelUp = this.client.clock.after(wait, () => {
        this.#cancelUp = undefined;
        if (this.#stream?.waitingSince !== undefined) this.#considerUp();
      });
      return;
    }
    const rung = this.#ladder.above;
    if (rung) void this.#tryUp(rung);
    else this.#considerUp(); // at another time
  }

  async #tryUp(rung: Rung): Promise<void> {
    const machine = this.#machine!;
    machine.pin();
    const stream = this.#newStream(rung, machine.opening());
    const probe: Probe<T> = (this.#probe = { stream, first: undefined });
    stream.waitingSince = stream.openedAt;
    this.#watchSilence(stream);
    let first: Message<T> | undefined;
    try {
      first = await stream.next();
    } catch {
      first = undefined;
    }
    if (this.#probe !== probe) return;
    stream.waitingSince = undefined;
    if (stream.failure || first?.body.kind !== "started" || first.body.mode !== "RESUMED" || !this.#stream) {
      this.#probeFailed(probe);
      if (this.#stream?.waitingSince !== undefined) this.#considerUp();
      return;
    }
    probe.first = first;
    this.#stream.fail(unavailable("the rung above works"), "other");
  }

  #probeFailed(probe: Probe<T>): void {
    this.#probe = undefined;
    probe.stream.abort.abort();
    this.#machine!.unpin();
    this.#ladder.upFailed();
  }

  // The running stream was ended for the sake of the one above.
  #goUp(machine: Machine<T>, stream: Stream<T>): void {
    const first = this.#probe!.first!;
    this.#probe = undefined;
    this.#stream = stream;
    this.#ladder.wentUp(stream.rung);
    machine.replaced();
    machine.open("up");
    this.counters.reconnects++;
    this.#first = first;
  }

  #close(cause: string, error?: WatchrouteError): void {
    if (this.#closing.signal.aborted) return;
    this.#error = error;
    this.#closing.abort();
    this.#drop();
    this.client.closed(this);
    this.#finished = this.#keeper?.flush() ?? Promise.resolve();
    if (this.#machine) this.#machine.ended("CLOSED", cause);
    else this.#tell("CLOSED", cause);
  }

  async #fail(error: WatchrouteError): Promise<never> {
    this.#close(error.message, error);
    await this.#finished;
    throw error;
  }

  #tell(state: State, cause: string): void {
    const hook = this.options.onState ?? this.client.options.onState;
    try {
      hook?.(this.watch as never, state, cause);
    } catch (thrown) {
      this.warn("onState failed", thrown);
    }
    this.#log("debug", "state", { state, cause, via: this.via });
  }

  #log(level: "debug" | "warn", message: string, fields: Record<string, unknown>): void {
    try {
      this.client.options.log?.({ level, message, watch: this.options.parent ?? this.options.names?.join(",") ?? "", ...fields });
    } catch {
      // There is nobody left to tell.
    }
  }
}

function endOf<T>(stream: Stream<T>, error: WatchrouteError): StreamEnd {
  if (stream.failure) return stream.failure.end;
  if (error.reason === "NOT_WATCHROUTE") return "foreign";
  // What has a reason was said by the server: it was reached.
  return stream.startedAt === undefined && error.reason === "" ? "unreached" : "other";
}
