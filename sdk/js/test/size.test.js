// What a page downloads to run a module: the bridge with its worker, minified and compressed. build.js says the number.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url);
const limit = 12_000;

test(`page and worker together are at most ${limit} bytes`, () => {
  const size = ["index.js", "worker.js", "bridge.js"].reduce((n, name) => n + gzipSync(readFileSync(new URL(name, dist)), { level: 9 }).length, 0);
  assert.ok(size <= limit, `${size} bytes`);
});

test("no file of the bridge has a dependency", () => {
  for (const name of readdirSync(dist).filter((n) => n.endsWith(".js"))) {
    const text = readFileSync(new URL(name, dist), "utf8");
    const asked = [...text.matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map((m) => m[1]).filter((m) => !/^\.\/\w+\.js$/.test(m) && !m.startsWith("node:"));
    assert.deepEqual(asked, [], name);
  }
});
