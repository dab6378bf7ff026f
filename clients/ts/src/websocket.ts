import { WatchrouteError } from "./error.js";
import type { Call, Connection, Endpoint, Rung } from "./rung.js";
import { Session, type WebSocketConstructor } from "./session.js";

export type { WebSocketConstructor, WebSocketLike } from "./session.js";

export interface WebSocketOptions {
  /** Default: the global one. Node 20 has none: give it that of the package `ws`. */
  WebSocket?: WebSocketConstructor;
}

/** WebSocket: all watches of a client share one. */
export function webSocket(options: WebSocketOptions = {}): Rung {
  return new WebSocketRung(options.WebSocket);
}

class WebSocketRung implements Rung {
  readonly name = "websocket";
  readonly occupies = false;
  readonly #sessions = new Map<Endpoint, Session>();

  constructor(private readonly WebSocket: WebSocketConstructor | undefined) {}

  open<T>(call: Call): Connection<T> {
    const WebSocket = this.WebSocket ?? (globalThis.WebSocket as unknown as WebSocketConstructor | undefined);
    if (WebSocket === undefined) {
      throw new WatchrouteError("FAILED_PRECONDITION", "there is no WebSocket here: give webSocket() one, such as that of the package ws");
    };
    let session = this.#sessions.get(call.endpoint);
    if (session === undefined) {
      const made: Session = new Session(WebSocket, call, () => {
        if (this.#sessions.get(call.endpoint) === made) this.#sessions.delete(call.endpoint);
      });
      this.#sessions.set(call.endpoint, (session = made));
    }
    return session.open<T>(call);
  }
}
