import assert from "node:assert/strict";
import { test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { createClient, type ClientOptions } from "../src/client.js";
import { watch } from "../src/watch.js";
import { webSocket } from "../src/websocket.js";
import { FakeClock, listen, settle } from "./scripted.js";
import { begin, change, Socket } from "./socket.js";

const detail = (type: string, value: Uint8Array) => ({ typeUrl: `type.googleapis.com/google.rpc.${type}`, value });
const retry = detail("RetryInfo", new Uint8Array([10, 0]));
const info = detail("ErrorInfo", new BinaryWriter().tag(1, 2).string("LIMIT_REACHED").tag(3, 2).fork().tag(1, 2).string("limit").tag(2, 2).string("session_watches").join().finish());

function run(count: number, options: Partial<ClientOptions> = {}) {
  Socket.all = [];
  const clock = new FakeClock();
  const client = createClient({ baseUrl: "http://node", rungs: [webSocket({ WebSocket: Socket })], clock, ...options });
  const watches = Array.from({ length: count }, () => listen(watch(client, undefined, { parent: "n" })));
  return { clock, client, watches };
}

test("watches share one socket, and packed responses are for each of them", async () => {
  const { watches } = run(3, { token: "secret" });
  await settle();
  assert.equal(Socket.all.length, 1);
  const socket = Socket.all[0]!;
  assert.deepEqual([socket.url, socket.protocols], ["ws://node/v1/session", ["watchroute.v1.proto"]]);
  socket.fire("open");
  assert.deepEqual(socket.requests.map((r) => r.case), ["authenticate", "open", "open", "open"]);
  socket.watch("1", begin, ["2", "3"]);
  socket.say({ watchId: "2", body: { case: "watch", value: change(2) }, more: [{ watchId: "1", alsoWatchIds: ["3"], body: { case: "watch", value: change(3) } }] });
  await settle();
  assert.deepEqual(watches.map((w) => w.log), [["ABSENT n/0 3"], ["ABSENT n/0 2"], ["ABSENT n/0 3"]]);
  await watches[0]!.w.cancel();
  assert.deepEqual(socket.requests.at(-1), { case: "cancel", value: { $typeName: "watchroute.v1.CancelWatch", watchId: "1" } });
  await Promise.all(watches.map((w) => w.w.cancel()));
  assert.ok(socket.closed, "closed with its last watch");
});

test("an operator's tenant is in the URL, as a WebSocket has no headers", async () => {
  const { watches } = run(1, { headers: { "Watchroute-Tenant": "a&b" } });
  await settle();
  assert.equal(Socket.all[0]!.url, "ws://node/v1/session?watchroute-tenant=a%26b");
  await watches[0]!.w.cancel();
});

test("nobody joins a session whose credential is refused, or which has as many watches as it may", async () => {
  for (const status of [{ code: 16, details: [retry] }, { code: 8, details: [info] }]) {
    const { clock, watches } = run(2);
    await settle();
    const socket = Socket.all[0]!;
    socket.fire("open");
    socket.watch("2", begin);
    socket.say({ watchId: "1", body: { case: "closed", value: status } });
    await clock.advance(1000);
    assert.equal(Socket.all.length, 2);
    assert.ok(!socket.closed, "the other watch goes on");
    await Promise.all(watches.map((w) => w.w.cancel()));
  }
});

test("credit is granted anew once half of it is used up, and not to a program that rests", async () => {
  Socket.all = [];
  const client = createClient({ baseUrl: "http://node", rungs: [webSocket({ WebSocket: Socket })], clock: new FakeClock() });
  const w = watch(client, undefined, { parent: "n" });
  const first = w.next();
  await settle();
  const socket = Socket.all[0]!;
  socket.fire("open");
  assert.equal(socket.requests[0]!.case === "open" && socket.requests[0]!.value.credit, 256);
  socket.watch("1", begin);
  socket.watch("1", change(2, 127));
  socket.watch("1", change(3, 129));
  await first;
  for (let i = 1; i < 128; i++) await w.next();
  await settle();
  assert.equal(socket.requests.length, 1, "127 are used up");
  for (let i = 0; i < 128; i++) await w.next();
  const more = w.next();
  await settle();
  assert.deepEqual(socket.requests.slice(1), [{ case: "credit", value: { $typeName: "watchroute.v1.Credit", watchId: "1", events: 256 } }]);
  await w.cancel();
  assert.equal((await more).done, true);
});

test("a socket that breaks fails each watch, and they come back on one", async () => {
  const { clock, watches } = run(2);
  await settle();
  Socket.all[0]!.fire("open");
  Socket.all[0]!.watch("1", begin, ["2"]);
  await settle();
  Socket.all[0]!.fire("close", { code: 1006, reason: "" });
  await clock.advance(1000);
  assert.equal(Socket.all.length, 2);
  Socket.all[1]!.fire("open");
  assert.deepEqual(Socket.all[1]!.requests.map((r) => r.case), ["open", "open"]);
  await Promise.all(watches.map((w) => w.w.cancel()));
});

test("a watch that is silent does not come back on the same socket", async () => {
  const { clock, watches } = run(1);
  await settle();
  Socket.all[0]!.fire("open");
  Socket.all[0]!.watch("1", begin);
  await clock.advance(31_000);
  assert.equal(Socket.all.length, 2);
  await watches[0]!.w.cancel();
});

test("what is wrong with one watch ends that watch; what is wrong with the session ends all", async () => {
  const { watches } = run(2);
  await settle();
  const socket = Socket.all[0]!;
  socket.fire("open");
  socket.say({ watchId: "1", body: { case: "closed", value: { code: 5, message: "no" } } });
  await assert.rejects(watches[0]!.ended, { code: "NOT_FOUND" });
  assert.equal(watches[1]!.w.state, "CONNECTING");
  socket.say({ watchId: "", body: { case: "closed", value: { code: 7, message: "not you" } } });
  socket.fire("close", { code: 4007, reason: "not you" });
  await assert.rejects(watches[1]!.ended, { code: "PERMISSION_DENIED", message: "not you" });
});

test("a socket without the subprotocol is not Watchroute", async () => {
  const { watches } = run(1);
  await settle();
  Socket.all[0]!.protocol = "";
  Socket.all[0]!.fire("open");
  await assert.rejects(watches[0]!.ended, { reason: "NOT_WATCHROUTE" });
});

test("a credential is renewed in place, at nine tenths of its time and at least 5 s before its end, a short one at half", async () => {
  let n = 0;
  const { clock, watches } = run(1, { token: () => `c${++n}` });
  await settle();
  const socket = Socket.all[0]!;
  socket.fire("open");
  socket.watch("1", begin);
  const expire = (seconds: number) => socket.say({ body: { case: "authenticated", value: { expireTime: timestampFromMs(clock.date().getTime() + seconds * 1000) } } });
  const asked = () => socket.requests.flatMap((r) => (r.case === "authenticate" ? [r.value.credential] : []));
  expire(20);
  await clock.advance(14_999);
  assert.deepEqual(asked(), ["c1"]);
  await clock.advance(1);
  assert.deepEqual(asked(), ["c1", "c2"]);
  expire(6);
  await clock.advance(3_000);
  assert.deepEqual(asked(), ["c1", "c2", "c3"]);
  expire(1.5);
  await clock.advance(999);
  assert.deepEqual(asked(), ["c1", "c2", "c3"], "no more than once a second");
  await clock.advance(1);
  assert.deepEqual(asked(), ["c1", "c2", "c3", "c4"]);
  for (const wrong of [1, 0, -86_400]) {
    expire(wrong);
    await clock.advance(10_000);
    assert.deepEqual(asked(), ["c1", "c2", "c3", "c4"], "a clock that is ahead does not renew over and over");
  }
  await watches[0]!.w.cancel();
  assert.equal(clock.timers, 0);
});
