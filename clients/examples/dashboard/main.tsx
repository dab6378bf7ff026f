// All orders of the shop, counted by status.
import { createClient } from "@watchroute/client";
import { ladder } from "@watchroute/client/ladder";
import { ClientContext, useWatch } from "@watchroute/client/react";
import { createRoot } from "react-dom/client";
import { OrderSchema, OrderStatus } from "../../../gen/ts/shop/v1/orders_pb.js";

// The ladder: where a proxy lets gRPC-Web not through, by WebSocket, SSE or long-polling.
const client = createClient({ baseUrl: NODE, rungs: ladder() });

function Dashboard() {
  const { resources, synced, state, error } = useWatch("orders", { schema: OrderSchema, minInterval: 200 });
  if (error) return <p role="alert">{error.message}</p>;
  if (!synced) return <p role="status">{state}</p>;
  const counts = new Map<OrderStatus, number>();
  for (const { data } of resources) counts.set(data.status, (counts.get(data.status) ?? 0) + 1);
  return (
    <>
      <h1>{resources.length} orders</h1>
      <p role="status">{state}</p>
      <table>
        <tbody>
          {[...counts].sort(([a], [b]) => a - b).map(([status, count]) => (
            <tr key={status}><th>{OrderStatus[status]}</th><td>{count}</td></tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

createRoot(document.getElementById("root")!).render(
  <ClientContext.Provider value={client}>
    <Dashboard />
  </ClientContext.Provider>,
);
