// MobileNetV2 through the bridge and through onnxruntime-web: one page, one photo, in turns. main.go serves it and takes the figures.
import { Module } from "/bridge/index.js";
import * as ort from "/ort/ort.wasm.min.mjs";

const { runs, round, warm, mean, std } = await (await fetch("/settings.json")).json();
const rgb = new Uint8Array(await (await fetch("/photo.rgb")).arrayBuffer());
const side = Math.sqrt(rgb.length / 3);

/** A page has pictures as RGBA. */
const photo = new ImageData(side, side);
for (let k = 0; k < side * side; k++) photo.data.set([...rgb.subarray(3 * k, 3 * k + 3), 255], 4 * k);

/** What onnxruntime-web needs of the page: normalised planes. Written plainly, without a canvas. */
function planes(picture) {
  const { data } = picture;
  const n = side * side;
  const out = new Float32Array(3 * n);
  for (let c = 0; c < 3; c++) {
    const scale = 1 / 255 / std[c];
    const shift = mean[c] / std[c];
    for (let k = 0; k < n; k++) out[c * n + k] = data[4 * k + c] * scale - shift;
  }
  return out;
}

function top5(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const e = Array.from(logits, (v) => Math.exp(v - most));
  const sum = e.reduce((a, b) => a + b);
  return [...e.keys()].sort((a, b) => e[b] - e[a]).slice(0, 5).map((index) => ({ index, probability: e[index] / sum }));
}

async function contestants() {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/ort/";
  const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const peer = async (x) => (await session.run({ [input]: new ort.Tensor("float32", x, [1, 3, side, side]) }))[output].data;
  const m = await Module.open("/model.wasm", { watch: false });
  const direct = await Module.open("/model.wasm", { watch: false, worker: false });
  const tensors = planes(photo);
  const [from] = m.manifest.inputs;
  const [to] = m.manifest.outputs;
  const own = async (m) => (await m.run({ [from.name]: tensors }))[to.name];
  return {
    "picture to top 5, bridge": async () => (await m.callImageJSON("classify", photo)).top,
    "picture to top 5, onnxruntime-web": async () => top5(await peer(planes(photo))),
    "tensor to logits, bridge": async () => top5(await own(m)),
    "tensor to logits, bridge without its worker": async () => top5(await own(direct)),
    "tensor to logits, onnxruntime-web": async () => top5(await peer(tensors)),
    // What a call costs beside the network: as many bytes as the picture's, to a worker and back.
    "round trip of the picture's bytes": await echo(rgb),
  };
}

async function echo(bytes) {
  const m = await Module.open("/echo.wasm", { watch: false });
  return async () => {
    await m.call("echo", bytes);
    return [];
  };
}

async function run() {
  const all = Object.entries(await contestants()).map(([name, f]) => ({ name, f, ms: [], top: [] }));
  for (const c of all) {
    const end = performance.now() + warm;
    for (let k = 0; k < 5 || performance.now() < end; k++) c.top = await c.f();
  }
  for (let k = 0; k < runs; k += round) {
    for (const c of all) {
      for (let r = 0; r < round; r++) {
        const begin = performance.now();
        await c.f();
        c.ms.push(performance.now() - begin);
      }
    }
  }
  return { contestants: all.map(({ name, ms, top }) => ({ name, ms, top: top.map((c) => c.index) })), ort: ort.env.versions?.web ?? "" };
}

globalThis.done = run();
