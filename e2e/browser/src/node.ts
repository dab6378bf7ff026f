// connect-web in Node: watches the orders of a filter by gRPC-Web and prints each
// message, as it comes, as one line of JSON.
//
//   node node.mjs BASE_URL FILTER

import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { toJson } from "@bufbuild/protobuf";
import { OrderService, WatchOrdersResponseSchema } from "../../../gen/ts/shop/v1/orders_pb.js";
import { Delivery } from "../../../gen/ts/watchroute/v1/watch_pb.js";

const [base, filter] = process.argv.slice(2);
const orders = createClient(OrderService, createGrpcWebTransport({ baseUrl: base }));
try {
  for await (const m of orders.watchOrders({ filter, delivery: Delivery.EVERY_CHANGE })) {
    process.stdout.write(JSON.stringify(toJson(WatchOrdersResponseSchema, m)) + "\n");
  }
  process.stdout.write(JSON.stringify({ end: true }) + "\n");
} catch (e) {
  process.stdout.write(JSON.stringify({ error: String(e) }) + "\n");
}
