import type { Event, State } from "./event.js";
import type { Change, Message } from "./message.js";
import type { Resource } from "./resource.js";

/** What was lost could not be told; the watch has to begin anew. */
export class Lost extends Error {}

export interface MachineOptions<T> {
  /** Applies a delta to a value that is held. undefined: deltas are not asked for. */
  merge?(held: T, part: T, paths: readonly string[]): T;
  /** The program begins with a position: what it holds is void if that cannot be resumed. */
  positioned?: boolean;
  /** What came behind the last token is dropped by who holds the state when a stream is resumed, and is to be told again. */
  transactional?: boolean;
  /** The token to begin with. */
  token?: string | undefined;
  onState?: (state: State, cause: string) => void;
}

/** How a stream is to be opened. */
export interface Opening {
  readonly token: string | undefined;
  /** Where the request says to begin still counts. */
  readonly first: boolean;
  readonly delta: boolean;
}

/**
 * The state of one watch across connections: it takes the messages of whatever stream
 * there is, in order, and gives the events to tell. It knows no time and no network.
 *
 * Each `take` is followed by `done` with the same message once the program has finished
 * with its events, before the next `take` and before the next `open`.
 */
export class Machine<T> {
  state: State = "CONNECTING";
  /** The token with which a stream can be resumed now. */
  token: string | undefined;
  /** Events that were left out, as they had been told. */
  duplicates = 0;
  /** How often the program was told to begin anew. */
  resets = 0;

  #first = true;
  #positioned: boolean;
  #toldAnything = false;
  #toldSinceReset = false;
  #snapshot = false;
  #awaitReset = false;
  #pinned = false;
  #pending: Message<T> | undefined;
  readonly #told = new Map<string, bigint>();
  readonly #held = new Map<string, Resource<T>>();
  readonly #undo = new Map<string, Resource<T> | undefined>();
  #whole = false;
  #losses = 0;

  constructor(private readonly options: MachineOptions<T>) {
    this.token = options.token;
    this.#positioned = options.positioned === true || options.token !== undefined;
    this.#toldAnything = this.#toldSinceReset = this.#positioned;
  }

  /** A stream is opened: it is to begin with the answer. */
  open(cause: string): Opening {
    this.#enter(this.token === undefined ? "CONNECTING" : "RESUMING", cause);
    return this.opening();
  }

  /** How a stream would be opened now. */
  opening(): Opening {
    const delta = this.options.merge !== undefined && (this.#whole || !this.#positioned) && this.#losses < 2;
    return { token: this.token, first: this.#first && this.token === undefined, delta };
  }

  /** The stream ended; what had been told after the token is told again. */
  ended(state: "BACKING_OFF" | "CLOSED", cause: string): void {
    this.#enter(state, cause);
  }

  /** Another stream, opened with the pinned token, takes the place of the running one. */
  replaced(): void {
    this.#pending = undefined;
    this.#pinned = false;
  }

  /** Until `unpin` or `replaced` the token stays what it is. */
  pin(): void {
    this.#pinned = true;
  }

  unpin(): void {
    this.#pinned = false;
    if (this.#pending) this.#commit(this.#pending);
    this.#pending = undefined;
  }

  /** Takes a message and gives the events that it makes. Throws Lost. */
  take(m: Message<T>): Event<T>[] {
    const events: Event<T>[] = [];
    const body = m.body;
    if (this.#awaitReset && (body.kind === "events" || body.kind === "snapshotEnd" || body.kind === "bookmark")) this.#reset(events, m.revision, "INTERRUPTED");
    switch (body.kind) {
      case "started":
        this.#started(m, body.mode, events);
        break;
      case "events":
        // Behind these a token that waits for `unpin` would be without its undo.
        this.#pending = undefined;
        for (const change of body.changes) this.#change(change, m, events);
        break;
      case "snapshotEnd":
        this.#snapshot = false;
        this.#tell(events, { kind: "SYNCED", revision: m.revision });
        this.#enter("LIVE", "snapshot_end");
        break;
      case "reset":
        this.#reset(events, m.revision, body.reason);
        if (this.state !== "RESETTING") this.#enter("RESETTING", `reset ${body.reason}`);
        break;
      case "drain":
        this.#enter("DRAINING", "drain");
        break;
    }
    return events;
  }

  /** The program has finished with what the message made. */
  done(m: Message<T>): void {
    if (m.token === "" || m.body.kind === "closed") return;
    if (this.#pinned) this.#pending = m;
    else this.#commit(m);
  }

  /** Begins anew: the token and all that is kept are void. */
  lose(): void {
    this.#losses++;
    this.#forget();
  }

  #started(m: Message<T>, mode: "SNAPSHOT" | "RESUMED" | "NOW", events: Event<T>[]): void {
    if (mode !== "SNAPSHOT") {
      for (const [name, before] of this.#undo) {
        if (before === undefined) this.#held.delete(name);
        else this.#held.set(name, before);
      }
      this.#undo.clear();
      this.#enter("LIVE", `started ${mode}`);
      return;
    }
    const resumed = this.token !== undefined || (this.#first && this.#positioned);
    this.#forget();
    this.#snapshot = true;
    this.#whole = true;
    this.#enter(this.#toldAnything ? "RESETTING" : "SNAPSHOT", "started SNAPSHOT");
    if (resumed) this.#awaitReset = true;
    else if (this.#toldSinceReset) this.#reset(events, m.revision, "INTERRUPTED");
  }

  #reset(events: Event<T>[], revision: bigint, reason: Extract<Event<T>, { kind: "RESET" }>["reason"]): void {
    const told = this.#toldSinceReset;
    this.#awaitReset = false;
    this.#forget();
    this.#snapshot = true;
    this.#whole = true;
    if (!told && reason === "INTERRUPTED") return;
    this.resets++;
    events.push({ kind: "RESET", revision, reason });
    this.#toldAnything = true;
    this.#toldSinceReset = false;
  }

  #forget(): void {
    this.token = undefined;
    this.#first = false;
    this.#awaitReset = false;
    this.#pending = undefined;
    this.#told.clear();
    this.#held.clear();
    this.#undo.clear();
  }

  #commit(m: Message<T>): void {
    this.token = m.token;
    this.#first = false;
    this.#undo.clear();
    if (this.#told.size === 0) return;
    for (const [name, revision] of this.#told) {
      if (revision <= m.revision) this.#told.delete(name);
    }
  }

  #change(change: Change<T>, m: Message<T>, events: Event<T>[]): void {
    const { name, revision } = change.resource;
    // What the message's own token will make forgotten at once need not be kept.
    const cut = m.token === "" || this.#pinned || m.revision < revision;
    let resource = change.resource;
    if (this.options.merge !== undefined) resource = this.#apply(change, cut);
    if (!this.#snapshot) {
      const told = this.#told.get(name);
      if (told !== undefined && told >= revision) {
        this.duplicates++;
        return;
      }
      if ((cut || told !== undefined) && !this.options.transactional) this.#told.set(name, revision);
    }
    const { cause, coalesced } = change;
    this.#tell(events, change.present
      ? { kind: "PRESENT", name, revision, cause, coalesced, resource, data: resource.data }
      : { kind: "ABSENT", name, revision, cause, coalesced });
  }

  // Also what is a duplicate to the program is applied: later deltas build upon it.
  #apply(change: Change<T>, cut: boolean): Resource<T> {
    const name = change.resource.name;
    const held = this.#held.get(name);
    if (cut && !this.#snapshot && !this.#undo.has(name)) this.#undo.set(name, held);
    if (!change.present) {
      this.#held.delete(name);
      return change.resource;
    }
    let resource = change.resource;
    if (change.paths !== undefined) {
      // The base is not compared: it may be a change of what a mask or a rule hides.
      if (held === undefined) throw new Lost(`${name} at ${resource.revision} changes what is not held`);
      resource = { ...resource, data: this.options.merge!(held.data, resource.data, change.paths) };
    }
    if (this.#whole) this.#held.set(name, resource);
    return resource;
  }

  #tell(events: Event<T>[], event: Event<T>): void {
    events.push(event);
    this.#toldAnything = this.#toldSinceReset = true;
  }

  #enter(state: State, cause: string): void {
    if (this.state === "CLOSED") return;
    this.state = state;
    this.options.onState?.(state, cause);
  }
}
