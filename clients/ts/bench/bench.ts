// What the client costs beside the bare generated stub: CPU for each event, memory for each watch,
// and the time until a watch is live. Starts a node of its own: npm run bench.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createClient as createStub } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import WebSocket from "ws";
import { OrderSchema, OrderService, OrderStatus } from "../../../gen/ts/shop/v1/orders_pb.js";
import { Delivery } from "../../../gen/ts/watchroute/v1/watch_pb.js";
import { createClient, watch, type Rung } from "../src/index.js";
import { longPoll } from "../src/longpoll.js";
import { sse } from "../src/sse.js";
import { webSocket, type WebSocketConstructor } from "../src/websocket.js";
import { grpcWeb } from "../src/grpcweb.js";

declare const gc: () => void;

const changes = 20_000;
/** Behind the first revision, that of the first 1000. */
const expected = changes - 1000;
const socket = () => webSocket({ WebSocket: WebSocket as unknown as WebSocketConstructor });

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const data = mkdtempSync(join(tmpdir(), "watchroute-bench-"));
const [http, grpc] = [await freePort(), await freePort()];
const node = spawn(process.argv[2]!, ["serve", "--http", `127.0.0.1:${http}`, "--grpc", `127.0.0.1:${grpc}`, "--data", data, "--contracts", "shop", "--retention-min-age", "1h", "--log-level", "error"], { stdio: "inherit" });
const baseUrl = `http://127.0.0.1:${http}`;

try {
  for (;;) {
    const answer = await fetch(`${baseUrl}/v1/orders`).catch(() => undefined);
    if (answer?.ok) break;
    if (node.exitCode !== null) throw new Error("the node has ended");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await fill();
  await cpu();
  await memory();
  await timeToLive();
} finally {
  node.kill();
  await new Promise((resolve) => node.once("exit", resolve));
  rmSync(data, { recursive: true, force: true });
}

async function fill(): Promise<void> {
  const client = createClient({ baseUrl });
  for (let batch = 0; batch < changes / 1000; batch++) {
    const operations = Array.from({ length: 1000 }, (_, i) => ({
      put: `orders/${i}`,
      data: create(OrderSchema, {
        orderId: String(i), customerId: String(i % 50), status: (batch % 5) + 1,
        items: [{ sku: "a-1", quantity: batch + 1, price: { currencyCode: "EUR", units: 5n } }], total: { currencyCode: "EUR", units: 5n * BigInt(batch + 1) },
      }),
    }));
    await client.write(OrderSchema, "orders", operations);
  }
}

/** Microseconds of this process's CPU for each event of the backlog. */
async function cost(read: () => Promise<number>): Promise<number> {
  const rounds: number[] = [];
  for (let i = 0; i < 7; i++) {
    gc();
    const before = process.cpuUsage();
    const n = await read();
    const used = process.cpuUsage(before);
    if (n !== expected) throw new Error(`${n} events came`);
    rounds.push((used.user + used.system) / n);
  }
  return median(rounds.slice(2));
}

async function cpu(): Promise<void> {
  const stub = createStub(OrderService, createGrpcWebTransport({ baseUrl }));
  const bare = await cost(async () => {
    let n = 0;
    const abort = new AbortController();
    try {
      for await (const m of stub.watchOrders({ start: { case: "afterRevision", value: 1n }, delivery: Delivery.EVERY_CHANGE }, { signal: abort.signal })) {
        if (m.body.case === "events") for (const e of m.body.value.events) if (e.resource?.data?.status !== OrderStatus.ORDER_STATUS_UNSPECIFIED) n++;
        if (n >= expected) abort.abort();
      }
    } catch (cause) {
      if (!abort.signal.aborted) throw cause;
    }
    return n;
  });
  console.log(`CPU per event, ${changes} orders of a backlog`);
  console.log(`  ${bare.toFixed(1).padStart(6)} µs         generated stub with connect-web`);
  for (const rung of [grpcWeb, socket, sse, longPoll]) {
    const client = createClient({ baseUrl, rungs: [rung()] });
    const ours = await cost(async () => {
      let n = 0;
      for await (const e of watch(client, OrderSchema, { parent: "orders", afterRevision: 1n, delivery: "EVERY_CHANGE" })) {
        if (e.kind === "PRESENT" && e.data.status !== OrderStatus.ORDER_STATUS_UNSPECIFIED) n++;
        if (n >= expected) break;
      }
      return n;
    });
    console.log(`  ${ours.toFixed(1).padStart(6)} µs  ${(ours / bare).toFixed(2)} ×  ${client.rungs[0]!.name}`);
  }
}

async function memory(): Promise<void> {
  const count = 300;
  console.log(`memory per watch of one resource, ${count} live ones`);
  const heap = () => (gc(), gc(), process.memoryUsage());
  for (const rung of [grpcWeb, socket, sse]) {
    const one: Rung = rung();
    const client = createClient({ baseUrl, rungs: [one] });
    const before = heap();
    const watches = await Promise.all(Array.from({ length: count }, async (_, i) => {
      const w = watch(client, OrderSchema, { names: [`orders/${i}`] });
      while ((await w.next()).value?.kind !== "SYNCED");
      const waiting = w.next();
      waiting.catch(() => {});
      return w;
    }));
    const after = heap();
    console.log(`  ${((after.heapUsed - before.heapUsed) / 1024 / count).toFixed(1).padStart(6)} KB heap  ${one.name}`);
    await Promise.all(watches.map((w) => w.cancel()));
  }
  const stub = createStub(OrderService, createGrpcWebTransport({ baseUrl }));
  const before = heap();
  const aborts: AbortController[] = [];
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const abort = new AbortController();
    aborts.push(abort);
    const stream = stub.watchOrder({ orderId: String(i) }, { signal: abort.signal })[Symbol.asyncIterator]();
    while ((await stream.next()).value?.body.case !== "snapshotEnd");
    stream.next().catch(() => {});
  }));
  const after = heap();
  console.log(`  ${((after.heapUsed - before.heapUsed) / 1024 / count).toFixed(1).padStart(6)} KB heap  generated stub with connect-web`);
  for (const abort of aborts) abort.abort();
}

async function timeToLive(): Promise<void> {
  console.log("time until a watch of one resource is live, median of 100");
  for (const rung of [grpcWeb, socket, sse, longPoll]) {
    const cold: number[] = [];
    const resumed: number[] = [];
    for (let i = 0; i < 100; i++) {
      let live = 0;
      const client = createClient({ baseUrl, rungs: [rung()], onState: (_, state) => void (state === "LIVE" && (live = performance.now())) });
      const begin = performance.now();
      const w = watch(client, OrderSchema, { names: ["orders/1"] });
      while ((await w.next()).value?.kind !== "SYNCED");
      cold.push(live - begin);
      const next = w.next(); // finishes with SYNCED
      const token = w.token ?? "";
      await w.cancel();
      await next;
      const again = performance.now();
      live = 0;
      const r = watch(client, OrderSchema, { names: ["orders/1"], resumeToken: token });
      const waiting = r.next();
      while (live === 0) await new Promise((resolve) => setImmediate(resolve));
      resumed.push(live - again);
      await r.cancel();
      await waiting;
    }
    console.log(`  ${median(cold).toFixed(2).padStart(6)} ms cold  ${median(resumed).toFixed(2).padStart(6)} ms from a token  ${rung().name}`);
  }
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
