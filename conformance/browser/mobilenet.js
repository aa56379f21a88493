// Calls MobileNetV2 as browser_test.go says, and tells what differs from Go's answers.
import { Module } from "/bridge/index.js";
import { bytes } from "/cases.js";

async function run() {
  const m = await Module.open("/module.wasm", { watch: false });
  const different = [];
  let calls = 0;
  let logit = 0;
  for (const [k, c] of (await (await fetch("/calls.json")).json()).entries()) {
    const input = bytes(c.input);
    const want = bytes(c.want);
    // ImageData goes the way of a canvas's pixels.
    const got = c.width ? await m.callImage(c.function, imageData(c.width, c.height, input)) : await m.call(c.function, input);
    if (got.length !== want.length || got.some((v, k) => v !== want[k])) different.push(`call ${k} of ${c.function}: ${show(got)}, Go answers ${show(want)}`);
    calls++;
  }
  for (const { url, want } of await (await fetch("/files.json")).json()) {
    const file = new File([await (await fetch(url)).blob()], url);
    const [got, bitmap] = [await m.callImageJSON("classify", file), await m.callImageJSON("classify", await createImageBitmap(file))];
    const classes = (r) => r.top.map((c) => c.index);
    if (got.top[0].index !== want.top[0].index) different.push(`${url}: classes ${classes(got)}, Go's ${classes(want)}`);
    if (classes(bitmap).join() !== classes(got).join()) different.push(`${url}: as an ImageBitmap classes ${classes(bitmap)}, as a File ${classes(got)}`);
    logit = Math.max(logit, Math.abs(got.top[0].logit - want.top[0].logit));
    calls++;
  }
  await m.close();
  return { different, calls, logit };
}

const show = (b) => new TextDecoder().decode(b.subarray(0, 80));

function imageData(width, height, rgb) {
  const out = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) out.data.set([rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2], 255], 4 * k);
  return out;
}

globalThis.done = run();
