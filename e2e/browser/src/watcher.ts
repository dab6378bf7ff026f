// What one watcher was told, and the picture that follows from it. Messages come
// in the contract's JSON, whatever the transport was.

export type Message = {
  revision?: string;
  resumeToken?: string;
  started?: { mode: string };
  events?: { events: Event[] };
  snapshotEnd?: object;
  bookmark?: object;
  reset?: { reason: string };
  drain?: { reconnectAfter?: string };
  closed?: { code?: number; message?: string };
};

export type Event = {
  state: string;
  cause?: string;
  coalesced?: number;
  resource: { name: string; revision: string; data?: Record<string, unknown> };
};

export class Watcher {
  picture: Record<string, { revision: string; data: unknown }> = {};
  /** Every event: name, revision, state, and when it came (ms). */
  events: [string, string, string, number][] = [];
  /** The modes of `started`, in order. */
  modes: string[] = [];
  kinds: Record<string, number> = {};
  resets: string[] = [];
  errors: string[] = [];
  token = "";
  /** How often a connection was opened. */
  connects = 0;
  stopped = false;
  stop: () => void = () => {};

  apply(m: Message) {
    if (m.resumeToken) this.token = m.resumeToken;
    if (m.started) {
      this.count("started");
      this.modes.push(m.started.mode);
      if (m.started.mode === "SNAPSHOT") this.picture = {};
    }
    if (m.reset) {
      this.count("reset");
      this.resets.push(m.reset.reason);
      this.picture = {};
    }
    for (const e of m.events?.events ?? []) this.event(e);
    if (m.snapshotEnd) this.count("snapshotEnd");
    if (m.bookmark) this.count("bookmark");
    if (m.drain) this.count("drain");
    if (m.closed) {
      this.count("closed");
      this.errors.push(`closed: ${m.closed.code} ${m.closed.message}`);
    }
  }

  event(e: Event) {
    this.count("event");
    const { name, revision, data } = e.resource;
    this.events.push([name, revision, e.state, Date.now()]);
    if (e.state === "PRESENT") this.picture[name] = { revision, data };
    else delete this.picture[name];
  }

  count(kind: string) {
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
  }
}
