import type { WatchrouteError } from "./error.js";
import type { ResetReason } from "./event.js";
import type { Cause, Resource } from "./resource.js";

/** One message of a watch, the same from every transport. */
export interface Message<T> {
  readonly revision: bigint;
  /** Resumes after this message; empty where the watch cannot be cut. */
  readonly token: string;
  readonly body: Body<T>;
}

export type Body<T> =
  | { readonly kind: "started"; readonly mode: "SNAPSHOT" | "RESUMED" | "NOW"; readonly silenceLimit: number | undefined }
  | { readonly kind: "events"; readonly changes: readonly Change<T>[] }
  | { readonly kind: "snapshotEnd" | "bookmark" }
  | { readonly kind: "reset"; readonly reason: ResetReason }
  | { readonly kind: "drain"; readonly reconnectAfter: number }
  /** The watch ends; without an error: in order. */
  | { readonly kind: "closed"; readonly error: WatchrouteError | undefined };

export interface Change<T> {
  readonly present: boolean;
  readonly cause: Cause;
  readonly coalesced: number;
  /** Of what is absent only name and revision count. */
  readonly resource: Resource<T>;
  /** Set on a delta: what the resource's value carries of the new one, as paths of names of the language. */
  readonly paths: readonly string[] | undefined;
  /** Set on a delta: the revision of the value that it changes. */
  readonly base: bigint;
}
