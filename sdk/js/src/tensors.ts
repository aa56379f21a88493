// Tensors by name, and the bytes that a compiled model takes and gives: one after the other, in row-major order.

import { byteSize, type DType, type TensorSpec } from "./manifest.js";
import type { Tensor, Tensors } from "./module.js";

type Bytes = Uint8Array<ArrayBuffer>;

const arrays: Record<DType, new (b: ArrayBuffer) => Tensor> = {
  f32: Float32Array, f64: Float64Array, f16: Uint16Array, i8: Int8Array, i16: Int16Array, i32: Int32Array, i64: BigInt64Array,
  u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, u64: BigUint64Array, bool: Uint8Array,
};

/** The tensors' bytes. bad makes the error of one that is missing or of another form. */
export function join(specs: TensorSpec[], tensors: Tensors, bad: (why: string) => Error): Bytes {
  const sizes = specs.map((t) => byteSize(t) as number);
  const out = new Uint8Array(sizes.reduce((a, b) => a + b, 0));
  let at = 0;
  for (const [k, t] of specs.entries()) {
    const v = tensors[t.name];
    if (!v) throw bad(`no tensor ${JSON.stringify(t.name)}; wanted are ${specs.map((s) => s.name).join(", ")}`);
    if (!(v instanceof arrays[t.dtype]) || v.byteLength !== sizes[k]) {
      throw bad(`tensor ${JSON.stringify(t.name)} has ${v.length} elements in ${v.constructor.name}, want ${t.dtype}[${t.shape}] in ${arrays[t.dtype].name}`);
    }
    out.set(new Uint8Array(v.buffer, v.byteOffset, v.byteLength), at);
    at += sizes[k];
  }
  return out;
}

/** The tensors in bytes that an instance gave. */
export function split(specs: TensorSpec[], b: Bytes): Tensors {
  const out: Tensors = {};
  let at = 0;
  for (const t of specs) {
    const size = byteSize(t) as number;
    out[t.name] = new arrays[t.dtype](b.slice(at, at + size).buffer);
    at += size;
  }
  return out;
}
