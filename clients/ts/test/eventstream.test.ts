import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser, type ServerSentEvent } from "../src/eventstream.js";

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
