// Builds the pages from src into dist, which is committed: the hub embeds it. --check builds into memory and fails where
// dist is not what src makes.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

process.chdir(dirname(fileURLToPath(import.meta.url)));
const bridge = "../sdk/js/src";
const shared = {
	outdir: "dist", bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "warning", write: false, charset: "utf8",
	legalComments: "none", jsx: "automatic", jsxImportSource: "preact", alias: {
		"@isomer/bridge": join(process.cwd(), bridge, "index.ts"), "@isomer/bridge/fleet": join(process.cwd(), bridge, "fleet/index.ts"),
		"@nats-io/nats-core": join(process.cwd(), "node_modules/@nats-io/nats-core/lib/mod.js"),
	},
};
const { version } = JSON.parse(readFileSync("../sdk/js/package.json", "utf8"));
// What the bridge and its worker load from beside themselves when a module needs it.
const some = ["golden", "tensors", "picture", "state", "imports", "wasi", "host", "numbers", "foreign"];
const beside = ["worker", ...some, "nodejs"].map((n) => `./${n}.js`); // of which nodejs.js is for Node.js alone
// In: the bundles, by the file that they become. The bridge starts its worker from beside itself.
const bundles = [
	{ entryPoints: { app: "src/dashboard/main.tsx" }, external: beside },
	{ entryPoints: { worker: `${bridge}/worker.ts` }, external: beside },
	...some.map((n) => ({ entryPoints: { [n]: `${bridge}/${n}.ts` } })),
	{ entryPoints: { app: "src/dashboard/style.css" } },
	{ entryPoints: { "node/app": "src/node/main.ts" }, external: beside, define: { VERSION: JSON.stringify(`isomer-web ${version}`) } },
	{ entryPoints: { "node/app": "src/node/style.css" } },
];
const copies = { "index.html": "src/dashboard/index.html", "icon.svg": "src/dashboard/icon.svg", "node/index.html": "src/node/index.html",
	"node/icon.svg": "src/dashboard/icon.svg", "node/manifest.webmanifest": "src/node/manifest.webmanifest" };
for (let k = 0; k < 8; k++) copies[`node/frames/${k}.png`] = `../examples/meter/frames/frame-${String(3 * k).padStart(2, "0")}.png`;

const made = new Map();
for (const b of bundles) for (const f of (await build({ ...shared, ...b })).outputFiles) made.set(relative("dist", f.path), Buffer.from(f.contents));
for (const [to, from] of Object.entries(copies)) made.set(to, readFileSync(from));
// The node's page opens without a network: all that it needs is below /node/, and its service worker keeps it.
for (const name of ["worker", ...some].map((n) => `${n}.js`)) made.set(`node/${name}`, made.get(name));
const kept = [...made.keys()].filter((n) => n.startsWith("node/")).sort();
const sum = createHash("sha256");
for (const n of kept) sum.update(n).update(made.get(n));
const define = { BUILD: JSON.stringify(sum.digest("hex").slice(0, 16)), FILES: JSON.stringify(kept.map((n) => (n === "node/index.html" ? "./" : n.slice(5)))) };
for (const f of (await build({ ...shared, entryPoints: { "node/sw": "src/node/sw.ts" }, define })).outputFiles) made.set(relative("dist", f.path), Buffer.from(f.contents));

if (process.argv.includes("--check")) {
	const have = existsSync("dist") ? readdirSync("dist", { recursive: true, withFileTypes: true }).filter((d) => d.isFile()).map((d) => relative("dist", join(d.parentPath ?? d.path, d.name))) : [];
	const wrong = [...new Set([...have, ...made.keys()])].filter((n) => !have.includes(n) || !made.get(n)?.equals(readFileSync(join("dist", n))));
	if (wrong.length) {
		console.error(`web/dist is not what web/src makes: ${wrong.join(", ")}; run: cd web && npm ci --ignore-scripts && npm run build`);
		process.exit(1);
	}
} else {
	rmSync("dist", { recursive: true, force: true });
	for (const [name, body] of made) {
		mkdirSync(dirname(join("dist", name)), { recursive: true });
		writeFileSync(join("dist", name), body);
	}
}
for (const [name, body] of [...made].sort()) console.log(`${name}: ${body.length} bytes, gzip ${gzipSync(body, { level: 9 }).length}`);
