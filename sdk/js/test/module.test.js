// The life of a module: swaps under load, watching, parallel instances, deadlines, permissions, pictures, tensors.
import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromRGBA, IsomerError, Module, toPicture } from "../dist/index.js";

const contract = JSON.parse(readFileSync(new URL("../../../conformance/contract.json", import.meta.url)));
const modules = Object.fromEntries(Object.entries(contract.modules).map(([k, v]) => [k, new Uint8Array(Buffer.from(v, "base64"))]));
const text = (b) => Buffer.from(b).toString();

/** Waits for an event, however long it takes: a test that hangs is ended by its runner. */
function listener() {
  const seen = [];
  const waiting = [];
  return {
    seen,
    onEvent: (e) => {
      seen.push(e);
      for (const w of waiting.splice(0)) w();
    },
    async until(kind, n = 1) {
      const awake = setInterval(() => {}, 1000); // an idle module keeps no process alive
      while (seen.filter((e) => e.kind === kind).length < n) await new Promise((r) => waiting.push(r));
      clearInterval(awake);
      return seen.filter((e) => e.kind === kind)[n - 1];
    },
  };
}

test("swaps under load: no call fails, and each comes from one of the two", async () => {
  const events = listener();
  const m = await Module.open(modules.guest, { instances: 2, onEvent: events.onEvent });
  let stop = false;
  let calls = 0;
  const versions = new Set();
  const callers = Array.from({ length: 4 }, async () => {
    while (!stop) {
      versions.add(text(await m.call("version")));
      calls++;
    }
  });
  for (let k = 0; k < 10; k++) await m.swap(k % 2 ? modules.guest : modules["guest-2"]);
  stop = true;
  await Promise.all(callers);
  await events.until("drained", 10);
  assert.deepEqual([...versions].sort(), ["1", "2"]);
  assert.equal(m.stats.swaps, 10);
  assert.equal(m.stats.calls, calls);
  assert.equal(m.stats.generation, 11);
  await m.close();
});

test("the same bytes are no swap", async () => {
  const m = await Module.open(modules.guest);
  await m.swap(modules.guest);
  assert.equal(m.stats.swaps, 0);
  await m.close();
});

test("instances serve in parallel, and a deadline ends one alone", async () => {
  const events = listener();
  const m = await Module.open(modules.guest, { instances: 2, deadline: 300, onEvent: events.onEvent });
  const loop = m.call("loop");
  assert.equal(text(await m.call("version")), "1"); // while the other one runs
  await assert.rejects(loop, (e) => e.kind === "limit" && e.limit === "deadline" && e.function === "loop");
  await events.until("instance replaced");
  assert.deepEqual(await Promise.all([m.call("version"), m.call("version")]).then((a) => a.map(text)), ["1", "1"]);
  await m.close();
});

test("a call is cancelled while it runs, and while it waits", async () => {
  const m = await Module.open(modules.guest);
  const running = new AbortController();
  const waiting = new AbortController();
  const a = m.call("loop", "", { signal: running.signal });
  const b = m.call("version", "", { signal: waiting.signal });
  waiting.abort(new Error("not needed"));
  await assert.rejects(b, /not needed/);
  running.abort();
  await assert.rejects(a, (e) => e.limit === "canceled");
  assert.equal(text(await m.call("version")), "1");
  await m.close();
});

test("a queue that is full says so", async () => {
  const m = await Module.open(modules.guest, { queue: 0 });
  const c = new AbortController();
  const a = m.call("loop", "", { signal: c.signal });
  await assert.rejects(m.call("version"), (e) => e instanceof IsomerError && e.kind === "busy");
  c.abort();
  await assert.rejects(a);
  await m.close();
});

test("after close calls fail, and those that run end first", async () => {
  const m = await Module.open(modules.guest);
  const last = m.call("version");
  await m.close();
  assert.equal(text(await last), "1");
  await assert.rejects(m.call("version"), (e) => e.kind === "closed");
  await assert.rejects(m.swap(modules["guest-2"]), (e) => e.kind === "closed");
  await m.close();
});

test("start that never ends meets the gate's limit", async () => {
  // A module whose start section loops: type () -> (), one function, start 0, loop br 0 end.
  const hang = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 8, 1, 0, 10, 9, 1, 7, 0, 3, 0x40, 12, 0, 11, 11]);
  await assert.rejects(Module.open(hang, { gateLimit: 300 }), (e) => e.kind === "refused" && /300 ms/.test(e.message));
});

test("a file is watched, replaced by rename, and a bad one refused once", async () => {
  const dir = mkdtempSync(join(tmpdir(), "isomer-js-"));
  const file = join(dir, "meter.wasm");
  const put = (b) => {
    writeFileSync(`${file}.new`, b);
    renameSync(`${file}.new`, file);
  };
  put(modules.guest);
  const events = listener();
  const m = await Module.open(file, { interval: 20, onEvent: events.onEvent });
  assert.equal(m.name, "meter");
  put(modules["guest-2"]);
  await events.until("swapped");
  assert.equal(text(await m.call("version")), "2");
  put(modules["golden-far"]);
  const no = await events.until("refused");
  assert.equal(no.step, "gate");
  rmSync(file);
  await events.until("read failed");
  put(modules.guest);
  await events.until("swapped", 2);
  assert.equal(text(await m.call("version")), "1");
  assert.equal(events.seen.filter((e) => e.kind === "refused").length, 1);
  await m.close();
  rmSync(dir, { recursive: true });
});

test("a part of the bridge that does not come is not the module's fault: it is tried again", async () => {
  const dir = mkdtempSync(join(tmpdir(), "isomer-js-"));
  const dist = new URL("../dist/", import.meta.url).pathname;
  cpSync(dist, dir, { recursive: true, filter: (from) => !from.endsWith("golden.js") });
  writeFileSync(join(dir, "package.json"), '{"type":"module"}');
  const bridge = await import(join(dir, "index.js"));
  await assert.rejects(bridge.Module.open(modules.golden), (e) => e.kind === "closed" && /part of the bridge/.test(e.message));
  const file = join(dir, "meter.wasm");
  writeFileSync(file, modules.guest);
  const events = listener();
  const m = await bridge.Module.open(file, { interval: 20, onEvent: events.onEvent });
  writeFileSync(file, modules.golden);
  await events.until("refused", 2);
  assert.equal(m.name, "meter");
  cpSync(join(dist, "golden.js"), join(dir, "golden.js"));
  await events.until("swapped");
  await m.close();
  rmSync(dir, { recursive: true });
});

test("a URL is watched by its ETag", async () => {
  let now = "guest";
  let unchanged = 0;
  const server = createServer((q, r) => {
    if (q.headers["if-none-match"] === `"${now}"`) {
      unchanged++;
      r.writeHead(304).end();
      return;
    }
    r.writeHead(200, { ETag: `"${now}"`, "Content-Type": "application/wasm" }).end(modules[now]);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const events = listener();
  const m = await Module.open(`http://127.0.0.1:${server.address().port}/a/digits.wasm?x=1`, { interval: 20, onEvent: events.onEvent });
  assert.equal(m.name, "digits");
  while (unchanged < 2) await new Promise((r) => setTimeout(r, 10));
  now = "guest-2";
  await events.until("swapped");
  assert.equal(text(await m.call("version")), "2");
  await m.close();
  server.close();
  await assert.rejects(Module.open(`http://127.0.0.1:${server.address()?.port ?? 1}/gone.wasm`), (e) => e.kind === "refused" && e.step === "read");
});

test("JSON, tensors and scalars", async () => {
  const m = await Module.open(modules.tensors);
  const { y } = await m.run({ x: new Float32Array([1, 2, -3, 0.5]) });
  assert.deepEqual([...y], [2, 4, -6, 1]);
  await assert.rejects(m.run({ x: new Float32Array(3) }), (e) => e.kind === "argument" && /f32\[4\]/.test(e.message));
  await assert.rejects(m.run({ x: new Float64Array(4) }), (e) => e.kind === "argument");
  await assert.rejects(m.run({}), /no tensor "x"/);
  await m.close();

  const g = await Module.open(modules.guest);
  assert.deepEqual(await g.callJSON("echo", { a: [1, "ü"] }), { a: [1, "ü"] });
  await assert.rejects(g.callJSON("count", 1), (e) => e.kind === "result");
  assert.deepEqual(await g.callScalar("mul", 1.5, 4), [6]);
  assert.deepEqual(await g.callScalar("sum64", 2n ** 62n, 5), [2n ** 62n + 5n]);
  assert.deepEqual(await g.callScalar("mul", Number.NaN, 1), [Number.NaN]);
  assert.deepEqual(g.functions.find((f) => f.name === "average"), { name: "average", convention: "image", input: "image", output: "json", doc: undefined });
  await g.close();
});

test("an opened module keeps what its caller gave, and takes nothing from it", async () => {
  const mine = modules.guest.slice();
  const m = await Module.open(mine);
  const input = new Uint8Array([1, 2, 3]);
  assert.deepEqual([...(await m.call("echo", input))], [1, 2, 3]);
  assert.equal(input.length, 3);
  await m.swap(modules["guest-2"]);
  assert.equal(mine.length, modules.guest.length);
  assert.ok(modules["guest-2"].length > 0);
  await m.close();
});

test("RGB of a canvas: transparency is put on black", async () => {
  const p = fromRGBA(2, 1, new Uint8ClampedArray([255, 128, 0, 255, 255, 128, 1, 128]));
  assert.deepEqual([...p.rgb], [255, 128, 0, 128, 64, 0]);
  await assert.rejects(toPicture({ width: 2, height: 2, rgb: new Uint8Array(3) }), (e) => e.kind === "argument");
});

test("options are checked, and errors name what is wrong", async () => {
  await assert.rejects(Module.open(modules.guest, { instances: 0 }), /instances of 0, want 1 to 64/);
  await assert.rejects(Module.open(modules.guest, { memoryLimit: 1 }), /memoryLimit of 1, want 65536 to Infinity/);
  await assert.rejects(Module.open(modules.guest, { functions: ["nothing"] }), (e) => e.kind === "refused" && /nothing; it has/.test(e.message));
  await assert.rejects(Module.open(7), (e) => e.kind === "argument");
  const m = await Module.open(modules.guest);
  await assert.rejects(m.call("nothing"), (e) => e.kind === "function" && /it has .*echo/.test(e.message));
  await m.close();
});
