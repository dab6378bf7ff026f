// Copies the generated stubs that the client needs out of the repository's gen/ts, so
// that they are part of what is built and published.
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const from = fileURLToPath(new URL("../../../gen/ts/", import.meta.url));
const to = fileURLToPath(new URL("../src/gen/", import.meta.url));
const stubs = [
  "google/api/annotations_pb.ts",
  "google/api/field_behavior_pb.ts",
  "google/api/http_pb.ts",
  "google/rpc/status_pb.ts",
  "watchroute/v1/resource_pb.ts",
  "watchroute/v1/service_pb.ts",
  "watchroute/v1/watch_pb.ts",
];

rmSync(to, { recursive: true, force: true });
for (const stub of stubs) {
  mkdirSync(dirname(join(to, stub)), { recursive: true });
  cpSync(join(from, stub), join(to, stub));
}
