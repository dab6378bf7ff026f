// The watch over gRPC-Web, with the stub that gen/ts has for the shop's contract.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { type OrderResource, OrderService, OrderStatus, type WatchOrdersResponse } from "../../../gen/ts/shop/v1/orders_pb.js";
import { State } from "../../../gen/ts/watchroute/v1/resource_pb.js";
import { Started_Mode } from "../../../gen/ts/watchroute/v1/watch_pb.js";
import { backoff, type Feed, money, type Order, type Picture, type Say } from "./picture.js";

export function grpcWeb(credential: string, picture: Picture, say: Say): Feed {
  const client = createClient(OrderService, createGrpcWebTransport({ baseUrl: location.origin }));
  const headers: HeadersInit = credential ? { Authorization: `Bearer ${credential}` } : {};
  let current = new AbortController();

  async function follow(token: string, stop: AbortSignal): Promise<void> {
    for (let attempt = 0, first = true; !stop.aborted; first = false) {
      if (!first) picture.reconnects++;
      say("wait", "connecting");
      let wait = 0;
      try {
        wait = await stream(token, stop, () => (attempt = 0));
      } catch (cause) {
        if (stop.aborted) return;
        const error = ConnectError.from(cause);
        if (error.code === Code.Unimplemented || error.code === Code.InvalidArgument) {
          say("bad", "over", hint(error));
          return;
        }
        wait = backoff(attempt++);
      }
      if (stop.aborted) return;
      token = picture.token;
      say("wait", `again in ${(wait / 1000).toFixed(1)} s`);
      await new Promise((done) => setTimeout(done, wait));
    }
  }

  // Reads one stream to its end, and gives the time after which to come back.
  async function stream(token: string, stop: AbortSignal, alive: () => void): Promise<number> {
    const own = new AbortController();
    const end = () => own.abort();
    stop.addEventListener("abort", end);
    let silence: ReturnType<typeof setTimeout> | undefined;
    let limit = 60_000;
    try {
      const start = token ? { case: "resumeToken" as const, value: token } : { case: undefined };
      for await (const m of client.watchOrders({ start }, { signal: own.signal, headers })) {
        if (stop.aborted) break;
        alive();
        if (m.body.case === "started" && m.body.value.silenceLimit) limit = Number(m.body.value.silenceLimit.seconds) * 1000;
        clearTimeout(silence);
        silence = setTimeout(end, limit);
        apply(m);
        if (m.body.case === "drain") {
          const after = m.body.value.reconnectAfter;
          return Number(after?.seconds ?? 0n) * 1000 + (after?.nanos ?? 0) / 1e6;
        }
      }
      return backoff(0);
    } finally {
      clearTimeout(silence);
      stop.removeEventListener("abort", end);
      own.abort();
    }
  }

  function apply(m: WatchOrdersResponse): void {
    switch (m.body.case) {
      case "started":
        picture.started(m.body.value.mode === Started_Mode.SNAPSHOT, m.resumeToken);
        say("good", "live");
        break;
      case "reset":
        picture.clear();
        break;
      case "events":
        for (const e of m.body.value.events) {
          if (e.resource) picture.change(e.resource.name, e.resource.revision, e.state === State.PRESENT ? order(e.resource) : undefined);
        }
        picture.stands(m.revision, m.resumeToken);
        break;
      case "snapshotEnd":
        picture.snapshotEnd(m.revision, m.resumeToken);
        break;
      default:
        picture.stands(m.revision, m.resumeToken);
    }
  }

  return {
    resume(token) {
      current.abort();
      current = new AbortController();
      void follow(token, current.signal);
    },
  };
}

function order(r: OrderResource): Order {
  const o = r.data;
  return {
    id: o?.orderId ?? "",
    customer: o?.customerId ?? "",
    stage: OrderStatus[o?.status ?? 0] ?? "",
    total: o?.total ? money(o.total.currencyCode, o.total.units, o.total.nanos) : "",
    where: o?.location?.description ?? "",
  };
}

function hint(error: ConnectError): string {
  if (error.code === Code.Unimplemented) return "This node does not serve the shop contract. Start it with --contracts shop, or with `make run`.";
  return error.rawMessage;
}
