import { unavailable } from "./error.js";
import { get } from "./httpget.js";
import { messageFromJson, watchUrl, type JsonResponse } from "./json.js";
import type { Message } from "./message.js";
import type { Call, Connection, Rung } from "./rung.js";

export interface LongPollOptions {
  /** How many requests of all watches wait at a time: over HTTP/1.1 browsers allow six connections. Others take turns. Default: 4. */
  concurrent?: number;
}

/** Long-polling: one request after the other, for what lets no stream through. */
export function longPoll({ concurrent = 4 }: LongPollOptions = {}): Rung {
  const turns = new Turns(concurrent);
  return { name: "long-poll", occupies: false, open: (call) => new LongPollWatch(call, turns) };
}

/** How long a request waits while others want its turn, in milliseconds. */
const shortWait = 1_000;

/** Requests that take turns. */
class Turns {
  /** How many want turns, now or later. */
  wanted = 0;
  readonly #taken = new Set<Turn>();
  readonly #waiting: ((turn: Turn) => void)[] = [];

  constructor(private readonly most: number) {}

  get crowded(): boolean {
    return this.wanted > this.most;
  }

  /** The next turn; who begins comes before who goes on. */
  take(begins: boolean): Promise<Turn> {
    if (this.#taken.size < this.most) return Promise.resolve(this.#give());
    for (const turn of this.#taken) {
      if (!turn.long) continue;
      turn.long = false;
      turn.giveUp(); // it would wait for long
      break;
    }
    return new Promise((resolve) => (begins ? this.#waiting.unshift(resolve) : this.#waiting.push(resolve)));
  }

  leave(turn: Turn): void {
    if (this.#taken.delete(turn)) this.#waiting.shift()?.(this.#give());
  }

  #give(): Turn {
    const turn = new Turn();
    this.#taken.add(turn);
    return turn;
  }
}

class Turn {
  /** It waits for longer than who take turns may. */
  long = false;
  readonly #end = new AbortController();

  get over(): AbortSignal {
    return this.#end.signal;
  }

  giveUp(): void {
    this.#end.abort();
  }
}

class LongPollWatch<T> implements Connection<T> {
  credential: string | undefined;
  #url: URL;
  #token = "";
  /** An answer must come well within the silence limit; the first one at once, as it says how the watch begins. */
  #wait = 1;
  #started = false;
  #responses: JsonResponse[] = [];
  #at = 0;
  #drained = false;

  constructor(private readonly call: Call, private readonly turns: Turns) {
    this.#url = watchUrl(call.endpoint.baseUrl, call.request);
    turns.wanted++;
    call.signal.addEventListener("abort", () => turns.wanted--);
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
    const turn = await this.turns.take(!this.#started);
    const giveUp = () => turn.giveUp();
    this.call.signal.addEventListener("abort", giveUp);
    try {
      if (this.call.signal.aborted) throw unavailable("the watch was ended");
      await this.#ask(turn);
    } catch (cause) {
      if (!turn.over.aborted || this.call.signal.aborted) throw cause;
      // Another one's turn. Whatever was on its way comes again: no token of it was taken.
    } finally {
      this.call.signal.removeEventListener("abort", giveUp);
      this.turns.leave(turn);
    }
  }

  async #ask(turn: Turn): Promise<void> {
    const { call } = this;
    this.credential = await call.credential();
    if (this.#token !== "") {
      for (const start of ["after_revision", "from"]) this.#url.searchParams.delete(start);
      this.#url.searchParams.set("resume_token", this.#token);
    }
    const wait = this.turns.crowded ? Math.min(this.#wait, shortWait) : this.#wait;
    turn.long = wait > shortWait;
    this.#url.searchParams.set("wait", `${Math.round(wait)}ms`);
    const response = await get(call, this.#url, "application/json", this.credential, turn.over);
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
