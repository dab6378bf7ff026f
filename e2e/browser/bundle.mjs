// Bundles the test page and the Node client into the folder that is given.
// gen/ts has no packages of its own: what it imports is found here.

import { build } from "esbuild";
import { copyFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2];
const common = { bundle: true, format: "esm", nodePaths: [here("node_modules")], logLevel: "warning" };
await build({ ...common, entryPoints: [here("src/page.ts")], outfile: out + "/page.js", target: "chrome110" });
await build({ ...common, entryPoints: [here("src/node.ts")], outfile: out + "/node.mjs", platform: "node", target: "node20" });
await copyFile(here("src/page.html"), out + "/page.html");
