// The page that the tests open in Chromium. It offers one function for each way
// to watch from a browser; each keeps a Watcher under a name, which the test reads.

import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { createRegistry, toJson } from "@bufbuild/protobuf";
import { OrderSchema, OrderService, WatchOrdersResponseSchema } from "../../../gen/ts/shop/v1/orders_pb.js";
import { Delivery, WatchResponseSchema } from "../../../gen/ts/watchroute/v1/watch_pb.js";
import { ResourceService } from "../../../gen/ts/watchroute/v1/service_pb.js";
import { type Message, Watcher } from "./watcher.js";

const watchers: Record<string, Watcher> = {};
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

function add(name: string): Watcher {
  return (watchers[name] = new Watcher());
}

/** EventSource as the browser ships it: nothing here reconnects or keeps a token. */
function eventSource(name: string, url: string) {
  const w = add(name);
  const source = new EventSource(url);
  w.stop = () => source.close();
  source.onopen = () => w.connects++;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) w.errors.push("the EventSource gave up");
  };
  source.addEventListener("change", (e) => w.event(JSON.parse(e.data)));
  for (const kind of ["started", "snapshot_end", "bookmark", "reset", "drain", "closed"]) {
    source.addEventListener(kind, (e) => w.apply(JSON.parse((e as MessageEvent).data)));
  }
}

/** A watch URL as WebSocket, reopened with the last token. */
async function webSocket(name: string, url: string) {
  const w = add(name);
  w.stop = () => {};
  while (!w.stopped) {
    const at = new URL(url);
    if (w.token) at.searchParams.set("resume_token", w.token);
    const socket = new WebSocket(at, "watchroute.v1.json");
    w.stop = () => ((w.stopped = true), socket.close());
    socket.onopen = () => w.connects++;
    socket.onmessage = (e) => w.apply(JSON.parse(e.data));
    const code = await new Promise<number>((done) => (socket.onclose = (e) => done(e.code)));
    w.count("close " + code);
    await sleep(100);
  }
}

/** Two watches in one Session on a WebSocket, reopened with the last tokens. */
async function session(name: string, url: string, requests: Record<string, object>) {
  const all: Record<string, Watcher> = {};
  for (const id in requests) all[id] = add(name + "/" + id);
  const main = add(name);
  while (!main.stopped) {
    const socket = new WebSocket(url, "watchroute.v1.json");
    main.stop = () => ((main.stopped = true), socket.close());
    socket.onopen = () => {
      main.connects++;
      for (const id in requests) {
        const position = all[id].token ? { resumeToken: all[id].token } : {};
        socket.send(JSON.stringify({ open: { watchId: id, watch: { ...requests[id], ...position } } }));
      }
      socket.send(JSON.stringify({ fence: { fenceId: "opened" } }));
    };
    socket.onmessage = (e) => {
      type Response = { watchId?: string; alsoWatchIds?: string[]; watch?: Message; fence?: object; closed?: object; more?: Response[] };
      const packed = JSON.parse(e.data) as Response;
      for (const m of [packed, ...(packed.more ?? [])]) {
        if (m.watch) for (const id of [m.watchId!, ...(m.alsoWatchIds ?? [])]) all[id].apply(m.watch);
        if (m.fence) main.count("fence");
        if (m.closed) main.errors.push("closed: " + JSON.stringify(m));
      }
    };
    const code = await new Promise<number>((done) => (socket.onclose = (e) => done(e.code)));
    main.count("close " + code);
    await sleep(100);
  }
}

/** gRPC-Web with connect-web: the typed method, or ResourceService.Watch. */
async function grpcWeb(name: string, base: string, typed: boolean, filter: string) {
  const w = add(name);
  const transport = createGrpcWebTransport({ baseUrl: base });
  const orders = createClient(OrderService, transport);
  const resources = createClient(ResourceService, transport);
  const registry = createRegistry(OrderSchema);
  const abort = new AbortController();
  w.stop = () => ((w.stopped = true), abort.abort());
  while (!w.stopped) {
    const start = w.token ? ({ case: "resumeToken", value: w.token } as const) : { case: undefined };
    try {
      const options = { signal: abort.signal };
      if (typed) {
        for await (const m of orders.watchOrders({ filter, start, delivery: Delivery.EVERY_CHANGE }, options)) {
          if (m.body.case === "started") w.connects++;
          w.apply(toJson(WatchOrdersResponseSchema, m) as Message);
        }
      } else {
        for await (const m of resources.watch({ parent: "orders", filter, start, delivery: Delivery.EVERY_CHANGE }, options)) {
          if (m.body.case === "started") w.connects++;
          w.apply(toJson(WatchResponseSchema, m, { registry }) as Message);
        }
      }
      w.count("end");
    } catch (e) {
      if (!w.stopped) w.count("failure");
      if (!w.stopped && w.errors.length < 20) w.errors.push(String(e));
    }
    await sleep(100);
  }
}

Object.assign(window, { watchers, eventSource, webSocket, session, grpcWeb });
