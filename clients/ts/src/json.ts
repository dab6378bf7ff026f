import { fromJson, type DescMessage, type JsonValue } from "@bufbuild/protobuf";
import { codes, codeOf, unknownMessage, WatchrouteError, wrongType, type ErrorDetails } from "./error.js";
import type { Body, Change, Message } from "./message.js";
import type { WatchRequest } from "./gen/watchroute/v1/watch_pb.js";
import { Delivery, OnExpired, Start } from "./gen/watchroute/v1/watch_pb.js";
import { causes, noLabels, type Cause, type JsonObject, type Resource } from "./resource.js";
import { known } from "./wire.js";

/** A WatchResponse as HTTP sends it. */
export interface JsonResponse {
  revision?: string;
  resumeToken?: string;
  started?: { mode?: string; silenceLimit?: string };
  events?: { events: JsonEvent[] };
  snapshotEnd?: object;
  bookmark?: object;
  reset?: { reason?: string };
  drain?: { reconnectAfter?: string };
  closed?: JsonStatus;
}

/** An Event as HTTP sends it. */
export interface JsonEvent {
  state?: string;
  cause?: string;
  coalesced?: number;
  updatedFields?: string;
  baseRevision?: string;
  resource?: {
    name: string;
    uid?: string;
    revision?: string;
    createRevision?: string;
    etag?: string;
    labels?: Record<string, string>;
    createTime?: string;
    updateTime?: string;
    type?: string;
    data?: unknown;
  };
}

/** A google.rpc.Status as HTTP sends it. */
export interface JsonStatus {
  code?: number;
  message?: string;
  details?: { "@type"?: string; reason?: string; metadata?: Record<string, string>; retryDelay?: string }[];
}

/** As messageFromWire, for JSON. */
export function messageFromJson<T>(m: JsonResponse, schema: DescMessage | undefined): Message<T> {
  return { revision: BigInt(m.revision ?? 0), token: m.resumeToken ?? "", body: bodyFromJson(m, schema) };
}

function bodyFromJson<T>(m: JsonResponse, schema: DescMessage | undefined): Body<T> {
  if (m.events) return { kind: "events", changes: m.events.events.map((e) => changeFromJson<T>(e, schema)) };
  if (m.bookmark) return { kind: "bookmark" };
  if (m.snapshotEnd) return { kind: "snapshotEnd" };
  if (m.started) return { kind: "started", mode: known(m.started.mode, "SNAPSHOT", "RESUMED", "NOW"), silenceLimit: milliseconds(m.started.silenceLimit) };
  if (m.reset) return { kind: "reset", reason: m.reset.reason ?? "" };
  if (m.drain) return { kind: "drain", reconnectAfter: milliseconds(m.drain.reconnectAfter) ?? 0 };
  if (m.closed) return { kind: "closed", error: errorFromJson(m.closed) };
  throw unknownMessage("a response of the watch");
}

/** Reads an event; in Server-Sent Events each is one of its own. */
export function changeFromJson<T>(e: JsonEvent, schema: DescMessage | undefined): Change<T> {
  const r = e.resource;
  if (r === undefined || (e.state !== "PRESENT" && e.state !== "ABSENT")) throw unknownMessage("an event's state");
  const present = e.state === "PRESENT";
  const resource: Resource<T> = {
    name: r.name,
    uid: r.uid ?? "",
    revision: BigInt(r.revision ?? 0),
    createRevision: BigInt(r.createRevision ?? 0),
    etag: r.etag ?? "",
    labels: r.labels ?? noLabels,
    createTime: r.createTime === undefined ? undefined : new Date(r.createTime),
    updateTime: r.updateTime === undefined ? undefined : new Date(r.updateTime),
    data: (present ? valueFromJson(r.type ?? "", r.data ?? {}, schema) : undefined) as T,
  };
  return {
    present,
    cause: causes.includes(e.cause as Cause) ? (e.cause as Cause) : "",
    coalesced: e.coalesced ?? 0,
    resource,
    paths: e.updatedFields === undefined ? undefined : e.updatedFields.split(",").filter((path) => path !== ""),
    base: BigInt(e.baseRevision ?? 0),
  };
}

function valueFromJson(type: string, data: unknown, schema: DescMessage | undefined): unknown {
  if (type !== (schema?.typeName ?? "")) throw wrongType(schema?.typeName ?? "", type);
  if (schema === undefined) return data as JsonObject;
  try {
    return fromJson(schema, data as JsonValue, { ignoreUnknownFields: true });
  } catch (cause) {
    throw wrongType(type, type, cause);
  }
}

/** undefined where the status is OK. */
export function errorFromJson(status: JsonStatus): WatchrouteError | undefined {
  if (!status.code) return undefined;
  const details: ErrorDetails = {};
  for (const detail of status.details ?? []) {
    if (detail["@type"]?.endsWith("/google.rpc.ErrorInfo")) {
      details.reason = detail.reason ?? "";
      details.metadata = detail.metadata ?? {};
    }
    if (detail["@type"]?.endsWith("/google.rpc.RetryInfo")) details.retryAfter = milliseconds(detail.retryDelay) ?? 0;
  }
  return new WatchrouteError(codeOf(status.code), status.message ?? "", details);
}

/** Whether the body of an answer is a status, and not some proxy's page. */
export function isStatus(value: unknown): value is JsonStatus {
  const code = (value as JsonStatus | null)?.code;
  return typeof code === "number" && code > 0 && code < codes.length;
}

function milliseconds(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseFloat(text) * 1000;
}

/** The URL that watches, with the request in its query. */
export function watchUrl(baseUrl: string, r: WatchRequest): URL {
  const parent = r.parent || (r.names[0] ?? "").split("/")[0]!;
  const url = new URL(`${baseUrl}/v1/${encodeURIComponent(parent)}:watch`);
  const set = (name: string, value: string) => value !== "" && url.searchParams.append(name, value);
  for (const name of r.names) set("names", name);
  set("filter", r.filter);
  set("read_mask", r.readMask?.paths.join(",") ?? "");
  if (r.start.case === "resumeToken") set("resume_token", r.start.value);
  if (r.start.case === "afterRevision") set("after_revision", String(r.start.value));
  if (r.start.case === "from") set("from", Start[r.start.value]);
  if (r.minRevision !== 0n) set("min_revision", String(r.minRevision));
  if (r.delivery) set("delivery", Delivery[r.delivery]);
  if (r.minInterval) set("min_interval", seconds(r.minInterval));
  if (r.heartbeat) set("heartbeat", seconds(r.heartbeat));
  if (r.delta) set("delta", "true");
  if (r.onExpired) set("on_expired", OnExpired[r.onExpired]);
  set("projection", r.projection);
  return url;
}

function seconds(d: { seconds: bigint; nanos: number }): string {
  return `${d.seconds}.${String(d.nanos).padStart(9, "0")}s`;
}
