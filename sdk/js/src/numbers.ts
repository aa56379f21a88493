// Numbers as JSON, for functions of the scalar convention that are called with bytes (docs/abi.md section 3.4).

import { F32, I32, I64 } from "./binary.js";
import type { Callable } from "./release.js";

/** Makes an error of the bridge's own class, which a file of its own does not have. */
type Fail = (kind: "argument" | "result", message: string) => Error;

/** A JSON array of numbers as the parameters of f. Integers beyond 2⁵³ keep each digit. */
export function numbersFromJSON(f: Callable, text: string, fail: Fail): (number | bigint)[] {
  const bad = (why: string): Error => fail("argument", `bad argument: ${why}`);
  let list: unknown = [];
  try {
    if (text) list = JSON.parse(text);
  } catch (e) {
    throw bad(`want a JSON array of numbers: ${(e as Error).message}`);
  }
  if (!Array.isArray(list) || list.some((v) => typeof v !== "number")) throw bad("want a JSON array of numbers");
  const { params } = f.type;
  if (list.length !== params.length) throw bad(`${list.length} numbers, want ${params.length}`);
  const digits = text.slice(1, -1).split(",");
  return params.map((t, k) => {
    const s = (digits[k] ?? "").trim();
    if (t === I32 || t === I64) {
      if (!/^-?\d+$/.test(s)) throw bad(`argument ${k}: ${s} is no integer`);
      const v = BigInt(s);
      const bits = t === I32 ? 32n : 64n;
      if (v < -(1n << (bits - 1n)) || v >= 1n << bits) throw bad(`argument ${k}: ${s} is out of range`);
      return t === I32 ? Number(BigInt.asIntN(32, v)) : BigInt.asIntN(64, v);
    }
    const v = Number(s);
    if (!Number.isFinite(t === F32 ? Math.fround(v) : v)) throw bad(`argument ${k}: ${s} is out of range`);
    return v;
  });
}

export function numbersToJSON(f: Callable, values: (number | bigint)[], fail: Fail): string {
  const list = values.map((v, k) => {
    if (typeof v === "bigint") return v.toString();
    if (!Number.isFinite(v)) {
      const name = Number.isNaN(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
      throw fail("result", `result cannot be encoded: result ${k} is ${name}, which JSON cannot hold (callScalar can)`);
    }
    return f.type.results[k] === I32 ? String(v | 0) : formatFloat(v, f.type.results[k] === F32);
  });
  return `[${list.join(",")}]`;
}

/** The shortest digits that give v again, written as C's %g does: with an exponent below 1e-4 and from 1e6 on. */
function formatFloat(v: number, single: boolean): string {
  if (v === 0) return Object.is(v, -0) ? "-0" : "0";
  let digits = Math.abs(v).toExponential();
  if (single) {
    for (let p = 0; p <= 8; p++) {
      digits = Math.abs(v).toExponential(p);
      if (Math.fround(Number(digits)) === Math.abs(v)) break;
    }
  }
  const [, mantissa, e] = /^([\d.]+)e([+-]\d+)$/.exec(digits)!;
  const exponent = Number(e);
  const figures = mantissa.replace(".", "").replace(/0+$/, "") || "0";
  const sign = v < 0 ? "-" : "";
  if (exponent < -4 || exponent >= 6) {
    const point = figures.length > 1 ? `.${figures.slice(1)}` : "";
    return `${sign}${figures[0]}${point}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${figures}`;
  const whole = figures.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  const rest = figures.slice(exponent + 1);
  return sign + whole + (rest ? `.${rest}` : "");
}
