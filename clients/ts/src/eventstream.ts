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
 * the events that are complete.
 */
export class EventStreamParser {
  readonly #decoder = new TextDecoder();
  /** The beginning of a line whose end has not come. */
  #rest: string[] = [];
  #afterCarriageReturn = false;
  #event = "";
  #data: string[] = [];
  #id: string | undefined;

  push(bytes: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    const text = this.#decoder.decode(bytes, { stream: true });
    let start = 0;
    if (this.#afterCarriageReturn && text !== "") {
      if (text[0] === "\n") start = 1;
      this.#afterCarriageReturn = false;
    }
    for (;;) {
      const end = lineEnd(text, start);
      if (end < 0) break;
      this.#rest.push(text.slice(start, end));
      const line = this.#rest.length === 1 ? this.#rest[0]! : this.#rest.join("");
      this.#rest = [];
      this.#line(line, events);
      start = end + 1;
      if (text[end] === "\r") {
        if (start === text.length) this.#afterCarriageReturn = true;
        else if (text[start] === "\n") start++;
      }
    }
    if (start < text.length) this.#rest.push(text.slice(start));
    return events;
  }

  #line(line: string, events: ServerSentEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
      this.#event = "";
      this.#data = [];
      this.#id = undefined;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}

// Most streams have no carriage returns at all: to look for one in all of a long text
// for each line would cost its square.
const ends = /[\r\n]/g;
function lineEnd(text: string, from: number): number {
  ends.lastIndex = from;
  return ends.exec(text)?.index ?? -1;
}
