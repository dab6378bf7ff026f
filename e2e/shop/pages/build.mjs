// Builds the pages: `node build.mjs FOLDER`, with the packages of gateway/console. The same
// sources and lock file give the same bytes.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../../../gateway/console/bundle.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));
const pages = ["index", "customer", "warehouse"];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
copyFileSync(join(here, "src/shop.css"), join(out, "shop.css"));
for (const page of pages) copyFileSync(join(here, `src/${page}.html`), join(out, `${page}.html`));
await bundle({ entryPoints: pages.map((page) => join(here, `src/${page}.ts`)), outdir: out, from: "e2e/shop/pages/src" });
