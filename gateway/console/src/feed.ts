// One watch of all orders by one rung of the client. It is cut and taken up again here
// only because somebody asks for it: coming back is the client's.
import { createClient, watch, WatchrouteError, type Rung, type State, type Watch } from "@watchroute/client";
import { OrderSchema, type Order } from "../../../gen/ts/shop/v1/orders_pb.js";
import { nothing, type Held, type Picture } from "./picture.js";

export type Mood = "good" | "wait" | "bad";
export type Say = (mood: Mood, text: string, note?: string) => void;

const moods: Record<State, [Mood, string]> = {
  CONNECTING: ["wait", "connecting"],
  RESUMING: ["wait", "resuming"],
  SNAPSHOT: ["wait", "receiving the state"],
  RESETTING: ["wait", "receiving the state anew"],
  LIVE: ["good", "live"],
  DRAINING: ["wait", "the node goes away"],
  BACKING_OFF: ["wait", "waiting to come back"],
  CLOSED: ["bad", "over"],
};

export class Feed {
  readonly #client;
  #watch: Watch<Order> | undefined;
  /** Reconnects of the watches before this one. */
  #reconnects = 0;

  constructor(
    rung: Rung,
    credential: string,
    private readonly picture: Picture,
    private readonly say: Say,
    private readonly changed: () => void,
  ) {
    this.#client = createClient({ baseUrl: location.origin, token: credential, rungs: [rung] });
  }

  /** What is held, with the token behind it. */
  held(): Held {
    this.look();
    return this.picture.held;
  }

  /** Takes over what the watch counts, and how far it is: both move without an event too. */
  look(): void {
    if (!this.#watch) return;
    this.picture.reconnects = this.#reconnects + this.#watch.counters.reconnects;
    this.picture.held.token = this.#watch.token ?? "";
  }

  /** Drops the stream, if there is one, and goes on with what is held; without a token it begins anew. */
  resume(held: Held): void {
    const before = this.#watch;
    if (before) this.#reconnects += before.counters.reconnects + 1;
    this.picture.held = held.token ? held : nothing();
    const next = (this.#watch = watch(this.#client, OrderSchema, {
      parent: "orders",
      resumeToken: held.token || undefined,
      onState: (w, state) => w === this.#watch && state !== "CLOSED" && this.say(...moods[state]),
    }));
    void before?.cancel();
    void this.#follow(next);
  }

  async #follow(current: Watch<Order>): Promise<void> {
    try {
      for await (const event of current) {
        if (current !== this.#watch) return;
        this.picture.take(event);
        this.changed();
      }
    } catch (cause) {
      if (current === this.#watch) this.say(...moods.CLOSED, hint(cause));
    }
  }
}

function hint(cause: unknown): string {
  if (!(cause instanceof WatchrouteError)) return String(cause);
  if (cause.reason === "WRONG_TYPE") return "This node does not serve the shop contract. Start it with --contracts shop, or with `make run`.";
  if (cause.code === "UNAUTHENTICATED" || cause.code === "PERMISSION_DENIED") return "This needs a credential: open the page as /#access_token=TOKEN.";
  return cause.message;
}
