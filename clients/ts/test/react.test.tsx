import assert from "node:assert/strict";
import { test } from "node:test";
import { StrictMode } from "react";
import { act, create, type ReactTestRenderer } from "react-test-renderer";
import { createClient } from "../src/client.js";
import { WatchrouteError } from "../src/error.js";
import { ClientContext, useResource, useWatch } from "../src/react.js";
import { absent, events, FakeClock, present, ScriptedRung, settle, snapshotEnd, started, type Line } from "./scripted.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let renderings = 0;

function List({ filter, throttle }: { filter?: string; throttle?: number }) {
  const { resources, synced, state, error } = useWatch("n", { ...(filter && { filter }), ...(throttle && { throttle }) });
  renderings++;
  return <>{`${synced ? "synced" : "waiting"} ${state} ${error?.reason ?? ""}[${resources.map((r) => `${r.name}=${r.data["x"]}`)}]`}</>;
}

function One() {
  const { resource, synced } = useResource("n/a");
  return <>{`${synced ? "synced" : "waiting"} ${resource?.data["x"] ?? "none"}`}</>;
}

async function show(script: (n: number) => Line[], element: React.ReactElement) {
  const rung = new ScriptedRung(script);
  const clock = new FakeClock();
  const client = createClient({ baseUrl: "", rungs: [rung], clock });
  const within = (e: React.ReactElement) => <StrictMode><ClientContext.Provider value={client}>{e}</ClientContext.Provider></StrictMode>;
  let tree!: ReactTestRenderer;
  await act(async () => {
    tree = create(within(element));
    await settle();
  });
  return { rung, clock, advance: (ms: number) => act(async () => clock.advance(ms)), text: () => tree.toJSON(), update: (e: React.ReactElement) => act(async () => (tree.update(within(e)), await settle())), unmount: () => act(async () => (tree.unmount(), await settle())) };
}

const state = (): Line[] => [started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1), events(2, "t2", present("n/b", 2, { x: 2 }))];

test("useWatch shows the resources, and ends its watch with the component", async () => {
  const { rung, text, unmount } = await show(state, <List />);
  assert.equal(text(), "synced LIVE [n/a=1,n/b=2]");
  assert.equal(rung.open_, 1, "one stream, in StrictMode too");
  await unmount();
  assert.equal(rung.open_, 0);
});

test("options are compared by what they say", async () => {
  const { rung, text, update, unmount } = await show(state, <List filter="true" />);
  const before = rung.calls.length;
  await update(<List filter="true" />);
  assert.equal(rung.calls.length, before);
  await update(<List filter="data.x > 0" />);
  assert.equal(rung.calls.length, before + 1);
  assert.equal(rung.calls.at(-1)!.request.filter, "data.x > 0");
  assert.equal(rung.open_, 1);
  assert.equal(text(), "synced LIVE [n/a=1,n/b=2]");
  await unmount();
});

test("useResource shows one, and its absence", async () => {
  const there = await show(() => [started("SNAPSHOT"), events(1, "", present("n/a", 1, { x: 1 })), snapshotEnd(1)], <One />);
  assert.equal(there.text(), "synced 1");
  assert.deepEqual(there.rung.calls[0]!.request.names, ["n/a"]);
  await there.unmount();
  const gone = await show(() => [...state().slice(0, 3), events(2, "t2", absent("n/a", 2))], <One />);
  assert.equal(gone.text(), "synced none");
  await gone.unmount();
});

test("an error that ends the watch is shown", async () => {
  const { text, unmount } = await show(() => [new WatchrouteError("NOT_FOUND", "no", { reason: "COLLECTION_NOT_FOUND" })], <List />);
  assert.equal(text(), "waiting CLOSED COLLECTION_NOT_FOUND[]");
  await unmount();
});

test("a throttled component is rendered at most so often, and shows the last state", async () => {
  const { text, advance, clock, unmount } = await show(() => [started("SNAPSHOT"), snapshotEnd(0), ...Array.from({ length: 50 }, (_, i) => events(i + 1, `t${i + 1}`, present("n/a", i + 1, { x: i + 1 })))], <List throttle={100} />);
  const before = renderings;
  await advance(99);
  assert.equal(renderings, before);
  await advance(1);
  assert.equal(text(), "synced LIVE [n/a=50]");
  assert.ok(renderings - before <= 2, "once, twice in StrictMode");
  await unmount();
  assert.equal(clock.timers, 0);
});
