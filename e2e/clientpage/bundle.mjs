// Bundles the page, and the worker that its tabs share, into the folder that is given, with the client as it is published.
import { copyFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const client = here("../../clients/ts");
const { build } = createRequire(client + "/package.json")("esbuild");

await build({
  entryPoints: [here("page.ts"), here("worker.ts")],
  outdir: process.argv[2],
  bundle: true,
  format: "esm",
  target: "chrome110",
  alias: {
    "@watchroute/client/ladder": client + "/dist/rungs.js", "@watchroute/client/websocket": client + "/dist/websocket.js",
    "@watchroute/client/shared": client + "/dist/shared.js", "@watchroute/client/sharedworker": client + "/dist/sharedworker.js",
    "@watchroute/client": client + "/dist/index.js",
  },
  nodePaths: [client + "/node_modules"],
  logLevel: "warning",
});
await copyFile(here("page.html"), process.argv[2] + "/page.html");
