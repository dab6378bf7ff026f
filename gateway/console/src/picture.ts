// What one half of the page knows: the orders that its watch has told of, and where that
// watch stands.
import type { Event } from "@watchroute/client";
import type { Order } from "../../../gen/ts/shop/v1/orders_pb.js";

export interface Row {
  order: Order;
  revision: bigint;
}

/** What stands behind a token: the two go together. */
export interface Held {
  rows: Map<string, Row>;
  revision: bigint;
  /** Whether the rows are the whole state: no snapshot is under way. */
  whole: boolean;
  token: string;
}

export const nothing = (): Held => ({ rows: new Map(), revision: 0n, whole: false, token: "" });

export class Picture {
  held = nothing();
  events = 0;
  reconnects = 0;
  snapshots = 0;

  take(event: Event<Order>): void {
    const { held } = this;
    switch (event.kind) {
      case "RESET":
        this.held = nothing();
        return;
      case "SYNCED":
        this.snapshots++;
        held.whole = true;
        break;
      case "PRESENT":
        this.events++;
        held.rows.set(event.name, { order: event.data, revision: event.revision });
        break;
      case "ABSENT":
        this.events++;
        held.rows.delete(event.name);
        break;
    }
    if (event.revision > held.revision) held.revision = event.revision;
  }
}
