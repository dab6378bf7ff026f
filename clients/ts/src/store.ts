import type { Clock } from "./clock.js";

/** Keeps tokens across restarts, for programs that keep the state themselves. */
export interface TokenStore {
  /** The token under a key; undefined: there is none. */
  load(key: string): string | undefined | Promise<string | undefined>;
  /** Keeps a token; undefined: what is kept under the key is void. */
  save(key: string, token: string | undefined): void | Promise<void>;
}

/** Keeps tokens in the `localStorage` of a page, or whatever else is given. */
export function localStorageStore(prefix = "watchroute:", storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> = localStorage): TokenStore {
  return {
    load: (key) => storage.getItem(prefix + key) ?? undefined,
    save(key, token) {
      if (token === undefined) storage.removeItem(prefix + key);
      else storage.setItem(prefix + key, token);
    },
  };
}

/** Saves the newest token of one watch, at most once a second; failures are told and end nothing. */
export class TokenKeeper {
  #saved: string | undefined;
  #token: string | undefined;
  #cancel: (() => void) | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: TokenStore,
    private readonly key: string,
    private readonly clock: Clock,
    private readonly onFailure: (cause: unknown) => void,
  ) {}

  async load(): Promise<string | undefined> {
    try {
      this.#saved = this.#token = (await this.store.load(this.key)) || undefined;
    } catch (cause) {
      this.onFailure(cause);
    }
    return this.#token;
  }

  keep(token: string): void {
    this.#token = token;
    this.#cancel ??= this.clock.after(1000, () => void this.flush());
  }

  /** Saves the last token now. */
  flush(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    return (this.#saving = this.#saving.then(async () => {
      const token = this.#token;
      if (token === this.#saved) return;
      try {
        await this.store.save(this.key, token);
        this.#saved = token;
      } catch (cause) {
        this.onFailure(cause);
      }
    }));
  }

  /** What is kept is void, before the program hears of it. */
  drop(): Promise<void> {
    this.#token = undefined;
    return this.flush();
  }
}
