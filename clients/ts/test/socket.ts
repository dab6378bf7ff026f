// A WebSocket whose server is told what to say, and what it says most.
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { State } from "../src/gen/watchroute/v1/resource_pb.js";
import { SessionRequestSchema, SessionResponseSchema, Started_Mode, WatchResponseSchema } from "../src/gen/watchroute/v1/watch_pb.js";
import type { WebSocketLike } from "../src/session.js";

type Response = MessageInitShape<typeof SessionResponseSchema>;
type WatchBody = MessageInitShape<typeof WatchResponseSchema>;

/** A server's end of a WebSocket, told what to say. */
export class Socket implements WebSocketLike {
  static all: Socket[] = [];
  binaryType = "";
  protocol = "watchroute.v1.proto";
  readonly requests: NonNullable<ReturnType<typeof fromBinary<typeof SessionRequestSchema>>["body"]>[] = [];
  closed = false;
  readonly #listeners = new Map<string, ((event: never) => void)[]>();

  constructor(readonly url: string, readonly protocols: string[]) {
    Socket.all.push(this);
  }
  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }
  send(data: Uint8Array): void {
    this.requests.push(fromBinary(SessionRequestSchema, data).body);
  }
  close(): void {
    this.closed = true;
  }
  fire(type: string, event: object = {}): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event as never);
  }
  say(response: Response): void {
    const bytes = toBinary(SessionResponseSchema, create(SessionResponseSchema, response));
    this.fire("message", { data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) });
  }
  watch(watchId: string, value: WatchBody, alsoWatchIds: string[] = []): void {
    this.say({ watchId, alsoWatchIds, body: { case: "watch", value } });
  }
}

export const begin: WatchBody = { body: { case: "started", value: { mode: Started_Mode.SNAPSHOT, silenceLimit: { seconds: 30n } } } };
export const change = (revision: number, count = 1): WatchBody => ({
  revision: BigInt(revision), resumeToken: `t${revision}`,
  body: { case: "events", value: { events: Array.from({ length: count }, (_, i) => ({ state: State.ABSENT, resource: { name: `n/${i}`, revision: BigInt(revision) } })) } },
});
