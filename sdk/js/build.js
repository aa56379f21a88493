// Bundles the bridge and its worker for browsers and Node.js, and writes their types.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// What only some modules need comes as files of their own, when one does.
const some = ["golden", "tensors", "picture", "state", "imports", "wasi", "host", "numbers", "foreign", "nodejs"];
const options = { outdir: "dist", bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "warning" };
// The page and its workers share one file, which the browser loads once: index.js and worker.js say what each takes of it.
await build({
  ...options,
  stdin: { contents: `export * from "./index.js"; export { serve } from "./serve.js"; export { Thread } from "./thread.js";`, resolveDir: "src", loader: "ts" },
  outdir: undefined,
  outfile: "dist/bridge.js",
  external: ["./worker.js", ...some.map((n) => `./${n}.js`)],
});
writeFileSync("dist/index.js", `export{Module,IsomerError,fromRGBA,toPicture}from"./bridge.js";\n`);
writeFileSync("dist/worker.js", `import{serve,Thread}from"./bridge.js";await serve();export{Thread};\n`);
for (const n of some) await build({ ...options, entryPoints: [`src/${n}.ts`] });
// The node of a fleet has its dependency in it; the bridge is the one beside it.
await build({ ...options, entryPoints: ["src/fleet/index.ts"], outdir: "dist/fleet", external: ["../index.js"] });
const types = spawnSync("npx", ["tsc"], { stdio: "inherit" });
if (types.status) process.exit(types.status);
const size = (...names) => names.reduce((n, name) => n + gzipSync(readFileSync(`dist/${name}`), { level: 9 }).length, 0);
const whole = size("index.js", "worker.js", "bridge.js");
console.log(`minified, gzip: ${whole} bytes, page and worker together; where a module needs them: ${some.map((n) => `${n} ${size(`${n}.js`)}`).join(", ")}; ${size("fleet/index.js")} for a node of a fleet`);
