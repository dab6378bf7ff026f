import type { DescMessage } from "@bufbuild/protobuf";
import { createContext, useCallback, useContext, useMemo, useRef, useSyncExternalStore } from "react";
import type { Client } from "./client.js";
import type { WatchrouteError } from "./error.js";
import type { State } from "./event.js";
import { Mirror, type MirrorOptions } from "./mirror.js";
import type { Resource } from "./resource.js";
import type { ValueOf } from "./watch.js";

/** The client of the components below a `ClientContext.Provider`. */
export const ClientContext = createContext<Client | undefined>(undefined);

/** What a component shows of a watch. Its fields change together; the object is another one when something did. */
export interface Watched<T> {
  readonly resources: readonly Resource<T>[];
  /** The state was complete once. */
  readonly synced: boolean;
  readonly state: State;
  /** By what it travels now. */
  readonly via: string;
  /** When this was last known to be current; it is, while the state is LIVE. */
  readonly liveAsOf: Date | undefined;
  /** With which the watch ended for good. */
  readonly error: WatchrouteError | undefined;
}

/** What a component shows of one resource; undefined: it does not exist, or is not known yet. */
export interface WatchedResource<T> extends Omit<Watched<T>, "resources"> {
  readonly resource: Resource<T> | undefined;
}

export interface UseWatchOptions extends Omit<MirrorOptions<never>, "parent" | "names" | "indexes" | "onChange" | "onState" | "signal"> {
  /** In place of that of the ClientContext. */
  client?: Client;
  /** The least time between two renderings, in milliseconds; the first after a quiet time is at once. Default: 0. */
  throttle?: number;
}

/** All resources of a collection, or of those a filter selects. Options may be written in place: they are compared by what they say. */
export function useWatch<S extends DescMessage | undefined = undefined>(parent: string, options: UseWatchOptions & { schema?: S } = {}): Watched<ValueOf<S>> {
  return useMirror<ValueOf<S>>({ parent }, options);
}

/** One resource, such as `orders/42`. */
export function useResource<S extends DescMessage | undefined = undefined>(name: string, options: UseWatchOptions & { schema?: S } = {}): WatchedResource<ValueOf<S>> {
  const { resources, ...rest } = useMirror<ValueOf<S>>({ names: [name] }, options);
  const resource = resources[0];
  return useMemo(() => ({ resource, ...rest }), [resource, rest.synced, rest.state, rest.via, rest.liveAsOf, rest.error]);
}

const nothing: Watched<never> = { resources: [], synced: false, state: "CONNECTING", via: "", liveAsOf: undefined, error: undefined };

function useMirror<T>(what: { parent: string } | { names: string[] }, options: UseWatchOptions & { schema?: DescMessage }): Watched<T> {
  const fromContext = useContext(ClientContext);
  const { client = fromContext, schema, throttle = 0, ...rest } = options;
  if (client === undefined) throw new TypeError("there is no client: give one as an option or by ClientContext");
  const key = JSON.stringify([what, rest], (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
  const latest = useRef({ what, rest });
  latest.current = { what, rest };
  const watched = useMemo(() => new Source<T>(client, schema, () => ({ ...latest.current.rest, ...latest.current.what }) as MirrorOptions<T>, throttle), [client, schema, key, throttle]);
  const subscribe = useCallback((changed: () => void) => watched.subscribe(changed), [watched]);
  const snapshot = useCallback(() => watched.current, [watched]);
  return useSyncExternalStore(subscribe, snapshot, () => nothing);
}

/** A mirror that runs while it is subscribed to. */
class Source<T> {
  current: Watched<T> = nothing;
  #mirror: Mirror<T> | undefined;
  readonly #subscribers = new Set<() => void>();
  /** Calls off the update that is to come. */
  #scheduled: (() => void) | undefined;
  #due = -Infinity;

  constructor(
    private readonly client: Client,
    private readonly schema: DescMessage | undefined,
    private readonly options: () => MirrorOptions<T>,
    private readonly throttle: number,
  ) {}

  subscribe(changed: () => void): () => void {
    this.#subscribers.add(changed);
    if (!this.#mirror) this.#start();
    return () => {
      this.#subscribers.delete(changed);
      if (this.#subscribers.size === 0) this.stop();
    };
  }

  stop(): void {
    const mirror = this.#mirror;
    this.#mirror = undefined;
    this.#scheduled?.();
    this.#scheduled = undefined;
    void mirror?.close();
  }

  #start(): void {
    const update = () => this.#schedule(mirror);
    const mirror: Mirror<T> = new Mirror<T>(this.client, this.schema, { ...this.options(), onChange: update, onState: update });
    this.#mirror = mirror;
    mirror.synced().then(update, () => {});
    mirror.ended().catch((error: WatchrouteError) => this.#update(mirror, error));
  }

  // Changes that come together are shown together.
  #schedule(mirror: Mirror<T>): void {
    if (this.#scheduled || mirror !== this.#mirror) return;
    const { clock } = this.client;
    const show = () => {
      this.#scheduled = undefined;
      this.#due = clock.now() + this.throttle;
      this.#update(mirror, this.current.error);
    };
    const wait = this.#due - clock.now();
    if (wait > 0) {
      this.#scheduled = clock.after(wait, show);
    } else {
      let off = false;
      this.#scheduled = () => (off = true);
      queueMicrotask(() => off || show());
    }
  }

  #update(mirror: Mirror<T>, error: WatchrouteError | undefined): void {
    if (mirror !== this.#mirror) return;
    this.current = { resources: mirror.list(), synced: mirror.complete, state: mirror.state, via: mirror.via, liveAsOf: mirror.liveAsOf, error };
    for (const changed of [...this.#subscribers]) changed();
  }
}
