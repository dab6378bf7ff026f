// Builds the page: `node build.mjs FOLDER`. The same sources and lock file give
// the same bytes.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const file of ["index.html", "console.css", "icon.svg"]) {
  copyFileSync(join(here, "src", file), join(out, file));
}
await bundle({ entryPoints: [join(here, "src/console.ts")], outdir: out, from: "gateway/console/src" });
