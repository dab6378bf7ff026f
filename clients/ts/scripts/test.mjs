// Bundles the tests and runs them: node scripts/test.mjs [NAME...]
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("..", import.meta.url));
const wanted = process.argv.slice(2);
const names = readdirSync(join(folder, "test"))
  .filter((f) => /\.test\.tsx?$/.test(f))
  .filter((f) => wanted.length === 0 || wanted.some((w) => f.startsWith(w)));

rmSync(join(folder, "build"), { recursive: true, force: true });
await build({
  entryPoints: names.map((f) => join(folder, "test", f)),
  outdir: join(folder, "build"),
  outExtension: { ".js": ".mjs" },
  bundle: true, splitting: true, packages: "external", platform: "node", format: "esm", target: "node20", jsx: "automatic", sourcemap: "inline", logLevel: "warning",
});
const files = readdirSync(join(folder, "build")).filter((f) => f.endsWith(".test.mjs")).map((f) => join(folder, "build", f));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
process.exitCode = status ?? 1;
