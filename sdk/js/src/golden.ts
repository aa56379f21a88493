// Golden cases: calls with known answers, and how far an answer may be from them (docs/abi.md section 7).

import { byteSize, type Golden, isImage, isSide, type Manifest, maxSide, quote, sizeOf, type TensorSpec } from "./manifest.js";
import { cleaned, same } from "./memory.js";
import type { Callable, Release } from "./release.js";
import type { Sandbox } from "./sandbox.js";

/** What the gate takes from the bridge: this file is one of its own, and errors have to be of the bridge's classes. */
interface Tools {
  make: () => Promise<Sandbox>;
  lost: typeof import("./sandbox.js").lost;
  refused: typeof import("./release.js").refused;
}

/** Runs the golden cases in an instance of their own, and says everything that failed. */
export async function gate(r: Release, cases: Golden[], t: Tools): Promise<void> {
  let s: Sandbox | undefined;
  const failed: string[] = [];
  for (const [k, g] of cases.entries()) {
    const f = r.functions.find((f) => f.name === g.function);
    let why: string | undefined;
    let dead = false;
    if (!f) why = `no function ${quote(g.function)}`;
    else {
      try {
        s ??= await t.make();
      } catch (e) {
        throw t.refused(r, "instantiate", e);
      }
      try {
        why = differs(g, f, r.manifest!.outputs ?? [], s.call(f, { bytes: fromBase64(g.input), width: g.width, height: g.height }).bytes!);
      } catch (e) {
        why = (e as Error).message;
        dead = t.lost(e);
      }
    }
    if (why) failed.push(`golden[${k}] ${g.function}: ${why}`);
    if (dead) break; // the cases behind it cannot be tried
    if (f?.convention === "command") s = undefined; // a program runs once in its memory
  }
  if (failed.length) throw t.refused(r, "gate", new Error(failed.join("\n")));
}

function fromBase64(s: string | undefined): Uint8Array<ArrayBuffer> {
  const text = atob(s ?? "");
  const out = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) out[k] = text.charCodeAt(k);
  return out;
}

const near = (got: number, want: number, t: number): boolean =>
  got === want || (Number.isNaN(got) && Number.isNaN(want)) || Math.abs(got - want) <= t * Math.max(1, Math.abs(want));

/** What differs from the golden answer; undefined: nothing that matters. */
function differs(g: Golden, f: Callable, outputs: TensorSpec[], got: Uint8Array): string | undefined {
  const want = fromBase64(g.output);
  if (same(got, want)) return undefined;
  const t = g.tolerance ?? 0;
  if (t > 0 && f.output === "json") return differsJSON(got, want, t);
  if (t > 0 && f.convention === "tensors" && got.length === want.length) return differsTensors(outputs, got, want, t);
  return `output differs: got ${excerpt(got)}, want ${excerpt(want)}`;
}

function excerpt(b: Uint8Array): string {
  const text = JSON.stringify(cleaned(b.subarray(0, 64)));
  return b.length > 64 ? `${text}… (${b.length} bytes)` : text;
}

function differsTensors(outputs: TensorSpec[], got: Uint8Array, want: Uint8Array, t: number): string | undefined {
  const g = new DataView(got.buffer, got.byteOffset, got.length);
  const w = new DataView(want.buffer, want.byteOffset, want.length);
  let at = 0;
  for (const o of outputs) {
    const step = sizeOf(o.dtype);
    const end = at + o.shape.reduce((a, b) => a * b, step);
    for (let k = 0; at < end; at += step, k++) {
      let ok = same(got.subarray(at, at + step), want.subarray(at, at + step));
      if (o.dtype === "f32") ok = near(g.getFloat32(at, true), w.getFloat32(at, true), t);
      if (o.dtype === "f64") ok = near(g.getFloat64(at, true), w.getFloat64(at, true), t);
      if (!ok) return `output ${JSON.stringify(o.name)} differs at element ${k}, tolerance ${t}`;
    }
  }
  return undefined;
}

function differsJSON(got: Uint8Array, want: Uint8Array, t: number): string | undefined {
  let g: unknown;
  try {
    g = JSON.parse(cleaned(got));
  } catch (e) {
    return `output is not JSON: ${(e as Error).message}: ${excerpt(got)}`;
  }
  return compare("output", g, JSON.parse(cleaned(want)), t);
}

function compare(at: string, got: unknown, want: unknown, t: number): string | undefined {
  const no = `${at} differs: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}, tolerance ${t}`;
  if (typeof want === "number") return typeof got === "number" && near(got, want, t) ? undefined : no;
  if (want === null || typeof want !== "object") return got === want ? undefined : no;
  if (got === null || typeof got !== "object" || Array.isArray(got) !== Array.isArray(want)) return no;
  const g = got as Record<string, unknown>;
  const w = want as Record<string, unknown>;
  if (Object.keys(g).length !== Object.keys(w).length) return no;
  for (const key of Object.keys(w)) {
    if (!Object.hasOwn(g, key)) return `${at} has no ${JSON.stringify(key)}`;
    const d = compare(Array.isArray(want) ? `${at}[${key}]` : `${at}.${key}`, g[key], w[key], t);
    if (d) return d;
  }
  return undefined;
}

/** What is wrong with a manifest's golden cases. */
export function problemsOf(m: Manifest, cases: Golden[]): string[] {
  const out: string[] = [];
  for (const [k, g] of cases.entries()) problems(`golden[${k}]`, m, g, out);
  return out;
}

function problems(at: string, m: Manifest, g: Golden, out: string[]): void {
  const tolerance = g.tolerance ?? 0;
  if (!(tolerance >= 0)) out.push(`${at}.tolerance: ${g.tolerance}, want 0 or more`);
  let input = 0;
  let output = 0;
  try {
    input = fromBase64(g.input).length;
    output = fromBase64(g.output).length;
  } catch {
    return void out.push(`${at}: input or output is not base64`);
  }
  if (!g.function) return void out.push(`${at}.function: empty`);
  const f = m.functions?.find((f) => f.name === g.function);
  if (!f) {
    if (m.functions?.length) out.push(`${at}.function: ${quote(g.function)} is not among the functions`);
    return;
  }
  if (isImage(f.convention)) {
    if (!isSide(g.width) || !isSide(g.height)) out.push(`${at}: image of ${g.width ?? 0}×${g.height ?? 0}, want 1 to ${maxSide} each`);
    else if (g.width! * g.height! * 3 !== input) out.push(`${at}.input: ${input} bytes for an image of ${g.width}×${g.height}, want ${g.width! * g.height! * 3}`);
  } else if (f.convention === "tensors") {
    for (const [name, got, specs] of [["input", input, m.inputs], ["output", output, m.outputs]] as const) {
      const all = specs?.map(byteSize) ?? [];
      if (all.some((n) => typeof n === "string")) continue; // reported with the tensor itself
      const want = (all as number[]).reduce((a, b) => a + b, 0);
      if (got !== want) out.push(`${at}.${name}: ${got} bytes, the tensors have ${want}`);
    }
  }
}
