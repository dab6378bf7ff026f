import type { Cause, Resource } from "./resource.js";

/** The resource is this, whole. */
export interface Present<T> {
  readonly kind: "PRESENT";
  readonly name: string;
  readonly revision: bigint;
  readonly cause: Cause;
  /** How many further changes of this name were folded into this one. */
  readonly coalesced: number;
  readonly resource: Resource<T>;
  /** The resource's value. */
  readonly data: T;
}

/** The resource is deleted, or has left the scope. */
export interface Absent {
  readonly kind: "ABSENT";
  readonly name: string;
  readonly revision: bigint;
  readonly cause: Cause;
  readonly coalesced: number;
}

/** The state is complete and equals `list` at `revision`. */
export interface Synced {
  readonly kind: "SYNCED";
  readonly revision: bigint;
}

/** What was told is void; the state follows anew, with another SYNCED at its end. */
export interface Reset {
  readonly kind: "RESET";
  readonly revision: bigint;
  readonly reason: ResetReason;
}

/** INTERRUPTED: a snapshot was cut and begins anew. The others are the contract's; a newer server may have further ones. */
export type ResetReason = "COMPACTED" | "SCOPE" | "EPOCH" | "ACCESS" | "INTERRUPTED" | (string & {});

/** What a watch tells. */
export type Event<T> = Present<T> | Absent | Synced | Reset;

/** Where a watch stands. */
export type State = "CONNECTING" | "RESUMING" | "SNAPSHOT" | "RESETTING" | "LIVE" | "DRAINING" | "BACKING_OFF" | "CLOSED";
