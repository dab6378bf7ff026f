import type { WebSocketLike } from "./session.js";

/** What a page says to the worker, before frames. */
export interface SharedOpen {
  readonly url: string;
  readonly protocols: string[];
  /** The Web Lock that is held while this end lives. */
  readonly lock: string;
  readonly user: string | undefined;
}

/** What the worker says to a page, beside frames. */
export type SharedEvent = { readonly open: string } | { readonly close: { readonly code: number; readonly reason: string } };

/** No further watch is to share the connection. */
export const retire = "retire";

/** A page's end of a WebSocket that a worker has. */
export class SharedSocket implements WebSocketLike {
  binaryType = "arraybuffer";
  protocol = "";
  readonly #events = new EventTarget();
  #release: () => void = () => {};
  #over = false;

  constructor(private readonly port: MessagePort, locks: Pick<LockManager, "request">, url: string, protocols: string[], user?: string) {
    const lock = `watchroute ${crypto.randomUUID()}`;
    port.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer | SharedEvent>) => this.#take(data));
    port.start();
    const held = locks.request(lock, () => {
      if (this.#over) return;
      port.postMessage({ url, protocols, lock, user } satisfies SharedOpen);
      return new Promise<void>((resolve) => (this.#release = resolve));
    });
    held.catch((cause: unknown) => this.broken(`no lock: ${String(cause)}`));
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#events.addEventListener(type, listener as (event: Event) => void);
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    if (!this.#over) this.port.postMessage(data);
  }

  retire(): void {
    if (!this.#over) this.port.postMessage(retire);
  }

  /** The worker sees that the lock is free. */
  close(): void {
    this.#end();
  }

  /** As if the connection had been broken. */
  broken(reason: string): void {
    this.#take({ close: { code: 1006, reason } });
  }

  #take(data: ArrayBuffer | SharedEvent): void {
    if (this.#over) return;
    if (data instanceof ArrayBuffer) {
      this.#events.dispatchEvent(new MessageEvent("message", { data }));
    } else if ("open" in data) {
      this.protocol = data.open;
      this.#events.dispatchEvent(new Event("open"));
    } else {
      this.#end();
      this.#events.dispatchEvent(Object.assign(new Event("close"), data.close));
    }
  }

  #end(): void {
    this.#over = true;
    this.#release();
    this.port.close();
  }
}
