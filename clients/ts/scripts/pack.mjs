// Packs the package, installs it in an empty folder as a user would, checks its types there and imports
// each of its entry points.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const user = mkdtempSync(join(tmpdir(), "watchroute-pack-"));
const run = (file, args, cwd = user) => execFileSync(file, args, { cwd, stdio: ["ignore", "pipe", "inherit"] }).toString();

try {
  const [{ filename }] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", user], folder));
  writeFileSync(join(user, "package.json"), JSON.stringify({ type: "module", private: true }));
  run("npm", ["install", "--no-audit", "--no-fund", join(user, filename)]);
  writeFileSync(join(user, "use.ts"), `
    import { createClient, mirror, watch, WatchrouteError, type Event } from "@watchroute/client";
    import { ladder } from "@watchroute/client/ladder";
    import { longPoll } from "@watchroute/client/longpoll";
    import { sharedWebSocket } from "@watchroute/client/shared";
    import { sse } from "@watchroute/client/sse";
    import { webSocket } from "@watchroute/client/websocket";
    const client = createClient({ baseUrl: "http://127.0.0.1:1", rungs: [...ladder({ WebSocket: sharedWebSocket(() => new SharedWorker("worker.js")) }), sse(), longPoll()] });
    export const w = watch(client, undefined, { parent: "notes", failFast: true });
    export const text = async (e: Event<{ [k: string]: unknown }>) => (e.kind === "PRESENT" ? String(e.data["text"]) : e.kind);
    export { mirror, WatchrouteError, webSocket };
  `);
  run(join(folder, "node_modules/.bin/tsc"), ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "use.ts"]);
  run("node", ["--input-type=module", "-e", `
    const { w, WatchrouteError } = await import("./use.js");
    await w.next().then(() => process.exit(1), (error) => process.exit(error instanceof WatchrouteError && error.code === "UNAVAILABLE" ? 0 : 1));
  `]);
  console.log(`${filename}: installed, typed and used`);
} finally {
  rmSync(user, { recursive: true, force: true });
}
