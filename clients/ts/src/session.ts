import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { codeOf, errorFromStatus, notWatchroute, unavailable, unknownMessage, WatchrouteError } from "./error.js";
import { SessionRequestSchema, SessionResponseSchema, type SessionResponse, type WatchResponse } from "./gen/watchroute/v1/watch_pb.js";
import type { Message } from "./message.js";
import type { Call, Connection } from "./rung.js";
import { messageFromWire } from "./wire.js";

/** What of a WebSocket a session uses: a browser's own, Node's (22 and later), or that of the package `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** No further watch is to share this connection, where others may. */
  retire?(): void;
  addEventListener(type: "open" | "error", listener: (event: object) => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

const tenantHeader = "watchroute-tenant";

const subprotocol = "watchroute.v1.proto";

/** Events that a watch may be sent before more are granted. */
const fullCredit = 256;

/**
 * Many watches on one WebSocket. It is opened with its first watch and closed with its last; when it
 * breaks, each of its watches fails with the same error. What has come and was not
 * asked for yet is kept, bounded by the credit of each watch.
 */
export class Session {
  readonly #watches = new Map<string, SessionWatch<unknown>>();
  #socket: WebSocketLike | undefined;
  #unsent: Uint8Array<ArrayBuffer>[] | undefined = [];
  #lastId = 0;
  #closed = false;
  #error: WatchrouteError | undefined;
  #cancelRenewal: (() => void) | undefined;
  credential: string | undefined;

  constructor(
    private readonly WebSocket: WebSocketConstructor,
    private readonly call: Call,
    /** No further watch is to be opened on it. */
    private readonly onLeaving: () => void,
  ) {
    this.#connect().catch((cause: unknown) => this.#fail(unavailable("the session cannot be opened", cause)));
  }

  open<T>(call: Call): Connection<T> {
    const id = String(++this.#lastId);
    const watch = new SessionWatch<T>(this, id, call);
    this.#watches.set(id, watch as SessionWatch<unknown>);
    this.send({ case: "open", value: { watchId: id, watch: call.request, credit: fullCredit } });
    return watch;
  }

  send(body: NonNullable<MessageInitShape<typeof SessionRequestSchema>["body"]>): void {
    if (this.#closed) return;
    const bytes = toBinary(SessionRequestSchema, create(SessionRequestSchema, { body }));
    if (this.#unsent) this.#unsent.push(bytes);
    else this.#socket!.send(bytes);
  }

  /** A watch of it has ended. */
  left(id: string, byServer: boolean): void {
    if (!this.#watches.delete(id)) return;
    if (!byServer) this.send({ case: "cancel", value: { watchId: id } });
    if (this.#watches.size === 0) this.#end();
  }

  /** The server goes away, or what is open is of no more use: who comes back is to do so elsewhere. */
  leaving(): void {
    this.onLeaving();
    this.#socket?.retire?.();
  }

  async #connect(): Promise<void> {
    this.credential = await this.call.credential();
    if (this.#closed) return;
    const { baseUrl, headers } = this.call.endpoint;
    const tenant = new Headers(headers).get(tenantHeader); // the one header that has a parameter in its place
    const url = `${baseUrl.replace(/^http/, "ws")}/v1/session${tenant === null ? "" : `?${tenantHeader}=${encodeURIComponent(tenant)}`}`;
    const socket = (this.#socket = new this.WebSocket(url, [subprotocol]));
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => this.#opened(socket));
    socket.addEventListener("message", (event) => this.#received(event.data));
    socket.addEventListener("error", () => {}); // `close` follows
    socket.addEventListener("close", ({ code, reason }) => this.#fail(this.#error ?? errorFromClose(code, reason)));
  }

  #opened(socket: WebSocketLike): void {
    if (this.#closed) return socket.close(1000);
    if (socket.protocol !== subprotocol) return this.#fail(notWatchroute(`the WebSocket speaks ${socket.protocol || "no subprotocol"}`));
    const unsent = this.#unsent ?? [];
    this.#unsent = undefined;
    if (this.credential !== undefined) this.send({ case: "authenticate", value: { credential: this.credential } });
    for (const bytes of unsent) socket.send(bytes);
  }

  #received(data: unknown): void {
    if (this.#closed) return;
    try {
      if (!(data instanceof ArrayBuffer)) throw notWatchroute("the WebSocket sends text");
      const response = fromBinary(SessionResponseSchema, new Uint8Array(data));
      this.#watches.get(response.watchId)?.call.received(data.byteLength);
      this.#take(response);
      for (const more of response.more) this.#take(more);
    } catch (cause) {
      this.#fail(unavailable("a message cannot be read", cause));
    }
  }

  #take(response: SessionResponse): void {
    const { body } = response;
    switch (body.case) {
      case "watch":
        this.#watches.get(response.watchId)?.push(body.value);
        for (const id of response.alsoWatchIds) this.#watches.get(id)?.push(body.value);
        break;
      case "closed": {
        const error = errorFromStatus(body.value);
        // The connection's credential is refused, or it has as many watches as it may.
        if (error?.code === "UNAUTHENTICATED" || error?.metadata["limit"] === "session_watches") this.leaving();
        if (response.watchId === "") this.#error = error;
        else this.#watches.get(response.watchId)?.end(error);
        break;
      }
      case "authenticated":
        this.#renewBefore(body.value.expireTime && Number(body.value.expireTime.seconds) * 1000 + body.value.expireTime.nanos / 1e6);
        break;
      case "fence":
        break;
      default:
        throw unknownMessage("a response of the session");
    }
  }

  #renewBefore(expireTime: number | undefined): void {
    this.#cancelRenewal?.();
    this.#cancelRenewal = undefined;
    if (expireTime === undefined) return;
    const { clock } = this.call.endpoint;
    const left = expireTime - clock.date().getTime();
    if (left <= 1_000) return; // too late, if the clock is right: the session ends when the server says so
    const wait = left < 10_000 ? left / 2 : Math.min(left * 0.9, left - 5_000);
    this.#cancelRenewal = clock.after(Math.max(wait, 1_000), () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      this.credential = await this.call.renew();
    } catch {
      return; // the session ends when its credential expires, and comes back then
    }
    if (this.credential !== undefined) this.send({ case: "authenticate", value: { credential: this.credential } });
  }

  #fail(error: WatchrouteError): void {
    if (this.#closed) return;
    this.#end();
    for (const watch of [...this.#watches.values()]) watch.end(error);
  }

  #end(): void {
    this.#closed = true;
    this.onLeaving();
    this.#cancelRenewal?.();
    this.#unsent = undefined;
    this.#socket?.close(1000);
  }
}

class SessionWatch<T> implements Connection<T> {
  #queue: WatchResponse[] = [];
  #waiting: { resolve: (m: Message<T> | undefined) => void; reject: (cause: unknown) => void } | undefined;
  #over: { error: WatchrouteError | undefined } | undefined;
  /** Events of the message that was handed out last, and all that were not granted anew yet. */
  #handedOut = 0;
  #used = 0;

  constructor(
    private readonly session: Session,
    private readonly id: string,
    readonly call: Call,
  ) {
    call.signal.addEventListener("abort", () => {
      // Silence: what is broken is the connection, and who comes back is not to share it.
      if (call.signal.reason instanceof WatchrouteError) session.leaving();
      session.left(id, this.#over !== undefined);
      this.end(unavailable("the watch was ended"));
    });
  }

  get credential(): string | undefined {
    return this.session.credential;
  }

  next(): Promise<Message<T> | undefined> {
    this.#used += this.#handedOut;
    this.#handedOut = 0;
    if (this.#used >= fullCredit / 2 && !this.#over) {
      this.session.send({ case: "credit", value: { watchId: this.id, events: this.#used } });
      this.#used = 0;
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#handOut();
    });
  }

  push(response: WatchResponse): void {
    if (this.#over) return;
    // Bookmarks need no credit: of those that nobody asks for the last one is enough.
    const last = this.#queue.at(-1);
    if (response.body.case === "bookmark" && last?.body.case === "bookmark") this.#queue.pop();
    this.#queue.push(response);
    if (response.body.case === "drain") this.session.leaving();
    this.#handOut();
  }

  end(error: WatchrouteError | undefined): void {
    if (this.#over) return;
    this.#over = { error };
    this.session.left(this.id, true);
    this.#handOut();
  }

  // What came before the end is handed out before it.
  #handOut(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const response = this.#queue.shift();
    if (response === undefined && this.#over === undefined) return;
    this.#waiting = undefined;
    if (response === undefined) {
      if (this.#over!.error) waiting.reject(this.#over!.error);
      else waiting.resolve(undefined);
      return;
    }
    if (response.body.case === "events") this.#handedOut = response.body.value.events.length;
    try {
      waiting.resolve(messageFromWire<T>(response, this.call.schema));
    } catch (cause) {
      waiting.reject(cause);
    }
  }
}

function errorFromClose(code: number, reason: string): WatchrouteError {
  if (code > 4000 && code < 4017) return new WatchrouteError(codeOf(code - 4000), reason || `the WebSocket was closed with ${code}`);
  return unavailable(`the WebSocket was closed with ${code}${reason ? `: ${reason}` : ""}`);
}
