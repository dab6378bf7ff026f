import { fromBinary, type DescMessage } from "@bufbuild/protobuf";
import type { Any, Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { assign } from "./delta.js";
import { errorFromStatus, unknownMessage, wrongType } from "./error.js";
import { JsonSchema, State as WireState, type Resource as WireResource } from "./gen/watchroute/v1/resource_pb.js";
import { Reset_Reason, Started_Mode, type Event, type WatchResponse } from "./gen/watchroute/v1/watch_pb.js";
import type { Body, Change, Message } from "./message.js";
import { causes, noLabels, type Json, type JsonObject, type Resource } from "./resource.js";

/**
 * Reads a message of protobuf. Throws WRONG_TYPE for a value that is not of the schema
 * (undefined: a JSON object), UNKNOWN_MESSAGE for what this client does not know.
 */
export function messageFromWire<T>(m: WatchResponse, schema: DescMessage | undefined): Message<T> {
  return { revision: m.revision, token: m.resumeToken, body: bodyFromWire(m.body, schema) };
}

function bodyFromWire<T>(body: WatchResponse["body"], schema: DescMessage | undefined): Body<T> {
  switch (body.case) {
    case "events":
      return { kind: "events", changes: body.value.events.map((e) => changeFromWire<T>(e, schema)) };
    case "bookmark":
    case "snapshotEnd":
      return { kind: body.case };
    case "started":
      return { kind: "started", mode: known(Started_Mode[body.value.mode], "SNAPSHOT", "RESUMED", "NOW"), silenceLimit: milliseconds(body.value.silenceLimit) };
    case "reset":
      return { kind: "reset", reason: Reset_Reason[body.value.reason] ?? String(body.value.reason) };
    case "drain":
      return { kind: "drain", reconnectAfter: milliseconds(body.value.reconnectAfter) ?? 0 };
    case "closed":
      return { kind: "closed", error: errorFromStatus(body.value) };
    default:
      throw unknownMessage("a response of the watch");
  }
}

/** One of the names that are known, or UNKNOWN_MESSAGE. */
export function known<K extends string>(name: unknown, ...names: K[]): K {
  if (!(names as unknown[]).includes(name)) throw unknownMessage(String(name));
  return name as K;
}

function changeFromWire<T>(e: Event, schema: DescMessage | undefined): Change<T> {
  const r = e.resource;
  if (r === undefined || (e.state !== WireState.PRESENT && e.state !== WireState.ABSENT)) throw unknownMessage("an event's state");
  const present = e.state === WireState.PRESENT;
  return {
    present,
    cause: causes[e.cause] ?? "",
    coalesced: e.coalesced,
    resource: resourceFromWire(r, present ? schema : absent),
    paths: e.updatedFields?.paths,
    base: e.baseRevision,
  };
}

const absent = Symbol("absent");

/** Reads a resource; `schema` as for messageFromWire. */
export function resourceFromWire<T>(r: WireResource, schema: DescMessage | undefined | typeof absent): Resource<T> {
  let labels = noLabels;
  for (const _ in r.labels) {
    labels = r.labels;
    break;
  }
  return {
    name: r.name,
    uid: r.uid,
    revision: r.revision,
    createRevision: r.createRevision,
    etag: r.etag,
    labels,
    createTime: date(r.createTime),
    updateTime: date(r.updateTime),
    data: (schema === absent ? undefined : valueFromWire(r.data, schema)) as T,
  };
}

function valueFromWire(any: Any | undefined, schema: DescMessage | undefined): unknown {
  const type = any === undefined ? "" : any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  const bytes = any?.value ?? new Uint8Array();
  const json = type === "" || type === "google.protobuf.Struct" || type === JsonSchema.typeName;
  const got = json ? "" : type;
  if (got !== (schema?.typeName ?? "")) throw wrongType(schema?.typeName ?? "", got);
  try {
    if (schema !== undefined) return fromBinary(schema, bytes);
    return type === JsonSchema.typeName ? JSON.parse(fromBinary(JsonSchema, bytes).text) : structFromWire(new BinaryReader(bytes), bytes.length);
  } catch (cause) {
    throw wrongType(got, got, cause);
  }
}

// google.protobuf.Struct is read straight into plain JSON: through messages it costs
// several times as much.
function structFromWire(reader: BinaryReader, length: number): JsonObject {
  const end = reader.pos + length;
  const object: JsonObject = {};
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field !== 1) {
      reader.skip(wireType, field);
      continue;
    }
    const entryEnd = reader.uint32() + reader.pos;
    let key = "";
    let value: Json = null;
    while (reader.pos < entryEnd) {
      const [part, partType] = reader.tag();
      if (part === 1) key = reader.string();
      else if (part === 2) value = valueFromStruct(reader, reader.uint32());
      else reader.skip(partType, part);
    }
    assign(object, key, value);
  }
  return object;
}

function valueFromStruct(reader: BinaryReader, length: number): Json {
  const end = reader.pos + length;
  let value: Json = null;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    switch (field) {
      case 1:
        reader.int32();
        value = null;
        break;
      case 2:
        value = reader.double();
        break;
      case 3:
        value = reader.string();
        break;
      case 4:
        value = reader.bool();
        break;
      case 5:
        value = structFromWire(reader, reader.uint32());
        break;
      case 6:
        value = listFromStruct(reader, reader.uint32());
        break;
      default:
        reader.skip(wireType, field);
    }
  }
  return value;
}

function listFromStruct(reader: BinaryReader, length: number): Json[] {
  const end = reader.pos + length;
  const list: Json[] = [];
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === 1) list.push(valueFromStruct(reader, reader.uint32()));
    else reader.skip(wireType, field);
  }
  return list;
}

function milliseconds(d: Duration | undefined): number | undefined {
  return d && Number(d.seconds) * 1000 + d.nanos / 1e6;
}

function date(t: Timestamp | undefined): Date | undefined {
  return t && new Date(Number(t.seconds) * 1000 + Math.floor(t.nanos / 1e6));
}
