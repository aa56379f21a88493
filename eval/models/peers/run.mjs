// One contestant in a process of its own: `node run.mjs KIND` takes a request a line and answers a line, in JSON.
//
//   {load: FILE, inputs: [{name, dtype, dims, file}], outputs: [FILE…]}  → {version, outputs: [{dtype, dims}]}, a first run's results in the files
//   {run: N}                                                             → {ms: [N times], cpu: milliseconds of processor for each}
//
// Every run gets its inputs anew: a module may use their place once it has read them, and the peers copy them too.
//
// Kinds: isomer (a module of the compiler, in V8), onnxruntime-web (one thread, SIMD), onnxruntime-node (native, one thread).
import fs from 'node:fs';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const arrays = { f32: Float32Array, i64: BigInt64Array };
const onnx = { f32: 'float32', i64: 'int64' };

function values(input) {
  const bytes = fs.readFileSync(input.file);
  return new arrays[input.dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

function write(file, array) {
  fs.writeFileSync(file, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

const kinds = {
  async isomer({ load, inputs, outputs, sizes }) {
    const { instance } = await WebAssembly.instantiate(fs.readFileSync(load));
    const { memory, run, ...rest } = instance.exports;
    const copies = inputs.map((input, i) => {
      const x = values(input);
      return [new x.constructor(memory.buffer, rest[`input_${i}`].value, x.length), x];
    });
    const compute = () => {
      for (const [to, from] of copies) {
        to.set(from);
      }
      run();
    };
    compute();
    outputs.forEach((file, i) => write(file, new Uint8Array(memory.buffer, rest[`output_${i}`].value, sizes[i])));
    return { version: 'V8 ' + process.versions.v8, run: compute };
  },
  async 'onnxruntime-web'(request) {
    const ort = await import('onnxruntime-web');
    ort.env.wasm.numThreads = 1;
    return session(ort, request, { executionProviders: ['wasm'] }, ort.env.versions?.web);
  },
  async 'onnxruntime-node'(request) {
    const ort = (await import('onnxruntime-node')).default;
    return session(ort, request, { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential' }, ort.env.versions?.node);
  },
};

async function session(ort, { load, inputs, outputs }, options, version) {
  const s = await ort.InferenceSession.create(load, { graphOptimizationLevel: 'all', logSeverityLevel: 3, ...options });
  const feeds = {};
  for (const input of inputs) {
    feeds[input.name] = new ort.Tensor(onnx[input.dtype], values(input), input.dims);
  }
  const run = () => s.run(feeds);
  const results = await run();
  outputs.forEach((file, i) => write(file, results[s.outputNames[i]].data));
  return { version, run };
}

const kind = process.argv[2];
if (kind === 'check') {
  // Says which peers can be loaded here.
  const found = {};
  const require = createRequire(import.meta.url);
  for (const name of ['onnxruntime-web', 'onnxruntime-node']) {
    try {
      await import(name);
      found[name] = JSON.parse(fs.readFileSync(require.resolve(name).replace(/(node_modules\/[^/]*)\/.*/, '$1/package.json'))).version;
    } catch (err) {
      found[name] = '';
      console.error(String(err.message).split('\n')[0]);
    }
  }
  console.log(JSON.stringify(found));
  process.exit(0);
}

let run;
const answer = (x) => process.stdout.write(JSON.stringify(x) + '\n');
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    const request = JSON.parse(line);
    if (request.load) {
      const loaded = await kinds[kind](request);
      run = loaded.run;
      answer({ version: loaded.version });
      continue;
    }
    const ms = [];
    const before = process.cpuUsage();
    for (let i = 0; i < request.run; i++) {
      const start = performance.now();
      const pending = run();
      // A module returns when it is done; awaiting that would cost it a turn of the loop that no caller pays.
      if (pending) {
        await pending;
      }
      ms.push(performance.now() - start);
    }
    const { user, system } = process.cpuUsage(before);
    answer({ ms, cpu: (user + system) / 1000 / request.run });
  } catch (err) {
    answer({ error: String(err.stack ?? err) });
  }
}
