// Bundles the benchmarks and runs them against a node: npm run bench [-- PATH_OF_WATCHROUTE]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("..", import.meta.url));
const binary = process.argv[2] ?? join(folder, "../../bin/watchroute");
const outfile = join(folder, "build/bench.mjs");
await build({
  entryPoints: [join(folder, "bench/bench.ts")], outfile, bundle: true, platform: "node", format: "esm", target: "node20", logLevel: "warning",
  packages: "bundle", nodePaths: [join(folder, "node_modules")],
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});
process.exitCode = spawnSync(process.execPath, ["--expose-gc", outfile, binary], { stdio: "inherit" }).status ?? 1;
