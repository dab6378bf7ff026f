import { grpcWeb } from "./grpcweb.js";
import { longPoll } from "./longpoll.js";
import type { Rung } from "./rung.js";
import { sse } from "./sse.js";
import { webSocket, type WebSocketOptions } from "./websocket.js";

/**
 * All rungs, in their order: gRPC-Web, WebSocket, Server-Sent Events, long-polling.
 *
 *     createClient({ baseUrl, rungs: ladder() })
 *
 * Without a WebSocket, as in Node 20, that rung is left out.
 */
export function ladder(options: WebSocketOptions = {}): Rung[] {
  const sockets = options.WebSocket !== undefined || globalThis.WebSocket !== undefined;
  return [grpcWeb(), ...(sockets ? [webSocket(options)] : []), sse(), longPoll()];
}
