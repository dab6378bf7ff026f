import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createClient, type ClientOptions } from "../src/client.js";
import { SharedSocket } from "../src/sharedsocket.js";
import { Sharing } from "../src/sharing.js";
import { watch } from "../src/watch.js";
import { webSocket } from "../src/websocket.js";
import { FakeClock, listen } from "./scripted.js";
import { begin, change, Socket } from "./socket.js";

type Locks = Pick<LockManager, "request">;

/** Web Locks, as far as they are used: one holder of a name at a time. */
function webLocks(): Locks {
  const last = new Map<string, Promise<unknown>>();
  const request = async (name: string, callback: () => unknown) => {
    const held = (last.get(name) ?? Promise.resolve()).then(callback);
    last.set(name, held);
    return held;
  };
  return { request: request as never };
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000; i++) {
    if (what()) return;
    await turn();
  }
  assert.fail(`not so: ${String(what)}`);
}

/** Opens pages that share what one worker has. */
function site(t: TestContext) {
  Socket.all = [];
  const locks = webLocks();
  const sharing = new Sharing(Socket, locks);
  const ports: { close(): void }[] = [];
  t.after(() => ports.forEach((port) => port.close()));
  return (token: ClientOptions["token"] = undefined, user: string | undefined = "u") => {
    let vanish!: () => void;
    const vanished = new Promise<void>((resolve) => (vanish = resolve));
    const ownLocks: Locks = { request: ((name: string, callback: () => unknown) => locks.request(name, (() => Promise.race([callback(), vanished])) as never)) as never };
    class Shared extends SharedSocket {
      constructor(url: string, protocols: string[]) {
        const { port1, port2 } = new MessageChannel();
        ports.push(port1, port2);
        sharing.connect(port2);
        super(port1, ownLocks, url, protocols, user || undefined);
      }
    }
    const clock = new FakeClock();
    const client = createClient({ baseUrl: "http://node", rungs: [webSocket({ WebSocket: Shared })], clock, token });
    const open = () => listen(watch(client, undefined, { parent: "n" }));
    return { clock, vanish, open };
  };
}

const asked = (socket: Socket) => socket.requests.map((r) => (r.case === "authenticate" ? `authenticate ${r.value.credential}` : r.case === "fence" ? "" : `${r.case} ${r.value?.watchId}`));

const jwt = (claims: object) => `h.${btoa(JSON.stringify(claims)).replace(/=+$/, "")}.s`;

test("pages share one socket, and each hears what is its own", async (t) => {
  const page = site(t);
  const [one, two] = [page("secret"), page("secret")];
  const [a, b, c] = [one.open(), one.open(), two.open()];
  await until(() => Socket.all.length > 0);
  const socket = Socket.all[0]!;
  assert.deepEqual([socket.url, socket.protocols], ["ws://node/v1/session", ["watchroute.v1.proto"]]);
  socket.fire("open");
  await until(() => socket.requests.length === 5);
  assert.deepEqual(asked(socket).sort(), ["authenticate secret", "authenticate secret", "open 1.1", "open 1.2", "open 2.1"]);
  socket.watch("1.1", begin, ["2.1", "1.2"]);
  socket.say({ watchId: "1.2", body: { case: "watch", value: change(2) }, more: [{ watchId: "2.1", alsoWatchIds: ["1.1"], body: { case: "watch", value: change(3) } }] });
  await until(() => [a, b, c].every((x) => x.log.length === 1));
  assert.deepEqual([a, b, c].map((x) => x.log), [["ABSENT n/0 3"], ["ABSENT n/0 2"], ["ABSENT n/0 3"]]);
  assert.equal(Socket.all.length, 1);
  await a.w.cancel();
  await until(() => socket.requests.length === 6);
  assert.equal(asked(socket).at(-1), "cancel 1.1");
  await b.w.cancel();
  await until(() => socket.requests.length === 7);
  assert.ok(!socket.closed, "another page has a watch");
  await c.w.cancel();
  await until(() => socket.closed);
});

test("what a page leaves behind that is gone is cancelled", async (t) => {
  const page = site(t);
  const [one, two] = [page(), page()];
  one.open(), one.open();
  const other = two.open();
  await until(() => Socket.all.length > 0);
  const socket = Socket.all[0]!;
  socket.fire("open");
  await until(() => socket.requests.length === 3);
  socket.say({ watchId: "1.1", body: { case: "closed", value: { code: 14, message: "no" } } });
  one.vanish();
  await until(() => socket.requests.length === 4);
  assert.equal(asked(socket).at(-1), "cancel 1.2", "1.1 has ended already");
  assert.ok(!socket.closed);
  socket.say({ watchId: "1.2", body: { case: "watch", value: begin } }); // crossed the cancel
  socket.watch("2.1", begin);
  await until(() => other.w.state === "SNAPSHOT");
  two.vanish();
  await until(() => socket.closed);
});

test("nobody joins another user's socket, and the same user does with another token", async (t) => {
  const page = site(t);
  const ada = page(jwt({ sub: "ada", iat: 1, exp: 2, jti: "x" }));
  const later = page(jwt({ sub: "ada", iat: 3, exp: 4, jti: "y" }));
  const bob = page(jwt({ sub: "bob", iat: 1, exp: 2, jti: "x" }));
  const [cookie, another] = [page(undefined, ""), page(undefined, "")];
  const key = page("key-1");
  for (const p of [ada, later, bob, cookie, another, key]) p.open();
  await until(() => Socket.all.length === 5);
  for (const socket of Socket.all) socket.fire("open");
  await until(() => Socket.all.reduce((n, socket) => n + socket.requests.length, 0) === 10);
  assert.deepEqual(Socket.all.map((socket) => socket.requests.filter((r) => r.case === "open").length).sort(), [1, 1, 1, 1, 2]);
});

test("a server that goes away has nobody join what it is about to close", async (t) => {
  const page = site(t);
  const [one, two] = [page(), page()];
  const a = one.open();
  await until(() => Socket.all.length > 0);
  Socket.all[0]!.fire("open");
  Socket.all[0]!.watch("1.1", begin);
  Socket.all[0]!.watch("1.1", { body: { case: "drain", value: { reconnectAfter: { seconds: 9n } } } });
  await until(() => a.w.state === "DRAINING");
  two.open();
  await until(() => Socket.all.length === 2);
});

test("a socket that breaks fails the watches of all pages, and they come back on one", async (t) => {
  const page = site(t);
  const pages = [page(), page()];
  const watches = pages.map((p) => p.open());
  await until(() => Socket.all.length > 0);
  Socket.all[0]!.fire("open");
  Socket.all[0]!.watch("1.1", begin, ["2.1"]);
  await until(() => watches.every((x) => x.w.state === "SNAPSHOT"));
  Socket.all[0]!.fire("close", { code: 1006, reason: "" });
  await until(() => watches.every((x) => x.w.state === "BACKING_OFF"));
  for (const p of pages) await p.clock.advance(1000);
  await until(() => Socket.all.length === 2);
  Socket.all[1]!.fire("open");
  await until(() => Socket.all[1]!.requests.length === 2);
  assert.deepEqual(asked(Socket.all[1]!).sort(), ["open 3.1", "open 4.1"]);
});

test("a credential that is renewed by one page is renewed for all", async (t) => {
  const page = site(t);
  let n = 0;
  const pages = [page(() => "c0"), page(({ refused }) => (refused ? "no" : n++ === 0 ? "c0" : "c1"))];
  const watches = pages.map((p) => p.open());
  await until(() => Socket.all.length > 0);
  const socket = Socket.all[0]!;
  socket.fire("open");
  socket.watch("1.1", begin, ["2.1"]);
  await until(() => watches.every((x) => x.w.state === "SNAPSHOT"));
  const expire = (seconds: number) => socket.say({ body: { case: "authenticated", value: { expireTime: { seconds: BigInt(pages[0]!.clock.date().getTime() / 1000 + seconds) } } } });
  expire(20);
  await until(() => pages.every((p) => p.clock.timers === 2));
  await pages[1]!.clock.advance(15_000);
  await until(() => socket.requests.length === 5);
  assert.equal(asked(socket).at(-1), "authenticate c1");
});

test("what is wrong with the session ends the watches of all pages", async (t) => {
  const page = site(t);
  const watches = [page(), page()].map((p) => p.open());
  await until(() => Socket.all.length > 0);
  Socket.all[0]!.fire("open");
  await until(() => Socket.all[0]!.requests.length === 2);
  Socket.all[0]!.say({ watchId: "", body: { case: "closed", value: { code: 7, message: "not you" } } });
  Socket.all[0]!.fire("close", { code: 4007, reason: "not you" });
  for (const x of watches) await assert.rejects(x.ended, { code: "PERMISSION_DENIED", message: "not you" });
});

test("a message that cannot be read breaks the connection", async (t) => {
  const page = site(t);
  const { w } = page().open();
  await until(() => Socket.all.length > 0);
  Socket.all[0]!.fire("open");
  await until(() => Socket.all[0]!.requests.length === 1);
  Socket.all[0]!.fire("message", { data: new Uint8Array([255, 255]).buffer });
  await until(() => w.state === "BACKING_OFF");
  assert.ok(Socket.all[0]!.closed);
});
