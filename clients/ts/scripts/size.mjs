// Prints what a page pays for each entry point: bundled, minified and gzipped. Fails where a
// limit is passed, or a page gets what it does not use.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// Words that only one part of the package has.
const parts = { mirror: "the mirror is closed", websocket: "/v1/session", sse: "text/event-stream", longpoll: "long-poll", worker: "the last page has left" };

const cases = [
  { name: "gRPC-Web only: createClient, watch", code: `export { createClient, watch } from "@watchroute/client";`, limit: 40, uses: [] },
  { name: "the same and a mirror", code: `export { createClient, mirror, watch } from "@watchroute/client";`, uses: ["mirror"] },
  { name: "all of @watchroute/client", code: `export * from "@watchroute/client";`, uses: ["mirror"] },
  { name: "WebSocket in its place", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/websocket";`, uses: ["websocket"] },
  { name: "WebSocket, shared by tabs", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/websocket"; export * from "@watchroute/client/shared";`, uses: ["websocket"] },
  { name: "the worker of shared WebSockets", code: `import "@watchroute/client/sharedworker";`, uses: ["worker"] },
  { name: "with the ladder: all rungs", code: `export { createClient, watch } from "@watchroute/client"; export * from "@watchroute/client/ladder";`, uses: ["websocket", "sse", "longpoll"] },
  { name: "React: useWatch, useResource", code: `export { createClient } from "@watchroute/client"; export * from "@watchroute/client/react";`, uses: ["mirror"] },
];

let failed = false;
for (const { name, code, limit, uses } of cases) {
  const result = await build({
    stdin: { contents: code, resolveDir: fileURLToPath(new URL("..", import.meta.url)) },
    bundle: true, minify: true, format: "esm", target: "es2022", platform: "browser", write: false, external: ["react"], logLevel: "warning",
  });
  const bytes = gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
  const has = Object.keys(parts).filter((part) => result.outputFiles[0].text.includes(parts[part]));
  const wrong = String(has) !== String(Object.keys(parts).filter((part) => uses.includes(part)));
  const over = limit !== undefined && bytes > limit * 1024;
  failed ||= over || wrong;
  console.log(`${(bytes / 1024).toFixed(1).padStart(6)} KB  ${name}${limit ? ` (limit ${limit} KB${over ? ": PASSED" : ""})` : ""}${wrong ? `: has the parts ${has}, should have ${uses}` : ""}`);
}
process.exitCode = failed ? 1 : 0;
