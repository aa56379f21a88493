// The tests of the JavaScript bridge in a browser. browser_test.go serves this page and takes the results.
import * as bridge from "/bridge/index.js";
import { bytes, runCase } from "/cases.js";

const { Module, toPicture } = bridge;
const contract = await (await fetch("/contract.json")).json();
const modules = Object.fromEntries(Object.entries(contract.modules).map(([k, v]) => [k, bytes(v)]));
const text = (b) => new TextDecoder().decode(b);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

function equal(got, want, what = "value") {
  const [g, w] = [got, want].map((v) => JSON.stringify(v, (_, v) => (ArrayBuffer.isView(v) ? [...v] : v)));
  if (g !== w) throw new Error(`${what}: got ${g?.slice(0, 300)}, want ${w?.slice(0, 300)}`);
}

async function fails(promise, wanted) {
  const e = await promise.then(
    () => undefined,
    (e) => e,
  );
  if (!e) throw new Error(`no error, want ${JSON.stringify(wanted)}`);
  for (const [k, v] of Object.entries(wanted)) if (v instanceof RegExp ? !v.test(e[k]) : e[k] !== v) throw new Error(`${k} is ${e[k]}, want ${v}: ${e.stack}`);
}

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
      while (seen.filter((e) => e.kind === kind).length < n) await new Promise((r) => waiting.push(r));
      return seen.filter((e) => e.kind === kind)[n - 1];
    },
  };
}

const tests = {
  async "the page's rules are strict"() {
    let refused = false;
    addEventListener("securitypolicyviolation", () => (refused = true), { once: true });
    try {
      new Function("return 1")();
    } catch {
      refused = true;
    }
    equal(refused, true);
  },

  async "a deadline ends the worker, and the module goes on"() {
    const events = listener();
    const m = await Module.open(modules.guest, { instances: 2, deadline: 300, onEvent: events.onEvent });
    const loop = m.call("loop");
    equal(text(await m.call("version")), "1");
    await fails(loop, { kind: "limit", limit: "deadline" });
    equal((await events.until("instance replaced")).error.limit, "deadline");
    equal((await Promise.all([m.call("version"), m.call("version")])).map(text), ["1", "1"]);
    await m.close();
  },

  async "a call is cancelled while it runs"() {
    const m = await Module.open(modules.guest);
    const c = new AbortController();
    const a = m.call("loop", "", { signal: c.signal });
    setTimeout(() => c.abort(), 20);
    await fails(a, { limit: "canceled" });
    equal(text(await m.call("version")), "1");
    await m.close();
  },

  async "memory has a maximum"() {
    await fails(Module.open(modules.large, { memoryLimit: 39 * 65536 }), { kind: "refused", message: /memory limit: the module begins with 40 pages, allowed are 39/ });
    const m = await Module.open(modules.guest, { memoryLimit: 4 * 65536 });
    equal(text(await m.call("version")), "1");
    await fails(m.call("echo", new Uint8Array(8 * 65536)), { kind: "trap" });
    equal(text(await m.call("version")), "1");
    await m.close();
  },

  async "a URL is watched by its ETag, and a bad module refused once"() {
    const put = (name) => fetch(`/live?module=${name}`, { method: "POST" });
    await put("guest");
    const events = listener();
    const m = await Module.open("/live.wasm", { interval: 20, onEvent: events.onEvent });
    equal([m.name, text(await m.call("version"))], ["live", "1"]);
    const { asked, unchanged } = await (await fetch("/live")).json();
    await put("guest-2");
    await events.until("swapped");
    equal(text(await m.call("version")), "2");
    await put("golden-far");
    equal((await events.until("refused")).step, "gate");
    equal(text(await m.call("version")), "2");
    while ((await (await fetch("/live")).json()).unchanged < unchanged + 3) await sleep(20);
    equal(events.seen.filter((e) => e.kind === "refused").length, 1, "refusals");
    equal(asked >= unchanged, true);
    await put("guest");
    await events.until("swapped", 2);
    equal(text(await m.call("version")), "1");
    await m.close();
  },

  async "the gate refuses, and rollback goes back"() {
    const m = await Module.open(modules.guest);
    await fails(m.swap(modules["golden-far"]), { kind: "refused", step: "gate" });
    await fails(m.rollback(), { kind: "previous" });
    await m.swap(modules["guest-2"]);
    await m.rollback();
    equal(text(await m.call("version")), "1");
    await m.rollback();
    equal(text(await m.call("version")), "2");
    await m.close();
  },

  async "calls of the old module end before it does"() {
    const events = listener();
    const m = await Module.open(modules.guest, { instances: 2, onEvent: events.onEvent });
    const c = new AbortController();
    const running = m.call("loop", "", { signal: c.signal });
    const answer = m.call("version");
    await m.swap(modules["guest-2"]);
    equal([text(await answer), text(await m.call("version"))], ["1", "2"]);
    equal(events.seen.some((e) => e.kind === "drained"), false, "drained while a call ran");
    c.abort();
    await fails(running, { limit: "canceled" });
    equal((await events.until("drained")).generation, 1);
    await m.close();
    await fails(m.call("version"), { kind: "closed" });
  },

  async "swaps under load"() {
    const m = await Module.open(modules.guest, { instances: 2 });
    let stop = false;
    const versions = new Set();
    const callers = Array.from({ length: 4 }, async () => {
      while (!stop) versions.add(text(await m.call("version")));
    });
    for (let k = 0; k < 10; k++) await m.swap(k % 2 ? modules.guest : modules["guest-2"]);
    stop = true;
    await Promise.all(callers);
    equal([...versions].sort(), ["1", "2"]);
    equal(m.stats.swaps, 10);
    await m.close();
  },

  async "in the page's own thread"() {
    const m = await Module.open(modules.tensors, { worker: false });
    equal((await m.run({ x: new Float32Array([1, 2, -3, 0.5]) })).y, [2, 4, -6, 1]);
    await m.close();
  },

  async "a large module in the page's own thread"() {
    // Chromium instantiates more than 8 MB there only by an asynchronous call. A custom section without a name makes the size.
    const payload = 9 << 20;
    const head = [0, ...[0, 7, 14, 21].map((s) => ((payload >> s) & 127) | 128), payload >> 28];
    const large = new Uint8Array(modules.tensors.length + head.length + payload);
    large.set(modules.tensors);
    large.set(head, modules.tensors.length);
    const m = await Module.open(large, { worker: false });
    equal((await m.run({ x: new Float32Array(4) })).y, [0, 0, 0, 0]);
    await m.close();
  },

  async "pixels reach the module as they are"() {
    // Opaque ones: a canvas stores colours multiplied by their alpha, and rounds them.
    const width = 37;
    const height = 11;
    const data = new ImageData(width, height);
    for (let k = 0; k < data.data.length; k++) data.data[k] = k % 4 === 3 ? 255 : (k * 7919) % 256;
    const want = data.data.filter((_, k) => k % 4 !== 3);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(data, 0, 0);
    const sources = { ImageData: data, ImageBitmap: await createImageBitmap(data), canvas, VideoFrame: new VideoFrame(canvas, { timestamp: 0 }) };
    sources.File = new File([await new Promise((r) => canvas.toBlob(r))], "picture.png");
    const m = await Module.open(modules.guest);
    const answer = await m.callImage("average", { width, height, rgb: want });
    for (const [name, source] of Object.entries(sources)) {
      const p = await toPicture(source);
      equal([p.width, p.height], [width, height], name);
      equal(p.rgb, want, name);
      equal(await m.callImage("average", source), answer, name);
    }
    sources.VideoFrame.close();
    await m.close();
  },

  async "files are decoded as Go decodes them, as far as that is promised"() {
    for (const want of await (await fetch("/pictures.json")).json()) {
      const p = await toPicture(await (await fetch(want.url)).blob());
      equal([p.width, p.height], [want.width, want.height], want.url);
      const rgb = bytes(want.rgb);
      const most = p.rgb.reduce((a, v, k) => Math.max(a, Math.abs(v - rgb[k])), 0);
      if (most > want.within) throw new Error(`${want.url}: a byte differs by ${most} from Go's, promised are ${want.within}`);
      differences[want.url] = most;
    }
  },
};

const differences = {};

async function run() {
  const results = [];
  const attempt = async (name, f) => {
    try {
      await f();
      results.push({ name });
    } catch (e) {
      results.push({ name, error: String(e.stack ?? e) });
    }
  };
  for (const c of contract.cases) await attempt(`contract/${c.name}`, () => runCase(bridge, contract, c));
  for (const [name, f] of Object.entries(tests)) await attempt(name, f);
  return { results, differences };
}

globalThis.done = run();
