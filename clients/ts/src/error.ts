import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";

/** The gRPC codes, by their numbers. */
export const codes = [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
] as const;

export type Code = (typeof codes)[number];

/** What an error says beside its code and message. */
export interface ErrorDetails {
  /** Why: an ErrorReason of the contract, or of the client itself WRONG_TYPE, UNKNOWN_MESSAGE or NOT_WATCHROUTE. */
  reason?: string;
  /** What is concerned: `field` and others. */
  metadata?: Readonly<Record<string, string>>;
  /** The least time to wait before trying again, in milliseconds, where the server says that trying again helps. */
  retryAfter?: number;
  cause?: unknown;
}

/** Every error of this library. `retryAfter` is in milliseconds. */
export class WatchrouteError extends Error {
  override readonly name = "WatchrouteError";
  readonly code: Code;
  /** Empty where nothing but the code is known. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryAfter: number | undefined;

  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? "";
    this.metadata = details.metadata ?? {};
    this.retryAfter = details.retryAfter;
  }

  /** Whether a watch that meets this error ends for good. Of UNAUTHENTICATED the credential has the last word. */
  get final(): boolean {
    return finalCodes.has(this.code) || (this.code === "UNAUTHENTICATED" && this.retryAfter === undefined);
  }
}

const finalCodes: ReadonlySet<Code> = new Set<Code>([
  "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ALREADY_EXISTS",
]);

export function codeOf(n: number): Code {
  return codes[n] ?? "UNKNOWN";
}

/** The error for whatever was thrown beneath: a connection that failed. */
export function unavailable(message: string, cause?: unknown): WatchrouteError {
  return cause instanceof WatchrouteError ? cause : new WatchrouteError("UNAVAILABLE", message, { cause });
}

/** What answered does not speak the protocol. */
export function notWatchroute(message: string, cause?: unknown): WatchrouteError {
  return new WatchrouteError("UNIMPLEMENTED", message, { reason: "NOT_WATCHROUTE", cause });
}

/** What a message may have at most; a client that is sent more takes it for an error, and does not keep it. */
export const mostBytes = 64 << 20;

export function tooLarge(): WatchrouteError {
  return new WatchrouteError("RESOURCE_EXHAUSTED", `a message has more than ${mostBytes} bytes`);
}

/** The server says something that this client does not know. */
export function unknownMessage(what: string): WatchrouteError {
  return new WatchrouteError("UNIMPLEMENTED", `${what} is not known to this client: the server is newer`, { reason: "UNKNOWN_MESSAGE" });
}

/** A value is not of the message that the program expects. */
export function wrongType(expected: string, got: string, cause?: unknown): WatchrouteError {
  const name = (type: string) => type || "a JSON object without a schema";
  const message = expected === got ? `the value is not a valid ${name(got)}` : `the value is ${name(got)}, expected was ${name(expected)}`;
  return new WatchrouteError("FAILED_PRECONDITION", message, { reason: "WRONG_TYPE", metadata: { expected, got }, cause });
}

/** An answer without a status of its own: what HTTP says. */
export function errorFromHttp(status: number, retryAfter: string | null): WatchrouteError {
  const seconds = Number(retryAfter ?? NaN);
  const details = Number.isFinite(seconds) ? { retryAfter: seconds * 1000 } : {};
  if (status === 401) return new WatchrouteError("UNAUTHENTICATED", "HTTP status 401", details);
  if (status === 403) return new WatchrouteError("PERMISSION_DENIED", "HTTP status 403", details);
  if (status === 429 || status >= 500) return new WatchrouteError("UNAVAILABLE", `HTTP status ${status}`, details);
  return notWatchroute(`HTTP status ${status} without an answer of Watchroute`);
}

/** undefined where the status is OK. */
export function errorFromStatus(status: Status): WatchrouteError | undefined {
  if (status.code === 0) return undefined;
  const details: ErrorDetails = {};
  for (const any of status.details) {
    try {
      addDetail(details, any);
    } catch {
      // A detail that cannot be read takes nothing from the code.
    }
  }
  return new WatchrouteError(codeOf(status.code), status.message, details);
}

/** undefined too where the bytes are no status. */
export function errorFromStatusBytes(bytes: Uint8Array): WatchrouteError | undefined {
  try {
    return errorFromStatus(fromBinary(StatusSchema, bytes));
  } catch {
    return undefined;
  }
}

// google.rpc.ErrorInfo and RetryInfo are read by hand: a dozen lines instead of the
// descriptors of all of google.rpc's details.
function addDetail(details: ErrorDetails, any: Any): void {
  const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  if (type === "google.rpc.ErrorInfo") {
    const metadata: Record<string, string> = {};
    for (const [field, value] of fields(any.value)) {
      if (field === 1) details.reason = text(value);
      if (field === 3) {
        const entry = new Map(fields(value as Uint8Array));
        metadata[text(entry.get(1))] = text(entry.get(2));
      }
    }
    details.metadata = metadata;
  } else if (type === "google.rpc.RetryInfo") {
    for (const [field, value] of fields(any.value)) {
      if (field !== 1) continue;
      const delay = new Map(fields(value as Uint8Array));
      details.retryAfter = Number(delay.get(1) ?? 0) * 1000 + Number(delay.get(2) ?? 0) / 1e6;
    }
  }
}

function fields(bytes: Uint8Array): [number, bigint | Uint8Array][] {
  const reader = new BinaryReader(bytes);
  const found: [number, bigint | Uint8Array][] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType === 0) found.push([field, BigInt(reader.int64())]);
    else if (wireType === 2) found.push([field, reader.bytes()]);
    else reader.skip(wireType, field);
  }
  return found;
}

function text(value: bigint | Uint8Array | undefined): string {
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : "";
}
