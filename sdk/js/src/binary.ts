// What the engine's own reflection does not say of a binary: the types of functions, and the memory's limits.

/** Value types as the binary has them. */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;

export interface Signature {
  params: number[];
  results: number[];
}

export interface Import {
  module: string;
  name: string;
  /** undefined: not a function. */
  type?: Signature;
}

export interface Binary {
  imports: Import[];
  /** Exported functions, in the binary's order. */
  functions: Map<string, Signature>;
  /** Initial pages of the module's own memory. */
  minPages: number;
  /** The bytes with the memory's maximum lowered to the limit. */
  bounded: (maxPages: number) => Uint8Array<ArrayBuffer>;
}

export const wasiModule = "wasi_snapshot_preview1";

export const typeName = (t: Signature): string => `(${t.params.map(valueName).join(", ")}) -> (${t.results.map(valueName).join(", ")})`;
/** The type of a function that takes and gives as many i32. */
export const words = (params: number, results: number): Signature => ({ params: Array(params).fill(I32), results: Array(results).fill(I32) });
export const isNumeric = (t: Signature): boolean => [...t.params, ...t.results].every((v) => v >= F64 && v <= I32);
export const sameType = (a: Signature | undefined, b: Signature): boolean => !!a && typeName(a) === typeName(b);

function valueName(v: number): string {
  return { [I32]: "i32", [I64]: "i64", [F32]: "f32", [F64]: "f64", 0x7b: "v128", 0x70: "funcref", 0x6f: "externref" }[v] ?? `0x${v.toString(16)}`;
}

/** A place in the binary. Reading beyond the end is an error, never a wrong number. */
class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
    readonly end: number,
  ) {}

  byte(): number {
    if (this.at >= this.end) throw new Error(`malformed module: it ends within a section at byte ${this.at}`);
    return this.bytes[this.at++];
  }

  u32(): number {
    let out = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.byte();
      out += (b & 0x7f) * 2 ** shift;
      if (b < 0x80) {
        if (out > 0xffffffff) break;
        return out;
      }
    }
    throw new Error(`malformed module: a number that is too large before byte ${this.at}`);
  }

  span(): Uint8Array {
    const n = this.u32();
    if (n > this.end - this.at) throw new Error(`malformed module: ${n} bytes at byte ${this.at} lead out of their section`);
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }

  name(): string {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.span());
  }

  /** The elements of a vector. Each has a byte at least, so a count beyond that is a lie that costs nothing. */
  list<T>(read: () => T): T[] {
    const n = this.u32();
    if (n > this.end - this.at) throw new Error(`malformed module: ${n} elements at byte ${this.at}`);
    return Array.from({ length: n }, read);
  }
}

const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

export interface Section {
  id: number;
  /** Where its id is, and where its content begins and ends. */
  from: number;
  at: number;
  to: number;
}

/** The row of sections that a binary is. */
export function readSections(bytes: Uint8Array): Section[] {
  if (magic.some((b, k) => bytes[k] !== b)) throw new Error("malformed module: it does not begin as a core WebAssembly module does");
  const out: Section[] = [];
  const r = new Reader(bytes, magic.length, bytes.length);
  while (r.at < r.end) {
    const from = r.at;
    const id = r.byte();
    const n = r.span().length;
    out.push({ id, from, at: r.at - n, to: r.at });
  }
  return out;
}

/** Payload of the manifest section, if there is one. */
export function manifestOf(bytes: Uint8Array, sections: Section[]): Uint8Array | undefined {
  for (const s of sections) {
    const r = new Reader(bytes, s.at, s.to);
    if (s.id === 0 && r.name() === "isomer.manifest") return bytes.subarray(r.at, r.end);
  }
  return undefined;
}

/** Reads the sections that the bridge needs. The engine validates everything else. */
export function readBinary(bytes: Uint8Array, sections: Section[]): Binary {
  let types: Signature[] = [];
  let own: number[] = [];
  const imports: Import[] = [];
  const functions = new Map<string, Signature>();
  const exported: [string, number][] = [];
  let memory = { from: 0, to: 0, min: 0, max: -1 };
  for (const { id, from, at, to } of sections) {
    const r = new Reader(bytes, at, to);
    switch (id) {
      case 1:
        types = r.list(() => {
          if (r.byte() !== 0x60) throw new Error(`a type at byte ${r.at - 1} is no function's: the contract has functions alone`);
          return { params: r.list(() => r.byte()), results: r.list(() => r.byte()) };
        });
        break;
      case 2:
        r.list(() => imports.push(readImport(r, types)));
        break;
      case 3:
        own = r.list(() => r.u32());
        break;
      case 5: {
        const [first, ...more] = r.list(() => readLimits(r));
        if (more.length) throw new Error("the module has more than one memory");
        if (first) memory = { from, to, ...first };
        break;
      }
      case 7:
        r.list(() => {
          const name = r.name();
          const kind = r.byte();
          const index = r.u32();
          if (kind === 0) exported.push([name, index]);
        });
        break;
      case 13:
        throw new Error("the module uses exceptions, which not every engine has");
    }
  }
  const index = [...imports.flatMap((i) => (i.type ? [i.type] : [])), ...own.map((t) => types[t])];
  for (const [name, k] of exported) {
    if (!index[k]) throw new Error(`malformed module: export ${JSON.stringify(name)} is function ${k}, which is not there`);
    functions.set(name, index[k]);
  }
  return { imports, functions, minPages: memory.min, bounded: (most) => bound(bytes, memory, most) };
}

function readImport(r: Reader, types: Signature[]): Import {
  const out: Import = { module: r.name(), name: r.name() };
  switch (r.byte()) {
    case 0: {
      const t = types[r.u32()];
      if (!t) throw new Error(`malformed module: import ${out.module}.${out.name} has no type`);
      out.type = t;
      break;
    }
    case 1: // table
      r.byte();
      readLimits(r);
      break;
    case 2:
      readLimits(r);
      break;
    case 3: // global
      r.byte();
      r.byte();
      break;
    default:
      throw new Error(`import ${out.module}.${out.name} is of a kind that the contract does not have`);
  }
  return out;
}

function readLimits(r: Reader): { min: number; max: number } {
  const flags = r.byte();
  if (flags > 1) throw new Error("a memory or table that is shared or has 64-bit addresses: the contract has neither");
  return { min: r.u32(), max: flags ? r.u32() : -1 };
}

function leb(n: number): number[] {
  const out = [];
  for (; n >= 0x80; n = Math.floor(n / 128)) out.push((n % 128) | 0x80);
  return [...out, n];
}

/** The binary with a memory section of its own, so that the engine itself keeps the limit. */
function bound(bytes: Uint8Array, m: { from: number; to: number; min: number; max: number }, most: number): Uint8Array<ArrayBuffer> {
  if (m.to === 0 || (m.max >= 0 && m.max <= most)) return bytes as Uint8Array<ArrayBuffer>;
  const body = [1, 1, ...leb(m.min), ...leb(most)];
  const section = [5, ...leb(body.length), ...body];
  const out = new Uint8Array(bytes.length - (m.to - m.from) + section.length);
  out.set(bytes.subarray(0, m.from));
  out.set(section, m.from);
  out.set(bytes.subarray(m.to), m.from + section.length);
  return out;
}
