import { unavailable, unknownMessage } from "./error.js";
import { EventStreamParser, type ServerSentEvent } from "./eventstream.js";
import { get } from "./httpget.js";
import { changeFromJson, messageFromJson, watchUrl, type JsonEvent, type JsonResponse } from "./json.js";
import type { Change, Message } from "./message.js";
import type { Call, Connection, Rung } from "./rung.js";

/** Server-Sent Events, read by `fetch`: so it can say who it is, and reads no further than the program asks. */
export function sse(): Rung {
  return { name: "sse", occupies: true, open: (call) => new SseWatch(call) };
}

const responses = new Set(["started", "snapshot_end", "bookmark", "reset", "drain", "closed"]);

class SseWatch<T> implements Connection<T> {
  credential: string | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #parser = new EventStreamParser();
  #events: ServerSentEvent[] = [];
  #at = 0;

  constructor(private readonly call: Call) {}

  async next(): Promise<Message<T> | undefined> {
    this.#reader ??= await this.#open();
    while (this.#at >= this.#events.length) {
      const bytes = await this.#read(this.#reader);
      if (bytes === undefined) return undefined;
      this.call.received(bytes.length);
      this.#events = this.#parser.push(bytes);
      this.#at = 0;
    }
    const e = this.#events[this.#at]!;
    if (e.event === "change") return this.#changes();
    this.#at++;
    if (!responses.has(e.event)) throw unknownMessage(`the event ${e.event}`);
    return messageFromJson(parse(e.data), this.call.schema);
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
    try {
      return (await reader.read()).value;
    } catch (cause) {
      throw unavailable(`the connection broke: ${String(cause)}`, cause);
    }
  }

  async #open(): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const { call } = this;
    this.credential = await call.credential();
    const response = await get(call, watchUrl(call.endpoint.baseUrl, call.request), "text/event-stream", this.credential);
    if (!response.body) throw unavailable("the answer has no body");
    return response.body.getReader();
  }

  // A message of changes comes as an event for each, the last of them with its token. What is here of it is one message again.
  #changes(): Message<T> {
    const changes: Change<T>[] = [];
    let token = "";
    for (let e = this.#events[this.#at]; token === "" && e?.event === "change"; e = this.#events[++this.#at]) {
      changes.push(changeFromJson(parse(e.data), this.call.schema));
      token = e.id ?? "";
    }
    return { revision: changes.at(-1)!.resource.revision, token, body: { kind: "events", changes } };
  }
}

function parse<T extends JsonEvent | JsonResponse>(data: string): T {
  try {
    return JSON.parse(data) as T;
  } catch (cause) {
    throw unavailable("an event is not JSON", cause); // whose message would quote the value
  }
}
