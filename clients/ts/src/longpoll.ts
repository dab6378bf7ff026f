import { unavailable } from "./error.js";
import { get } from "./httpget.js";
import { messageFromJson, watchUrl, type JsonResponse } from "./json.js";
import type { Message } from "./message.js";
import type { Call, Connection, Rung } from "./rung.js";

/** Long-polling: one request after the other, for what lets no stream through. */
export function longPoll(): Rung {
  return { name: "long-poll", occupies: false, open: (call) => new LongPollWatch(call) };
}

class LongPollWatch<T> implements Connection<T> {
  credential: string | undefined;
  #url: URL;
  #token = "";
  /** An answer must come well within the silence limit; the first one at once, as it says how the watch begins. */
  #wait = 10;
  #started = false;
  #responses: JsonResponse[] = [];
  #at = 0;
  #drained = false;

  constructor(private readonly call: Call) {
    this.#url = watchUrl(call.endpoint.baseUrl, call.request);
  }

  async next(): Promise<Message<T> | undefined> {
    for (;;) {
      while (this.#at >= this.#responses.length) {
        if (this.#drained) return undefined;
        await this.#poll();
      }
      const message = messageFromJson<T>(this.#responses[this.#at++]!, this.call.schema);
      if (message.token !== "") this.#token = message.token;
      if (message.body.kind === "reset") this.#token = "";
      if (message.body.kind === "drain") this.#drained = true;
      if (message.body.kind === "started") {
        this.#wait = Math.min(60_000, (message.body.silenceLimit || 30_000) / 2);
        // Each answer begins so; to the watch they are one stream.
        if (this.#started && message.body.mode === "RESUMED") continue;
        this.#started = true;
      }
      return message;
    }
  }

  async #poll(): Promise<void> {
    const { call } = this;
    this.credential = await call.credential();
    if (this.#token !== "") {
      for (const start of ["after_revision", "from"]) this.#url.searchParams.delete(start);
      this.#url.searchParams.set("resume_token", this.#token);
    }
    this.#url.searchParams.set("wait", `${Math.round(this.#wait)}ms`);
    const response = await get(call, this.#url, "application/json", this.credential);
    let text: string;
    try {
      text = await response.text();
    } catch (cause) {
      throw unavailable(`the connection broke: ${String(cause)}`, cause);
    }
    call.received(text.length);
    let body: { responses?: JsonResponse[]; resumeToken?: string };
    try {
      body = JSON.parse(text) as typeof body;
    } catch (cause) {
      throw unavailable("the answer was cut", cause);
    }
    this.#responses = body.responses ?? [];
    this.#at = 0;
  }
}
