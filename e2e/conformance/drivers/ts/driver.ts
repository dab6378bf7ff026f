// The driver of the TypeScript client: commands on standard input, reports on standard
// output, see ../../README.md.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { fromJson, toJson, type DescMessage, type JsonValue, type Message } from "@bufbuild/protobuf";
import WebSocket from "ws";
import {
  createClient, grpcWeb, mirror, watch, WatchrouteError,
  type Client, type Mirror, type Operation, type Resource, type Rung, type TokenStore, type Watch, type WatchOptions,
} from "../../../../clients/ts/src/index.js";
import { longPoll } from "../../../../clients/ts/src/longpoll.js";
import { ladder } from "../../../../clients/ts/src/rungs.js";
import { sse } from "../../../../clients/ts/src/sse.js";
import { webSocket, type WebSocketConstructor } from "../../../../clients/ts/src/websocket.js";
import { OrderSchema } from "../../../../gen/ts/shop/v1/orders_pb.js";
import { Delivery, OnExpired, Start, WatchRequestSchema, type WatchRequest } from "../../../../gen/ts/watchroute/v1/watch_pb.js";

type Command = {
  op: string;
  id?: string;
  n?: number;
  value?: string;
  request?: JsonValue;
  via?: string;
  type?: string;
  store?: string;
  revision?: string;
  name?: string;
  parent?: string;
  data?: Json;
  requestId?: string;
  puts?: Record<string, Json>;
  deletes?: string[];
};
type Json = Record<string, unknown>;

const schemas: Record<string, DescMessage> = { [OrderSchema.typeName]: OrderSchema };
const socket = { WebSocket: WebSocket as unknown as WebSocketConstructor };
const rungs: Record<string, () => Rung[]> = {
  "grpc-web": () => [grpcWeb()],
  websocket: () => [webSocket(socket)],
  sse: () => [sse()],
  "long-poll": () => [longPoll()],
  ladder: () => ladder(socket),
};

const { values: flags } = parseArgs({
  options: {
    address: { type: "string" },
    first: { type: "string", default: "1s" },
    most: { type: "string", default: "30s" },
    ladder: { type: "string" },
  },
});
if (!flags.address) throw new Error("--address http://HOST:PORT is missing");

/** One watch or mirror, as the commands name it. */
interface Running {
  readonly schema: DescMessage | undefined;
  readonly cancel: () => Promise<void>;
  readonly mirror?: Mirror<unknown>;
  paused: Promise<void> | undefined;
  go: () => void;
}

const running = new Map<string, Running>();
const clients = new Map<string, Client>();
let credential: string | undefined;
/** How often the token provider was asked. */
let asked = 0;

function report(line: Json): void {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function clientFor(via: string): Client {
  let client = clients.get(via);
  if (client === undefined) {
    const make = rungs[via];
    if (make === undefined) throw new Error(`via ${via} is not known`);
    const time = flags.ladder === undefined ? undefined : milliseconds(flags.ladder);
    client = createClient({
      baseUrl: flags.address!.includes("://") ? flags.address! : `http://${flags.address}`,
      token: () => {
        asked++;
        return credential;
      },
      rungs: make(),
      backoff: { first: milliseconds(flags.first), most: milliseconds(flags.most) },
      ...(time !== undefined && { ladder: { upAfter: time, startWithin: time } }),
      log: (entry) => process.stderr.write(JSON.stringify(entry) + "\n"),
    });
    clients.set(via, client);
  }
  return client;
}

function schemaOf(type: string | undefined): DescMessage | undefined {
  if (!type) return undefined;
  const schema = schemas[type];
  if (schema === undefined) throw new Error(`the type ${type} is not known`);
  return schema;
}

/** Unary calls name no type: that of the collection. */
function schemaOfCollection(name: string): DescMessage | undefined {
  return name.split("/")[0] === "orders" ? OrderSchema : undefined;
}

function optionsOf(c: Command, via: string): WatchOptions {
  const r = fromJson(WatchRequestSchema, c.request ?? {});
  return {
    parent: r.parent,
    names: r.names,
    filter: r.filter,
    readMask: r.readMask?.paths ?? [],
    ...startOf(r),
    minRevision: r.minRevision,
    delivery: r.delivery === Delivery.EVERY_CHANGE ? "EVERY_CHANGE" : "LATEST",
    ...(r.minInterval && { minInterval: Number(r.minInterval.seconds) * 1000 + r.minInterval.nanos / 1e6 }),
    ...(r.heartbeat && { heartbeat: Number(r.heartbeat.seconds) * 1000 + r.heartbeat.nanos / 1e6 }),
    delta: r.delta,
    onExpired: r.onExpired === OnExpired.FAIL ? "FAIL" : "RESET",
    projection: r.projection,
    ...(c.store && { store: fileStore(c.store) }),
    onState: (w, state, cause) => report({ id: c.id, state, cause, ...(via === "ladder" && { via: (w as Watch<unknown>).via }) }),
  };
}

function startOf(r: WatchRequest): Pick<WatchOptions, "resumeToken" | "afterRevision" | "from"> {
  if (r.start.case === "resumeToken") return { resumeToken: r.start.value };
  if (r.start.case === "afterRevision") return { afterRevision: r.start.value };
  if (r.start.case === "from") return { from: r.start.value === Start.NOW ? "NOW" : "SNAPSHOT" };
  return {};
}

/** Keeps one token in a file. */
function fileStore(path: string): TokenStore {
  return {
    load() {
      try {
        return readFileSync(path, "utf8").trim();
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw cause;
      }
    },
    save(_key, token) {
      if (token === undefined) rmSync(path, { force: true });
      else writeFileSync(path, token);
    },
  };
}

function plain(schema: DescMessage | undefined, value: unknown): unknown {
  return schema === undefined ? value : toJson(schema, value as Message);
}

function resourceJson(schema: DescMessage | undefined, r: Resource<unknown>): Json {
  return {
    name: r.name,
    uid: r.uid,
    revision: String(r.revision),
    createRevision: String(r.createRevision),
    etag: r.etag,
    ...(Object.keys(r.labels).length > 0 && { labels: r.labels }),
    createTime: r.createTime?.toISOString(),
    updateTime: r.updateTime?.toISOString(),
    ...(schema && { type: schema.typeName }),
    data: plain(schema, r.data),
  };
}

function errorJson(cause: unknown): Json {
  if (!(cause instanceof WatchrouteError)) throw cause;
  return { code: cause.code, reason: cause.reason, message: cause.message, metadata: cause.metadata };
}

function start(c: Command): void {
  const schema = schemaOf(c.type);
  const via = c.via || "grpc-web";
  const client = clientFor(via);
  const options = optionsOf(c, via);
  const entry: Running = c.op === "watch" ? startWatch(c.id!, watch(client, schema, options), schema) : startMirror(c.id!, client, options, schema);
  running.set(c.id!, entry);
}

function startWatch(id: string, w: Watch<unknown>, schema: DescMessage | undefined): Running {
  const entry: Running = { schema, cancel: () => w.cancel(), paused: undefined, go: () => {} };
  void (async () => {
    try {
      for await (const e of w) {
        const event: Json = { kind: e.kind, revision: String(e.revision) };
        if (e.kind === "PRESENT" || e.kind === "ABSENT") Object.assign(event, { name: e.name, cause: e.cause, coalesced: e.coalesced });
        if (e.kind === "PRESENT") event["data"] = plain(schema, e.data);
        if (e.kind === "RESET") event["reason"] = e.reason;
        report({ id, event });
        while (entry.paused) await entry.paused;
      }
      report({ id, ended: {} });
    } catch (cause) {
      report({ id, ended: errorJson(cause) });
    }
  })();
  return entry;
}

function startMirror(id: string, client: Client, options: WatchOptions, schema: DescMessage | undefined): Running {
  const { store, key, resumeToken, afterRevision, from, delivery, onExpired, ...rest } = options;
  const m = mirror(client, schema, {
    ...rest,
    onChange: async ({ name, before, after, revision }) => {
      while (entry.paused) await entry.paused;
      report({
        id,
        event: {
          kind: after ? "PRESENT" : "ABSENT",
          name,
          revision: String(after?.revision ?? revision),
          ...(before && { before: plain(schema, before.data) }),
          ...(after && { data: plain(schema, after.data) }),
        },
      });
    },
  });
  const entry: Running = { schema, mirror: m as Mirror<unknown>, cancel: () => m.close(), paused: undefined, go: () => {} };
  m.synced().then(() => report({ id, event: { kind: "SYNCED", revision: String(m.revision) } }), () => {});
  m.ended().then(() => report({ id, ended: {} }), (cause: unknown) => report({ id, ended: errorJson(cause) }));
  return entry;
}

function dump(id: string, { mirror: m, schema }: Running): void {
  const resources: Record<string, Json> = {};
  for (const r of m!.list()) resources[r.name] = { revision: String(r.revision), data: plain(schema, r.data) };
  report({ id, dump: { revision: String(m!.revision), liveAsOf: m!.liveAsOf?.toISOString(), state: m!.state, resources } });
}

async function call(c: Command): Promise<void> {
  const head = { ...(c.n !== undefined && { n: c.n }), op: c.op };
  try {
    report({ ...head, answer: await answerOf(c, clientFor("grpc-web"), schemaOf(c.type) ?? schemaOfCollection(c.parent ?? c.name ?? "")) });
  } catch (cause) {
    report({ ...head, error: errorJson(cause) });
  }
}

async function answerOf(c: Command, client: Client, schema: DescMessage | undefined): Promise<Json> {
  const value = (data: Json) => (schema === undefined ? data : fromJson(schema, data as JsonValue)) as never;
  const options = { ...(c.requestId && { requestId: c.requestId }) };
  switch (c.op) {
    case "get":
      return resourceJson(schema, await client.get(schema, c.name!));
    case "list": {
      const { resources, nextPageToken, revision, resumeToken } = await client.list(schema, c.parent!);
      return { resources: resources.map((r) => resourceJson(schema, r)), ...(nextPageToken && { nextPageToken }), revision: String(revision), resumeToken };
    }
    case "put":
      return { revision: String((await client.put(schema, c.name!, value(c.data!), options)).revision) };
    case "delete":
      return { revision: String((await client.delete(c.name!, options)).revision) };
    default: {
      const operations: Operation<never>[] = [
        ...Object.entries(c.puts ?? {}).map(([put, data]) => ({ put, data: value(data) })),
        ...(c.deletes ?? []).map((name) => ({ delete: name })),
      ];
      return { revision: String((await client.write(schema, c.parent!, operations, options)).revision) };
    }
  }
}

function obey(c: Command): void {
  switch (c.op) {
    case "credential":
      credential = c.value || undefined;
      return;
    case "asked":
      return report({ n: c.n, op: c.op, answer: { times: asked } });
    case "watch":
    case "mirror":
      return start(c);
    case "get":
    case "list":
    case "put":
    case "delete":
    case "write":
      return void call(c);
  }
  const entry = running.get(c.id ?? "");
  if (entry === undefined) throw new Error(`${c.op}: there is no ${c.id}`);
  switch (c.op) {
    case "pause":
      entry.paused ??= new Promise((resolve) => (entry.go = resolve));
      return;
    case "go":
      entry.paused = undefined;
      return entry.go();
    case "cancel":
      void entry.cancel();
      entry.paused = undefined; // who waits hears that it is over
      return entry.go();
    case "dump":
      return dump(c.id!, entry);
    case "waitFor":
      return void entry.mirror!.waitFor(BigInt(c.revision!)).then(() => report({ id: c.id, reached: String(entry.mirror!.revision) }), () => {});
    default:
      throw new Error(`${c.op} is not known`);
  }
}

function milliseconds(text: string): number {
  const match = /^([\d.]+)(ms|s|m)$/.exec(text);
  if (!match) throw new Error(`${text} is not a duration`);
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[match[2] as "ms" | "s" | "m"];
}

report({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() !== "") obey(JSON.parse(line) as Command);
}
await Promise.all([...running.values()].map((entry) => entry.cancel()));
process.exit(0);
