// Bundles a page and serves it: node serve.mjs NAME PORT, with the node's URL in NODE.
import { context, stop } from "esbuild";
import { fileURLToPath } from "node:url";

const [name, port] = process.argv.slice(2);

// Else esbuild's own process may stay: with a page still connected it does not end by itself.
process.once("SIGTERM", async () => {
  await stop();
  process.exit();
});

const page = await context({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: [`./${name}/main`],
  outdir: name,
  bundle: true,
  write: false, // it is served from memory
  format: "esm",
  jsx: "automatic",
  define: { NODE: JSON.stringify(process.env.NODE) },
  // From here, also for the client, which is a link, and for gen/ts, which is no package:
  // with a React of its own its hooks would not work.
  alias: { "@bufbuild/protobuf": "@bufbuild/protobuf", react: "react" },
});
await page.rebuild(); // a mistake is told here, not to the browser
await page.serve({ servedir: name, host: "127.0.0.1", port: Number(port) });
console.log("serving");
