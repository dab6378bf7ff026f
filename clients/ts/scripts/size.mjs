// Prints what a page pays for each entry point: bundled, minified and gzipped. Fails where a
// limit is passed.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const cases = [
  { name: "gRPC-Web only: createClient, watch", code: `export { createClient, watch } from "@watchroute/client";`, limit: 40 },
  { name: "the same and a mirror", code: `export { createClient, mirror, watch } from "@watchroute/client";` },
  { name: "all of @watchroute/client", code: `export * from "@watchroute/client";` },
  { name: "WebSocket in its place", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/websocket";` },
  { name: "WebSocket, shared by tabs", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/websocket"; export * from "@watchroute/client/shared";` },
  { name: "the worker of shared WebSockets", code: `import "@watchroute/client/sharedworker";` },
  { name: "with the ladder: all rungs", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/ladder";` },
  { name: "React: useWatch, useResource", code: `export { createClient } from "@watchroute/client"; export * from "@watchroute/client/react";` },
];

let failed = false;
for (const { name, code, limit } of cases) {
  const result = await build({
    stdin: { contents: code, resolveDir: fileURLToPath(new URL("..", import.meta.url)) },
    bundle: true, minify: true, format: "esm", target: "es2022", platform: "browser", write: false, external: ["react"], logLevel: "warning",
  });
  const bytes = gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
  const over = limit !== undefined && bytes > limit * 1024;
  failed ||= over;
  console.log(`${(bytes / 1024).toFixed(1).padStart(6)} KB  ${name}${limit ? ` (limit ${limit} KB${over ? ": PASSED" : ""})` : ""}`);
}
process.exitCode = failed ? 1 : 0;
