import type { WebSocketConstructor } from "./session.js";
import { SharedSocket } from "./sharedsocket.js";

export interface SharedOptions {
  /** Who the page is for, where its credential is a cookie, which no page can read, or none. Only pages of the same name share. */
  user?: string;
}

/**
 * The WebSockets of all tabs of a user as one, in a SharedWorker whose script is
 * `@watchroute/client/sharedworker`. Give it to `webSocket` or `ladder`:
 *
 *     webSocket({ WebSocket: sharedWebSocket(() => new SharedWorker(url, { type: "module" })) })
 *
 * Whose a page is says its credential, or `user`; a page with neither has a WebSocket of its own.
 *
 * undefined, which is to say a WebSocket for each tab, where there is no SharedWorker (Chrome on Android), or no Web Locks,
 * by which the worker knows that a tab is gone (pages without TLS, but for localhost).
 */
export function sharedWebSocket(worker: () => SharedWorker, { user }: SharedOptions = {}): WebSocketConstructor | undefined {
  const locks = globalThis.navigator?.locks;
  if (typeof SharedWorker === "undefined" || locks === undefined) return undefined;
  return class extends SharedSocket {
    constructor(url: string, protocols: string[]) {
      const shared = worker();
      super(shared.port, locks, url, protocols, user);
      shared.addEventListener("error", () => this.broken("the shared worker does not run"));
    }
  };
}
