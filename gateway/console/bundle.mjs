// Bundles what a page of this repository runs, with the TypeScript client from its
// sources: `@watchroute/client` is clients/ts/src, and the stubs that it has copied are
// taken from gen/ts itself. Packages come from this folder alone, so that a page has each
// once, and the same bytes whatever is installed elsewhere.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const sources = join(root, "clients/ts/src");

const client = {
  name: "client",
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^@watchroute\/client($|\/)/ }, ({ path, kind }) => {
      const entry = path.split("/")[2] ?? "index";
      return resolve("./" + (entry === "ladder" ? "rungs" : entry), { resolveDir: sources, kind });
    });
    onResolve({ filter: /^\.\/gen\// }, ({ path, resolveDir, kind }) => {
      if (resolveDir === sources) return resolve("./" + path.slice("./gen/".length), { resolveDir: join(root, "gen/ts"), kind });
    });
    onResolve({ filter: /^@bufbuild\// }, ({ path, kind, pluginData }) => {
      if (pluginData !== "again") return resolve(path, { resolveDir: here, kind, pluginData: "again" });
    });
  },
};

/** Writes the bundle of each entry point into `outdir`. */
export async function bundle({ entryPoints, outdir, from }) {
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir,
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    charset: "utf8",
    banner: {
      js: `/* With @bufbuild/protobuf (Apache-2.0; its varint code BSD-3-Clause, Copyright 2008 Google Inc.). Built from ${from} and clients/ts/src. */`,
    },
    plugins: [client],
    logLevel: "warning",
  });
}
