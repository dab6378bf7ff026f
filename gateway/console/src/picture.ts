// What one watch has told so far: the orders, and where the watch stands. Both
// transports fold what they receive into a Picture in the same way.

export interface Order {
  id: string;
  customer: string;
  stage: string;
  total: string;
  where: string;
}

export interface Row {
  order: Order;
  revision: bigint;
}

export class Picture {
  readonly rows = new Map<string, Row>();
  revision = 0n;
  token = "";
  events = 0;
  reconnects = 0;
  snapshots = 0;
  /** Whether what is shown is whole: no snapshot is under way. */
  whole = false;

  constructor(private readonly changed: () => void) {}

  /** A stream has begun: with the state, so that what was held is void, or after the token. */
  started(snapshot: boolean, token: string): void {
    if (snapshot) this.clear();
    else this.whole = true;
    this.stands(0n, token);
  }

  /** The state is void; another one follows. */
  clear(): void {
    this.rows.clear();
    this.revision = 0n;
    this.token = "";
    this.whole = false;
    this.changed();
  }

  /** One order is now so, or gone. Doing it twice is fine. */
  change(name: string, revision: bigint, order: Order | undefined): void {
    this.events++;
    if (order) this.rows.set(name, { order, revision });
    else this.rows.delete(name);
    this.stands(revision, "");
  }

  snapshotEnd(revision: bigint, token: string): void {
    this.snapshots++;
    this.whole = true;
    this.stands(revision, token);
  }

  /** Everything up to the revision has come, and the token resumes after it. */
  stands(revision: bigint, token: string): void {
    if (revision > this.revision) this.revision = revision;
    if (token) this.token = token;
    this.changed();
  }
}

/** A transport that keeps a Picture up to date until it is told otherwise. */
export interface Feed {
  /** Drops the stream, if there is one, and begins anew with a token; "" asks for the state. */
  resume(token: string): void;
}

export type Mood = "good" | "wait" | "bad";
export type Say = (mood: Mood, text: string, note?: string) => void;

export function money(currency: string, units: bigint, nanos: number): string {
  const cents = String(Math.round(nanos / 1e7)).padStart(2, "0");
  return `${units}.${cents} ${currency}`.trim();
}

/** Full jitter under a ceiling that doubles, in milliseconds. */
export function backoff(attempt: number): number {
  return Math.random() * Math.min(30_000, 1000 * 2 ** attempt);
}
