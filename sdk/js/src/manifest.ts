// The manifest (docs/abi.md section 7).

import { part } from "./errors.js";

export type Convention = "bytes" | "image" | "tensors" | "scalar" | "wasmtube" | "wasmtube-image" | "command";
export type Encoding = "json" | "cbor" | "raw" | "image";
export type DType = "f32" | "f64" | "f16" | "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "bool";

export interface FunctionSpec {
  name: string;
  convention: Convention;
  input?: Encoding;
  output?: Encoding;
  doc?: string;
}

export interface TensorSpec {
  name: string;
  /** The exported global with the tensor's address. */
  global: string;
  dtype: DType;
  shape: number[];
}

export interface ImageSpec {
  width: number;
  height: number;
  fit?: "cover" | "contain" | "stretch";
  mean?: number[];
  std?: number[];
  scale?: number;
}

export interface Golden {
  function: string;
  /** base64 */
  input?: string;
  width?: number;
  height?: number;
  /** base64 */
  output?: string;
  tolerance?: number;
}

export interface Manifest {
  isomer: 1;
  name: string;
  version?: string;
  functions?: FunctionSpec[];
  inputs?: TensorSpec[];
  outputs?: TensorSpec[];
  image?: ImageSpec;
  labels?: string[];
  features?: string[];
  permissions?: string[];
  memory?: { minPages?: number; maxPages?: number };
  golden?: Golden[];
}

const sizes: Record<DType, number> = { f32: 4, f64: 8, f16: 2, i8: 1, i16: 2, i32: 4, i64: 8, u8: 1, u16: 2, u32: 4, u64: 8, bool: 1 };
const conventions = ["bytes", "image", "tensors", "scalar", "wasmtube", "wasmtube-image", "command"];
const encodings = ["json", "cbor", "raw", "image"];
const maxPages = 65536;
export const maxSide = 65535;

/** Bytes of one element. */
export const sizeOf = (t: DType): number => sizes[t];

/** Bytes of a tensor; a string says what is wrong with it. */
export function byteSize(t: TensorSpec): number | string {
  const size = typeof t.dtype === "string" && Object.hasOwn(sizes, t.dtype) ? sizes[t.dtype] : 0;
  if (!size) return `dtype ${quote(t.dtype)} is not known`;
  if (!Array.isArray(t.shape)) return "shape: missing";
  let n = size;
  for (const [k, d] of t.shape.entries()) {
    if (!Number.isInteger(d) || d < 1) return `shape[${k}]: ${d}, want 1 or more`;
    n *= d;
    if (n > 2 ** 31) return "shape: more than 2 GiB";
  }
  return n;
}

export const isImage = (c: Convention): boolean => c === "image" || c === "wasmtube-image";

/** Encodings of a function, with the defaults of its convention. */
export function encodingsOf(f: FunctionSpec): [Encoding, Encoding] {
  const c = f.convention;
  const input = isImage(c) ? "image" : c === "wasmtube" || c === "scalar" ? "json" : "raw";
  const output = input === "raw" ? "raw" : "json";
  return [f.input || input, f.output || output];
}

export const quote = (v: unknown): string => JSON.stringify(v) ?? "undefined";
const isName = (s: unknown): boolean => typeof s === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(s);
const isVersion = (s: unknown): boolean => typeof s === "string" && /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/.test(s);
const isString = (v: unknown): v is string => typeof v === "string";
const isList = Array.isArray;

/** Reads the payload of the manifest section, or throws an Error that lists everything that is wrong. */
export async function parseManifest(payload: Uint8Array): Promise<Manifest> {
  let m: Manifest;
  try {
    m = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload));
  } catch (e) {
    throw new Error(`bad manifest: ${(e as Error).message}`);
  }
  const problems = m !== null && typeof m === "object" && !isList(m) ? await problemsOf(m) : ["not a JSON object"];
  if (problems.length) throw new Error(`bad manifest: ${problems.join("; ")}`);
  return m;
}

async function problemsOf(m: Manifest): Promise<string[]> {
  if (m.isomer !== 1) return [`isomer: format version ${quote(m.isomer)}, this reader knows 1`];
  const out: string[] = [];
  // null is as good as nothing, as Go's decoder has it.
  for (const key of Object.keys(m) as (keyof Manifest)[]) if (m[key] === null) delete m[key];
  for (const key of ["functions", "inputs", "outputs", "labels", "features", "permissions", "golden"] as const) {
    if (m[key] === undefined) continue;
    if (!isList(m[key])) return [`${key}: not an array`];
    const objects = key === "functions" || key === "inputs" || key === "outputs" || key === "golden";
    if ((m[key] as unknown[]).some((v) => (objects ? typeof v !== "object" || v === null : !isString(v)))) {
      return [`${key}: an element that is no ${objects ? "object" : "string"}`];
    }
  }
  if (!isName(m.name)) out.push(`name: ${quote(m.name)}, want 1 to 128 of letters, digits, '.', '_', '-'`);
  if (m.version && !isVersion(m.version)) out.push(`version: ${quote(m.version)}, want at most 128 of letters, digits, '.', '_', '-', '+'`);
  functionProblems(m, out);
  tensorProblems("inputs", m.inputs, out);
  tensorProblems("outputs", m.outputs, out);
  if (m.image) imageProblems(m.image, out);
  twice("features", m.features, out);
  twice("permissions", m.permissions, out);
  const { minPages = 0, maxPages: most = 0 } = m.memory ?? {};
  if (minPages > maxPages || most > maxPages) out.push(`memory: ${minPages} to ${most} pages, the largest is ${maxPages}`);
  if (most && minPages > most) out.push(`memory: minPages ${minPages} is more than maxPages ${most}`);
  return m.golden?.length ? [...out, ...(await part(import("./golden.js"))).problemsOf(m, m.golden)] : out;
}

function functionProblems(m: Manifest, out: string[]): void {
  const seen = new Set<string>();
  m.functions?.forEach((f, k) => {
    const at = `functions[${k}]`;
    if (!f.name || !isString(f.name)) out.push(`${at}.name: empty`);
    else if (seen.has(f.name)) out.push(`${at}.name: ${quote(f.name)} is there twice`);
    seen.add(f.name);
    if (!conventions.includes(f.convention)) return void out.push(`${at}.convention: ${quote(f.convention)} is not known`);
    const [i, o] = encodingsOf(f);
    if (!encodings.includes(i)) out.push(`${at}.input: encoding ${quote(i)} is not known`);
    if (!encodings.includes(o)) out.push(`${at}.output: encoding ${quote(o)} is not known`);
    if (isImage(f.convention) !== (i === "image")) out.push(`${at}.input: encoding ${quote(i)} with convention ${quote(f.convention)}`);
    if (o === "image") out.push(`${at}.output: a function cannot return an image (use raw)`);
    if (f.convention === "command") {
      if (f.name !== "_start") out.push(`${at}.name: ${quote(f.name)}, the command convention calls "_start"`);
      if (m.functions!.length > 1) out.push(`${at}: a command runs once and has no other functions`);
    }
    if (f.convention === "tensors") {
      if (f.name !== "run") out.push(`${at}.name: ${quote(f.name)}, the tensors convention calls "run"`);
      if (!m.outputs?.length) out.push("outputs: empty, run has the tensors convention");
    }
  });
}

function tensorProblems(field: string, specs: TensorSpec[] | undefined, out: string[]): void {
  const seen = new Set<string>();
  specs?.forEach((t, k) => {
    const at = `${field}[${k}]`;
    if (!t.name || !isString(t.name)) out.push(`${at}.name: empty`);
    else if (seen.has(t.name)) out.push(`${at}.name: ${quote(t.name)} is there twice`);
    seen.add(t.name);
    if (!t.global || !isString(t.global)) out.push(`${at}.global: empty`);
    const size = byteSize(t);
    if (isString(size)) out.push(`${at}: ${size}`);
  });
}

export const isSide = (n: unknown): boolean => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= maxSide;

function imageProblems(s: ImageSpec, out: string[]): void {
  if (!isSide(s.width) || !isSide(s.height)) out.push(`image: ${s.width}×${s.height}, want 1 to ${maxSide} each`);
  if (s.fit && !["cover", "contain", "stretch"].includes(s.fit)) out.push(`image.fit: ${quote(s.fit)}, want cover, contain or stretch`);
  if (s.mean?.length && s.mean.length !== 3) out.push(`image.mean: ${s.mean.length} values, want 3`);
  if (s.std?.length && s.std.length !== 3) out.push(`image.std: ${s.std.length} values, want 3`);
  s.std?.forEach((v, k) => v === 0 && out.push(`image.std[${k}]: 0 divides`));
}

function twice(field: string, list: string[] | undefined, out: string[]): void {
  list?.forEach((s, k) => {
    if (!s) out.push(`${field}[${k}]: empty`);
    else if (list.indexOf(s) < k) out.push(`${field}[${k}]: ${quote(s)} is there twice`);
  });
}
