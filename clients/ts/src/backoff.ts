import type { Clock } from "./clock.js";

/** Ceilings of the random wait before a watch comes back, in milliseconds. */
export interface BackoffOptions {
  /** After the first failure. Default: 1000. */
  first?: number;
  /** The highest, reached by doubling. Default: 30000. */
  most?: number;
}

/** Full jitter: a random time between 0 and a ceiling that doubles with each failure. */
export class Backoff {
  #failures = 0;
  readonly #first: number;
  readonly #most: number;

  constructor(
    private readonly clock: Clock,
    options: BackoffOptions = {},
  ) {
    this.#first = options.first ?? 1000;
    this.#most = options.most ?? 30_000;
  }

  /** Something beyond `started` was received. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** The wait after one more failure; never less than what the server asked for. */
  failed(retryAfter = 0): number {
    const ceiling = Math.min(this.#most, this.#first * 2 ** Math.min(this.#failures++, 30));
    return retryAfter + this.clock.random() * ceiling;
  }
}
