import type { DescMessage } from "@bufbuild/protobuf";
import type { Clock } from "./clock.js";
import type { Message } from "./message.js";
import type { WatchRequest } from "./gen/watchroute/v1/watch_pb.js";

/** Where a client's calls go. */
export interface Endpoint {
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  /** Sent with each call, beside the credential. */
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

/** One stream that is to be opened. */
export interface Call {
  readonly endpoint: Endpoint;
  readonly request: WatchRequest;
  /** The message that values are of; undefined: JSON objects. */
  readonly schema: DescMessage | undefined;
  /** Ends the stream: a `next` that waits fails then. */
  readonly signal: AbortSignal;
  /** Asks for the credential of a connection that is about to be made. */
  credential(): Promise<string | undefined>;
  /** Asks for a fresh credential of a connection that goes on. */
  renew(): Promise<string | undefined>;
  /** Counts what was received. */
  received(bytes: number): void;
}

/** A stream of one watch. */
export interface Connection<T> {
  /**
   * The next message; undefined: the stream ended in order. Fails with a WatchrouteError,
   * or anything else where the connection failed. Nothing is read from the network
   * before it is asked for, but what a session's credit allows.
   */
  next(): Promise<Message<T> | undefined>;
  /** With which credential it was opened, once that is known. */
  readonly credential: string | undefined;
}

/** A way by which watches travel. Give one client its own. */
export interface Rung {
  readonly name: string;
  /** Each stream takes one of the six connections that browsers allow to an origin over HTTP/1.1. */
  readonly occupies: boolean;
  /** Does not wait; what fails, fails in `next`. */
  open<T>(call: Call): Connection<T>;
}
