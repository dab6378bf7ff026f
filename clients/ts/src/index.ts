export { createClient, Client } from "./client.js";
export type {
  BatchWritten, ClientOptions, DeleteOptions, ListOptions, LogEntry, Operation, Page, Precondition, PutOptions, ReadOptions, WriteOptions, Written,
} from "./client.js";
export type { BackoffOptions } from "./backoff.js";
export type { Clock } from "./clock.js";
export type { CredentialRequest, TokenProvider } from "./credential.js";
export { WatchrouteError } from "./error.js";
export type { Code, ErrorDetails } from "./error.js";
export type { Absent, Event, Present, Reset, ResetReason, State, Synced } from "./event.js";
export type { Counters } from "./follow.js";
export { grpcWeb } from "./grpcweb.js";
export type { LadderOptions } from "./ladder.js";
export type { WatchOptions } from "./request.js";
export type { Cause, Json, JsonObject, Resource } from "./resource.js";
export type { Call, Connection, Endpoint, Rung } from "./rung.js";
export { localStorageStore } from "./store.js";
export type { TokenStore } from "./store.js";
export { watch, Watch } from "./watch.js";
export type { ValueOf } from "./watch.js";
export { mirror, Mirror } from "./mirror.js";
export type { IndexKeys, MirrorChange, MirrorListener, MirrorOptions } from "./mirror.js";
