import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { SessionRequestSchema, SessionResponseSchema, type SessionRequest, type SessionResponse } from "./gen/watchroute/v1/watch_pb.js";
import type { WebSocketConstructor, WebSocketLike } from "./session.js";
import { retire, type SharedEvent, type SharedOpen } from "./sharedsocket.js";

/**
 * The worker's side of shared WebSockets: for each node and user one session, in which the watches of all
 * pages are. A page's own ids of watches are put behind its number.
 */
export class Sharing {
  readonly #sessions = new Map<string, SharedSession>();
  #pages = 0;

  constructor(
    private readonly WebSocket: WebSocketConstructor,
    private readonly locks: Pick<LockManager, "request">,
  ) {}

  /** A page has opened a WebSocket. */
  connect(port: MessagePort): void {
    const page = new Page(String(++this.#pages), port);
    let open: SharedOpen | undefined;
    port.addEventListener("message", ({ data }: MessageEvent<SharedOpen | typeof retire | Uint8Array>) => {
      if (page.gone) return;
      if (data === retire) {
        page.session?.retire();
      } else if (data instanceof Uint8Array) {
        try {
          this.#request(page, open!, fromBinary(SessionRequestSchema, data));
        } catch (cause) {
          page.close(1006, String(cause)); // such as a URL that is none
        }
      } else {
        open = data;
        page.say({ open: open.protocols[0]! });
        const leave = () => page.leave();
        this.locks.request(open.lock, leave).catch(leave);
      }
    });
    port.start();
  }

  // Who a page is for, its first request says.
  #request(page: Page, open: SharedOpen, request: SessionRequest): void {
    if (page.session === undefined) {
      const credential = request.body.case === "authenticate" ? userOf(request.body.value.credential) : undefined;
      // A cookie is nobody's to see: whoever logs in next must not find the session of the one before.
      const alone = credential === undefined && open.user === undefined;
      const key = JSON.stringify(alone ? page.id : [open.url, open.user, credential]);
      let session = this.#sessions.get(key);
      if (session === undefined) {
        const made: SharedSession = new SharedSession(new this.WebSocket(open.url, open.protocols), open.protocols[0]!, () => {
          if (this.#sessions.get(key) === made) this.#sessions.delete(key);
        });
        this.#sessions.set(key, (session = made));
      }
      session.join(page);
    }
    page.session!.request(page, request);
  }
}

/** One WebSocket of a page. */
class Page {
  session: SharedSession | undefined;
  /** Its open watches, as the session knows them. */
  readonly watches = new Set<string>();
  gone = false;

  constructor(readonly id: string, private readonly port: MessagePort) {}

  say(event: SharedEvent): void {
    this.port.postMessage(event);
  }

  respond(responses: SessionResponse[]): void {
    const [first, ...more] = responses;
    const { buffer } = toBinary(SessionResponseSchema, { ...first!, more });
    this.port.postMessage(buffer, [buffer]);
  }

  close(code: number, reason: string): void {
    if (this.gone) return;
    this.say({ close: { code, reason } });
    this.leave();
  }

  leave(): void {
    if (this.gone) return;
    this.gone = true;
    this.session?.leave(this);
    this.port.close();
  }
}

/** A WebSocket that pages share, until the last of them leaves. */
class SharedSession {
  readonly #pages = new Map<string, Page>();
  #unsent: Uint8Array<ArrayBuffer>[] | undefined = [];
  #over = false;

  constructor(
    private readonly socket: WebSocketLike,
    protocol: string,
    /** No further page is to join. */
    readonly retire: () => void,
  ) {
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      if (socket.protocol !== protocol) return this.#end(1002, `the WebSocket speaks ${socket.protocol || "no subprotocol"}`);
      const unsent = this.#unsent ?? [];
      this.#unsent = undefined;
      for (const bytes of unsent) socket.send(bytes);
    });
    socket.addEventListener("message", ({ data }) => this.#received(data));
    socket.addEventListener("error", () => {}); // `close` follows
    socket.addEventListener("close", ({ code, reason }) => this.#end(code, reason));
  }

  join(page: Page): void {
    page.session = this;
    this.#pages.set(page.id, page);
  }

  leave(page: Page): void {
    this.#pages.delete(page.id);
    for (const watchId of page.watches) this.#send(create(SessionRequestSchema, { body: { case: "cancel", value: { watchId } } }));
    if (this.#pages.size === 0) this.#end(1000, "the last page has left");
  }

  request(page: Page, request: SessionRequest): void {
    const { body } = request;
    if (body.case === "open" || body.case === "cancel" || body.case === "credit") {
      const watchId = (body.value.watchId = `${page.id}.${body.value.watchId}`);
      if (body.case === "open") page.watches.add(watchId);
      if (body.case === "cancel") page.watches.delete(watchId);
    }
    this.#send(request);
  }

  #send(request: SessionRequest): void {
    if (this.#over) return;
    const bytes = toBinary(SessionRequestSchema, request);
    if (this.#unsent) this.#unsent.push(bytes);
    else this.socket.send(bytes);
  }

  #received(data: unknown): void {
    let response: SessionResponse;
    try {
      response = fromBinary(SessionResponseSchema, new Uint8Array(data as ArrayBuffer));
    } catch {
      return this.#end(1007, "a message cannot be read");
    }
    const news = new Map<Page, SessionResponse[]>();
    for (const one of [response, ...response.more]) {
      for (const [page, share] of this.#shares(one)) {
        const known = news.get(page);
        if (known) known.push(share);
        else news.set(page, [share]);
      }
    }
    for (const [page, responses] of news) page.respond(responses);
  }

  /** What of a response is for which page. What is of no watch is for all: when the credential expires, and why the session ends. */
  #shares(response: SessionResponse): Map<Page, SessionResponse> {
    const shares = new Map<Page, SessionResponse>();
    if (response.watchId === "") {
      for (const page of this.#pages.values()) shares.set(page, { ...response, more: [] });
      return shares;
    }
    for (const id of [response.watchId, ...response.alsoWatchIds]) {
      const dot = id.indexOf(".");
      const page = this.#pages.get(id.slice(0, dot));
      if (page === undefined) continue;
      if (response.body.case === "closed") page.watches.delete(id);
      const share = shares.get(page);
      if (share) share.alsoWatchIds.push(id.slice(dot + 1));
      else shares.set(page, { ...response, watchId: id.slice(dot + 1), alsoWatchIds: [], more: [] });
    }
    return shares;
  }

  #end(code: number, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.retire();
    for (const page of this.#pages.values()) page.close(code, reason);
    this.socket.close(1000);
  }
}

/**
 * Whose a credential is, so that nobody joins the session of another user: the claims of a JWT, but for those that each
 * token has anew; anything else is itself. Whether it is true is the server's to say.
 */
function userOf(credential: string): string {
  try {
    const [, payload] = credential.split(".");
    const { exp, iat, nbf, jti, ...claims } = JSON.parse(atob(payload!.replace(/-/g, "+").replace(/_/g, "/"))) as Record<string, unknown>;
    return JSON.stringify(claims);
  } catch {
    return credential;
  }
}
