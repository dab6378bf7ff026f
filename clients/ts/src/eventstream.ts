import { mostBytes, tooLarge } from "./error.js";

/** One event of `text/event-stream`. */
export interface ServerSentEvent {
  /** `message` where the stream names none. */
  readonly event: string;
  readonly data: string;
  /** undefined: the event says nothing of it. */
  readonly id: string | undefined;
}

/**
 * Parses `text/event-stream`, cut into pieces anywhere: give it each piece, and take
 * the events that are complete. Throws where an event grows too large.
 */
export class EventStreamParser {
  readonly #decoder = new TextDecoder();
  /** The beginning of a line whose end has not come. */
  #rest = "";
  #afterCarriageReturn = false;
  #event = "";
  #data: string[] = [];
  #size = 0;
  #id: string | undefined;

  push(bytes: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    const text = this.#decoder.decode(bytes, { stream: true });
    let start = 0;
    if (this.#afterCarriageReturn && text !== "") {
      if (text[0] === "\n") start = 1;
      this.#afterCarriageReturn = false;
    }
    // The next of each is looked for once: a stream without carriage returns would be searched to its end for every line.
    let lf = text.indexOf("\n", start);
    let cr = text.indexOf("\r", start);
    while (lf >= 0 || cr >= 0) {
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr;
      this.#line(this.#rest + text.slice(start, end), events);
      this.#rest = "";
      start = end + 1;
      if (end === cr) {
        if (start === text.length) this.#afterCarriageReturn = true;
        else if (text[start] === "\n") start++;
        cr = text.indexOf("\r", start);
      }
      if (lf >= 0 && lf < start) lf = text.indexOf("\n", start);
    }
    this.#rest += text.slice(start);
    if (this.#size + this.#rest.length > mostBytes) throw tooLarge();
    return events;
  }

  #line(line: string, events: ServerSentEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
      this.#event = "";
      this.#data = [];
      this.#size = 0;
      this.#id = undefined;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
  }
}
