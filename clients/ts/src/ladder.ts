import type { Clock } from "./clock.js";
import type { Rung } from "./rung.js";

/** When a watch goes to another rung; times in milliseconds. */
export interface LadderOptions {
  /** After going down, until the rung above is tried. Doubled by each further time, until the watch stays longer above than it waited. Default: 60000. */
  upAfter?: number;
  /** The most that it is doubled to. Default: 1800000. */
  upAtMost?: number;
  /** `started` must come within this time of opening. Default: 5000. */
  startWithin?: number;
}

/** What became of a stream. */
export type StreamEnd =
  /** It failed before its first message, with nothing that the server said. */
  | "unreached"
  /** `started` did not come in time. */
  | "buffered"
  /** It began and then said nothing. */
  | "silent"
  /** What answered does not speak the protocol. */
  | "foreign"
  | "other";

/** Which rung a watch is on. It moves nothing by itself. */
export class Ladder {
  readonly #upAfter: number;
  readonly #upAtMost: number;
  readonly startWithin: number;
  #at = 0;
  /** The rung that gave a first message last, and when it became that. */
  #proved = 0;
  #provedAt: number;
  #unreached = 0;
  #silent = 0;
  #foreign = 0;
  #downs = 0;
  #upAt: number | undefined;

  constructor(
    readonly rungs: readonly Rung[],
    private readonly clock: Clock,
    options: LadderOptions = {},
    /** Whether one more stream that takes a connection may be opened. */
    private readonly room: () => boolean = () => true,
  ) {
    this.#provedAt = clock.now();
    this.#upAfter = options.upAfter ?? 60_000;
    this.#upAtMost = options.upAtMost ?? 1_800_000;
    this.startWithin = rungs.length > 1 ? (options.startWithin ?? 5_000) : 30_000;
  }

  /** Where the next stream goes. */
  get rung(): Rung {
    return this.rungs[this.#at]!;
  }

  /** Each rung was tried, and what answered on each does not speak the protocol. */
  get allForeign(): boolean {
    return this.#foreign >= this.rungs.length;
  }

  /** Before a stream is opened: a rung without room is passed over, if another has some. */
  makeRoom(): void {
    if (!this.rung.occupies || this.room()) return;
    const other = this.rungs.findIndex((r, i) => i > this.#at && !r.occupies);
    if (other < 0) return;
    this.#at = other;
  }

  /** A stream gave its first message. */
  started(): void {
    this.#unreached = this.#foreign = 0;
    if (this.#at === this.#proved) return;
    // Only now it is known that it was the rung, and not that the server was away.
    const down = this.#at > this.#proved;
    if (down && this.clock.now() - this.#provedAt > this.#wait) this.#downs = 0;
    this.#prove();
    if (down) this.#downs++;
  }

  /** A stream gave messages for ten times its silence limit: what comes later is not the rung's fault. */
  lasted(): void {
    this.#silent = 0;
  }

  /** A stream ended; true: the next one goes to another rung. */
  ended(end: StreamEnd): boolean {
    if (end === "unreached" && globalThis.navigator?.onLine === false) return false;
    this.#unreached = end === "unreached" ? this.#unreached + 1 : 0;
    if (end !== "unreached") this.#silent = end === "silent" ? this.#silent + 1 : 0;
    if (end === "foreign") this.#foreign++;
    if (end !== "foreign" && end !== "buffered" && this.#unreached < 3 && this.#silent < 2) return false;
    return this.#down();
  }

  /** When the rung above is to be tried; undefined: not at all. */
  get upAt(): number | undefined {
    return this.#at === 0 ? undefined : this.#upAt;
  }

  /** The rung above; undefined while it has no room. */
  get above(): Rung | undefined {
    for (let i = this.#at - 1; i >= 0; i--) {
      if (!this.rungs[i]!.occupies || this.rung.occupies || this.room()) return this.rungs[i];
    }
    this.#scheduleUp();
    return undefined;
  }

  /** The rung above gave `started`. */
  wentUp(rung: Rung): void {
    this.#at = this.rungs.indexOf(rung);
    this.#unreached = this.#silent = 0;
    this.#prove();
  }

  /** The rung above did not. */
  upFailed(): void {
    this.#scheduleUp();
    this.#downs++;
  }

  #down(): boolean {
    this.#unreached = this.#silent = 0;
    if (this.rungs.length === 1) return false;
    this.#at = (this.#at + 1) % this.rungs.length;
    return true;
  }

  #prove(): void {
    this.#proved = this.#at;
    this.#provedAt = this.clock.now();
    this.#scheduleUp();
  }

  get #wait(): number {
    return Math.min(this.#upAtMost, this.#upAfter * 2 ** Math.min(this.#downs, 20));
  }

  #scheduleUp(): void {
    this.#upAt = this.clock.now() + this.#wait;
  }
}
