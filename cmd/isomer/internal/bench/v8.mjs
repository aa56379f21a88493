// Measures a network in V8: reads a request from standard input, writes a line "DONE OF" before each run and
// at last the times in nanoseconds, as JSON. See v8.go.
import fs from 'node:fs';

const request = JSON.parse(fs.readFileSync(0, 'utf8'));
const { instance } = await WebAssembly.instantiate(fs.readFileSync(request.module));
const { memory, run, ...rest } = instance.exports;
const inputs = request.inputs.map(({ global, file }) => {
  const data = fs.readFileSync(file);
  return [new Uint8Array(memory.buffer, rest[global].value >>> 0, data.length), data];
});
const layers = Array.from({ length: request.layers }, (_, i) => rest[`isomer.layer.${i}`]);
const result = { v8: process.versions.v8, run: [], layers: layers.map(() => []) };

function timed(f) {
  const start = process.hrtime.bigint();
  f();
  return Number(process.hrtime.bigint() - start);
}

function feed() {
  for (const [to, from] of inputs) {
    to.set(from);
  }
}

// The optimising compiler replaces the first code in the background: it needs turns and a moment.
const warm = Math.ceil(request.runs / 10) + 10;
for (let i = 0; i < warm + request.runs; i++) {
  console.log(`${i} ${warm + request.runs}`);
  feed();
  const whole = timed(run);
  feed();
  const each = layers.map(timed);
  if (i >= warm) {
    result.run.push(whole);
    each.forEach((ns, k) => result.layers[k].push(ns));
  } else {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
console.log(JSON.stringify(result));
