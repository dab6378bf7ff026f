/** Time and chance, so that tests need not wait for either. */
export interface Clock {
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
  /** The time of day. */
  date(): Date;
  /** Calls fn once after some milliseconds; the answer calls it off. */
  after(milliseconds: number, fn: () => void): () => void;
  /** At least 0, less than 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after(milliseconds, fn) {
    const timer = setTimeout(fn, Math.min(milliseconds, 0x7fffffff));
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

/** Resolves after some milliseconds, or as soon as the signal is aborted. */
export function sleep(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(milliseconds, done);
    signal.addEventListener("abort", done);
  });
}
