// What the compiler must know; there is little to run.
import assert from "node:assert/strict";
import { test } from "node:test";
import { OrderSchema, type Order } from "../../../gen/ts/shop/v1/orders_pb.js";
import type { Client } from "../src/client.js";
import { useResource, useWatch } from "../src/react.js";
import type { JsonObject } from "../src/resource.js";
import { watch, type Watch } from "../src/watch.js";

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;

test("values have the type of the schema, or are JSON objects", () => {
  const typed = (client: Client) => watch(client, OrderSchema, { parent: "orders" });
  const plain = (client: Client) => watch(client, undefined, { parent: "notes" });
  const list = () => useWatch("orders", { schema: OrderSchema }).resources[0]!.data;
  const notes = () => useWatch("notes").resources[0]!.data;
  const one = () => useResource("orders/1", { schema: OrderSchema }).resource!.data;
  const same: [
    Same<ReturnType<typeof typed>, Watch<Order>>,
    Same<ReturnType<typeof plain>, Watch<JsonObject>>,
    Same<ReturnType<typeof list>, Order>,
    Same<ReturnType<typeof notes>, JsonObject>,
    Same<ReturnType<typeof one>, Order>,
  ] = [true, true, true, true, true];
  assert.ok(same.every(Boolean));
});
