// Swaps a module while the page calls it 60 times a second, and measures the page's frames. browser_test.go takes the figures.
import { Module } from "/bridge/index.js";

const settings = await (await fetch("/settings.json")).json(); // swaps, milliseconds of rest before them, and after each

async function run() {
  const versions = await Promise.all(["/a.wasm", "/b.wasm"].map(async (u) => new Uint8Array(await (await fetch(u)).arrayBuffer())));
  const photo = new ImageData(224, 224);
  for (let k = 0; k < photo.data.length; k++) photo.data[k] = k % 4 === 3 ? 255 : (k * 7919) % 251;
  await fetch("/live?module=a", { method: "POST" });
  const waiting = [];
  const m = await Module.open("/live.wasm", {
    interval: 200,
    onEvent: (e) => ["swapped", "refused"].includes(e.kind) && waiting.splice(0).forEach((w) => w(e)),
  });
  await m.callImage("classify", photo);

  const failed = [];
  const latency = [];
  const answered = new Set();
  let open = 0;
  let most = 0;
  let held = 0;
  const call = async () => {
    const begin = performance.now();
    most = Math.max(most, ++open);
    try {
      answered.add(new TextDecoder().decode(await m.callImage("classify", photo)));
      latency.push(performance.now() - begin);
    } catch (e) {
      failed.push(String(e.stack ?? e));
    }
    open--;
  };

  const frames = new Frames();
  let at = performance.now();
  let on = true;
  const pace = () => {
    if (!on) return;
    // Each call at its time, however late the timer is: sixty in a second.
    for (; at <= performance.now(); at += 1000 / 60) {
      if (open < 100) void call();
      else held++; // a machine that is too slow for sixty a second
    }
    setTimeout(pace, Math.max(0, at - performance.now()));
  };
  pace();
  await sleep(settings.rest);
  const before = frames.take();
  const took = [];
  for (let k = 0; k < settings.swaps; k++) {
    const next = m.version === "1.0.0" ? 1 : 0;
    const begin = performance.now();
    if (k % 2) await m.swap(versions[next]);
    else {
      const swapped = new Promise((r) => waiting.push(r));
      await fetch(`/live?module=${"ab"[next]}`, { method: "POST" });
      await swapped;
    }
    took.push(performance.now() - begin);
    await sleep(settings.pause);
  }
  const during = frames.take();
  on = false;
  while (open) await sleep(10);
  const { calls, swaps, refused } = m.stats;
  await m.close();
  return { failed, calls, swaps, refused, most, held, answers: answered.size, latency: summary(latency), took: summary(took), before, during };
}

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** The times between the page's frames, and tasks of its thread that took 50 ms or more. */
class Frames {
  gaps = [];
  long = [];
  constructor() {
    new PerformanceObserver((l) => this.long.push(...l.getEntries().map((e) => e.duration))).observe({ type: "longtask" });
    let last;
    const frame = (now) => {
      if (last !== undefined) this.gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }
  take() {
    const { gaps, long } = this;
    [this.gaps, this.long] = [[], []];
    return { frames: summary(gaps), over50: gaps.filter((g) => g > 50).length, long };
  }
}

function summary(list) {
  const s = list.toSorted((a, b) => a - b);
  const at = (q) => Math.round(10 * (s[Math.min(s.length - 1, Math.floor(q * s.length))] ?? 0)) / 10;
  return { n: s.length, median: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1) };
}

globalThis.done = run();
