// Builds the page: `node build.mjs FOLDER`. The same sources and lock file give
// the same bytes.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const file of ["index.html", "console.css", "icon.svg"]) {
  copyFileSync(join(here, "src", file), join(out, file));
}
await build({
  absWorkingDir: here,
  entryPoints: ["src/console.ts"],
  outfile: join(out, "console.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  banner: {
    js:
      "/* With @bufbuild/protobuf (Apache-2.0; its varint code BSD-3-Clause, Copyright 2008 Google Inc.), " +
      "@connectrpc/connect and @connectrpc/connect-web (Apache-2.0). Built from gateway/console/src. */",
  },
  // gen/ts lies outside of this folder and has no packages of its own.
  nodePaths: [join(here, "node_modules")],
  logLevel: "warning",
});
