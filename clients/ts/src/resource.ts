/** Any JSON object: a value of a collection without a contract. */
export type JsonObject = { [key: string]: Json };
export type Json = null | boolean | number | string | Json[] | JsonObject;

/** One named thing at one revision. Never changed by this library once it was handed out. */
export interface Resource<T> {
  /** COLLECTION/ID, such as `orders/42`. */
  readonly name: string;
  readonly uid: string;
  /** Compares only within the collection. */
  readonly revision: bigint;
  readonly createRevision: bigint;
  readonly etag: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createTime: Date | undefined;
  readonly updateTime: Date | undefined;
  readonly data: T;
}

export type Cause = "" | "CREATED" | "UPDATED" | "ENTERED" | "DELETED" | "LEFT";

export const causes: readonly Cause[] = ["", "CREATED", "UPDATED", "ENTERED", "DELETED", "LEFT"];

export const noLabels: Readonly<Record<string, string>> = Object.freeze({});
