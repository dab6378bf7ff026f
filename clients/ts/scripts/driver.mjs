// Bundles the driver of the conformance suite, with this folder's packages.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

await build({
  entryPoints: [path("../../../e2e/conformance/drivers/ts/driver.ts")],
  outfile: path("../../../e2e/conformance/drivers/ts/dist/driver.mjs"),
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  nodePaths: [path("../node_modules")],
  // `ws` is CommonJS and requires Node's own modules.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  logLevel: "warning",
});
