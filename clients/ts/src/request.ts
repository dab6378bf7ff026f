import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { BackoffOptions } from "./backoff.js";
import type { State } from "./event.js";
import { Delivery, OnExpired, Start, WatchRequestSchema, type WatchRequest } from "./gen/watchroute/v1/watch_pb.js";
import type { Opening } from "./machine.js";
import type { TokenStore } from "./store.js";
import type { Mirror } from "./mirror.js";
import type { Watch } from "./watch.js";

/** What to watch, and how. The fields are those of `WatchRequest`; times are in milliseconds. */
export interface WatchOptions {
  /** The collection, such as `orders`. Optional where `names` is given. */
  parent?: string;
  /** Full names, such as `orders/42`, all of one collection; at most 1000. */
  names?: readonly string[];
  /** A CEL expression, such as `data.customer_id == "42"`. */
  filter?: string;
  /** The fields of the value to send. Default: all. */
  readMask?: readonly string[];
  /** Where to begin, unless `store` has a token. Default, also of an empty one: with the state. */
  resumeToken?: string;
  /** Begins with the changes after this revision. */
  afterRevision?: bigint;
  /** SNAPSHOT, the default: with the state. NOW: with changes from now on. */
  from?: "SNAPSHOT" | "NOW";
  /** Never tell from before this revision: the one that a write gave. */
  minRevision?: bigint;
  /** LATEST, the default: changes of one name may be folded for a program that is behind. EVERY_CHANGE: each is told exactly once. */
  delivery?: "LATEST" | "EVERY_CHANGE";
  /** The least time between two deliveries of events. */
  minInterval?: number;
  /** The most time without a message. Default: the server's, 15000. */
  heartbeat?: number;
  /** Let the server send changed fields only. Changes nothing of what is told; costs a copy of each value in scope. */
  delta?: boolean;
  /** FAIL: a position that cannot be resumed ends the watch. Default: RESET. */
  onExpired?: "RESET" | "FAIL";
  /** The version of the value's shape to send. */
  projection?: string;

  /** Keeps the token across restarts, for programs that keep the state themselves. */
  store?: TokenStore;
  /** The name of the token in the store. Default: made of what is watched. */
  key?: string;
  /** The first failure to connect is final. Default: it is tried again like any other. */
  failFast?: boolean;
  /** In place of the client's. */
  backoff?: BackoffOptions;
  /** Ends the watch. */
  signal?: AbortSignal;
  /** Is told each state. Default: the client's. */
  onState?: (watch: Watch<unknown> | Mirror<unknown>, state: State, cause: string) => void;
}

/** The request with which a stream of a watch is opened. */
export function requestOf(o: WatchOptions, opening: Opening): WatchRequest {
  return create(WatchRequestSchema, {
    parent: o.parent ?? "",
    names: [...(o.names ?? [])],
    filter: o.filter ?? "",
    ...(o.readMask && o.readMask.length > 0 && { readMask: { paths: [...o.readMask] } }),
    start: startOf(o, opening),
    minRevision: o.minRevision ?? 0n,
    delivery: o.delivery === undefined ? Delivery.DELIVERY_UNSPECIFIED : Delivery[o.delivery],
    ...(o.minInterval !== undefined && { minInterval: duration(o.minInterval) }),
    ...(o.heartbeat !== undefined && { heartbeat: duration(o.heartbeat) }),
    delta: opening.delta,
    onExpired: o.onExpired === undefined ? OnExpired.ON_EXPIRED_UNSPECIFIED : OnExpired[o.onExpired],
    projection: o.projection ?? "",
  });
}

function startOf(o: WatchOptions, opening: Opening): NonNullable<MessageInitShape<typeof WatchRequestSchema>["start"]> {
  if (opening.token !== undefined) return { case: "resumeToken", value: opening.token };
  if (opening.first && o.afterRevision !== undefined) return { case: "afterRevision", value: o.afterRevision };
  if (opening.first && o.from !== undefined) return { case: "from", value: Start[o.from] };
  return { case: undefined };
}

function duration(ms: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** What a token is good for: another scope has another key. */
export function keyOf(o: WatchOptions): string {
  return JSON.stringify([o.parent ?? "", o.names ?? [], o.filter ?? "", o.readMask ?? [], o.delivery ?? "LATEST", o.projection ?? ""]);
}
