// Calls a module through the JavaScript bridge, for javascript_test.go: node javascript.mjs BRIDGE MODULE < CASES.
// CASES are [{function, input, width, height}], input in base64; the answers come back as a list in base64.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [bridge, file] = process.argv.slice(2);
const { Module } = await import(pathToFileURL(bridge));
const m = await Module.open(file, { watch: false });
const out = [];
for (const c of JSON.parse(readFileSync(0, "utf8"))) {
  const input = new Uint8Array(Buffer.from(c.input, "base64"));
  const answer = c.width ? await m.callImage(c.function, { width: c.width, height: c.height, rgb: input }) : await m.call(c.function, input);
  out.push(Buffer.from(answer).toString("base64"));
}
await m.close();
console.log(JSON.stringify(out));
