import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../src/client.js";
import { EventStreamParser, type ServerSentEvent } from "../src/eventstream.js";
import { sse } from "../src/sse.js";
import { watch } from "../src/watch.js";
import { settle, short } from "./scripted.js";

const text = [
  "\uFEFFevent: started\nretry: 2000\ndata: {\"started\":{}}\n\n",
  ": a comment\n",
  "event: change\r\ndata: {\"é\":\r\ndata:  \"ü…😀\"}\r\nid: AX\r\n\r\n",
  "event: reset\rid\rdata: x\r\r",
  "data\n\n",
  "event: nothing\nid: lost\n\n",
  "data:y\n\n",
  "data: never ended\n",
].join("");

const expected: ServerSentEvent[] = [
  { event: "started", data: '{"started":{}}', id: undefined },
  { event: "change", data: '{"é":\n "ü…😀"}', id: "AX" },
  { event: "reset", data: "x", id: "" },
  { event: "message", data: "", id: undefined },
  { event: "message", data: "y", id: undefined },
];

test("a stream is parsed the same wherever it is cut", () => {
  const bytes = new TextEncoder().encode(text);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new EventStreamParser();
    assert.deepEqual([...parser.push(bytes.subarray(0, cut)), ...parser.push(bytes.subarray(cut))], expected, `cut at ${cut}`);
  }
});

test("a stream is parsed the same byte by byte", () => {
  const parser = new EventStreamParser();
  assert.deepEqual([...new TextEncoder().encode(text)].flatMap((b) => parser.push(Uint8Array.of(b))), expected);
});

/** The grammar read plainly, of a stream that is all there. */
function reference(bytes: Uint8Array): ServerSentEvent[] {
  const events: ServerSentEvent[] = [];
  let event = { event: "message", data: [] as string[], id: undefined as string | undefined };
  for (const line of new TextDecoder().decode(bytes).split(/\r\n|\r|\n/).slice(0, -1)) {
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/su.exec(line)!;
    if (field === "event") event.event = value || "message";
    if (field === "data") event.data.push(value);
    if (field === "id" && !value.includes("\0")) event.id = value;
    if (line !== "") continue;
    if (event.data.length > 0) events.push({ ...event, data: event.data.join("\n") });
    event = { event: "message", data: [], id: undefined };
  }
  return events;
}

test("any stream is parsed as the grammar says, wherever it is cut", () => {
  const seed = Number(process.env["SEED"] ?? 1 + Math.floor(Math.random() * 1e9));
  console.log(`seed ${seed} (SEED=${seed} repeats it)`);
  let state = seed;
  const below = (n: number) => (state = (state * 48271) % 0x7fffffff) % n;
  const pieces = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "data", "data:x", "data:  é😀", "event:", "event: e", "id:1", "id", "id:\0", ":c", ": data:x", "retry: 1", " ", "\uFEFF", "\0"];
  for (let round = 0; round < 1000; round++) {
    const stream = Array.from({ length: 16 }, () => pieces[below(pieces.length)]!).join("");
    const bytes = new TextEncoder().encode((round % 2 ? "\uFEFF" : "") + stream);
    const expected = reference(bytes);
    const parse = (...cuts: number[]) => {
      const parser = new EventStreamParser();
      return [0, ...cuts].flatMap((from, i) => parser.push(bytes.subarray(from, cuts[i] ?? bytes.length)));
    };
    const told = JSON.stringify(stream);
    for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(parse(cut), expected, `${told} cut at ${cut}, seed ${seed}`);
    assert.deepEqual(parse(...bytes.keys()), expected, `${told} byte by byte, seed ${seed}`);
    const two = [below(bytes.length + 1), below(bytes.length + 1)].sort((a, b) => a - b);
    assert.deepEqual(parse(...two), expected, `${told} cut at ${two.join(" and ")}, seed ${seed}`);
  }
});

test("what has come of a message is told at once, and the token moves behind the last of its changes", async () => {
  const change = (revision: number, id = "") =>
    `event: change\n${id && `id: ${id}\n`}data: {"state":"PRESENT","resource":{"name":"n/${revision}","revision":"${revision}","data":{}}}\n\n`;
  const started = 'event: started\nid: t1\ndata: {"resumeToken":"t1","started":{"mode":"RESUMED"}}\n\n';
  let send!: (text: string) => void;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => void (send = (text) => controller.enqueue(new TextEncoder().encode(text))),
  });
  const client = createClient({
    baseUrl: "http://node", rungs: [sse()],
    fetch: async () => new Response(body, { headers: { "Content-Type": "text/event-stream" } }),
  });
  const w = watch(client, undefined, { parent: "n", resumeToken: "t0" });
  const log: string[] = [];
  const ended = (async () => {
    for await (const e of w) log.push(`${short(e)} ${w.token}`);
  })();
  send(started + change(2) + change(3, "t3") + change(4) + change(5).slice(0, 40));
  await settle();
  assert.deepEqual(log, ["PRESENT n/2 2 t1", "PRESENT n/3 3 t1", "PRESENT n/4 4 t3"]);
  send(change(5).slice(40) + change(6, "t6"));
  await settle();
  assert.deepEqual(log.slice(3), ["PRESENT n/5 5 t3", "PRESENT n/6 6 t3"]);
  assert.equal(w.token, "t6");
  assert.equal(w.counters.messages, 4);
  await w.cancel();
  await ended;
});

test("an event that never ends is not kept", () => {
  const piece = new TextEncoder().encode("x".repeat(1 << 20));
  for (const [begin, between] of [["data: ", ""], ["", "\ndata: "]] as const) {
    const parser = new EventStreamParser();
    parser.push(new TextEncoder().encode(begin));
    assert.throws(() => {
      for (let i = 0; i < 66; i++) {
        parser.push(new TextEncoder().encode(between));
        parser.push(piece);
      }
    }, { code: "RESOURCE_EXHAUSTED" });
  }
});
