// An instance: a module with its own memory, and the calls of docs/abi.md section 3. Synchronous; it lives in a worker
// where there is one.

import { I64, wasiModule } from "./binary.js";
import { IsomerError } from "./errors.js";
import type { Effects } from "./host.js";
import { byteSize, type TensorSpec } from "./manifest.js";
import { bytesOf, cleaned, record, span, utf8, Violation } from "./memory.js";
import { type Callable, type Release, some, title } from "./release.js";
import type { Wasi } from "./wasi.js";

type Func = (...a: (number | bigint)[]) => unknown;
type Bytes = Uint8Array<ArrayBuffer>;

export interface SandboxOptions {
  maxOutput: number;
  /** For golden cases: nothing is real, and nothing leaves. */
  rehearsing: boolean;
  effects: Effects;
}

/** A call's input. */
export interface Input {
  bytes: Bytes;
  width?: number;
  height?: number;
  /** Of a scalar function that is called with numbers. */
  args?: (number | bigint)[];
}

/** A call's answer: bytes, or the results of a scalar function called with numbers. */
export interface Output {
  bytes?: Bytes;
  results?: (number | bigint)[];
}

const fail = (kind: "argument" | "result", message: string): Error => new IsomerError(kind, message);

/** An application error on its way. */
class Says extends Error {}

export class Sandbox {
  #instance!: WebAssembly.Instance;
  #tube?: import("./foreign.js").Tube;
  #ins: Span[] = [];
  #outs: Span[] = [];
  #wasi?: Wasi;

  private constructor(
    readonly release: Release,
    private o: SandboxOptions,
  ) {}

  static async make(release: Release, o: SandboxOptions): Promise<Sandbox> {
    const s = new Sandbox(release, o);
    await s.#begin();
    return s;
  }

  /** Instantiates: start section, _initialize, tensors in memory. Not at once: a page's own thread may not with 8 MB or more. */
  async #begin(): Promise<void> {
    const r = this.release;
    const imports: WebAssembly.Imports = (some.host?.lend({
      may: r.may,
      rehearsing: this.o.rehearsing,
      effects: this.o.effects,
      memory: () => this.#memory(),
      realloc: () => this.#func("cabi_realloc") as ((...a: number[]) => number) | undefined,
      tools: { bytesOf, cleaned, record, span, utf8, Violation },
    }) ?? {}) as WebAssembly.Imports;
    if (some.wasi && r.imports.some((i) => i.module === wasiModule)) {
      const real = (p: string): boolean => !this.o.rehearsing && r.may.includes(p);
      this.#wasi = new some.wasi.Wasi(
        {
          program: r.functions.some((f) => f.convention === "command") ? r.name : undefined,
          checkOutput: (n) => this.#checkOutput(n),
          clock: real("clock"),
          random: real("random"),
        },
        () => this.#memory(),
      );
      imports[wasiModule] = this.#wasi.functions();
    }
    try {
      this.#instance = await WebAssembly.instantiate(r.code, imports);
      this.#func("_initialize")?.();
    } catch (e) {
      throw this.#start(e);
    }
    const m = r.manifest;
    if (m) {
      for (const f of r.functions) if (f.convention !== "scalar" && !this.#exported()) throw new Error(`${f.name}: the module exports no memory named "memory"`);
      this.#ins = this.#tensors("inputs", m.inputs ?? []);
      this.#outs = this.#tensors("outputs", m.outputs ?? []);
    }
  }

  #start(e: unknown): Error {
    if (e instanceof WebAssembly.LinkError) return e;
    return new Error(`start: ${e instanceof Error ? reason(e) : String(e)}`);
  }

  #exported(): WebAssembly.Memory | undefined {
    const m = this.#instance?.exports.memory;
    return m instanceof WebAssembly.Memory ? m : undefined;
  }

  #memory(): ArrayBuffer {
    const m = this.#exported();
    if (!m) throw new Violation('the module exports no memory named "memory"');
    return m.buffer;
  }

  #func(name: string): Func | undefined {
    const f = this.#instance?.exports[name];
    return typeof f === "function" ? (f as Func) : undefined;
  }

  #tensors(field: string, specs: TensorSpec[]): Span[] {
    return specs.map((t, k) => {
      const at = `${field}[${k}] ${JSON.stringify(t.name)}`;
      const g = this.#instance.exports[t.global];
      if (!(g instanceof WebAssembly.Global)) throw new Error(`${at}: global ${JSON.stringify(t.global)} is not exported`);
      const out = { ptr: Number(g.value) >>> 0, len: byteSize(t) as number };
      span(this.#memory(), out.ptr, out.len, at);
      return out;
    });
  }

  #checkOutput(n: number): void {
    if (n > this.o.maxOutput) throw new IsomerError("limit", `output limit: ${n} bytes, allowed are ${this.o.maxOutput}`, { limit: "output" });
  }

  /** Calls f. Throws an IsomerError; `lost` says whether the instance is to be thrown away. */
  call(f: Callable, input: Input): Output {
    this.#wasi?.begin();
    try {
      if (input.args) return { results: this.#scalar(f, input.args) };
      return { bytes: this.#convention(f, input) };
    } catch (e) {
      throw this.#classify(f, e);
    }
  }

  #convention(f: Callable, input: Input): Bytes {
    if (f.convention !== "scalar" && !this.#exported()) throw new IsomerError("argument", 'the module exports no memory named "memory" (callScalar)');
    switch (f.convention) {
      case "bytes":
      case "image":
        return this.#lifted(f, input);
      case "wasmtube":
      case "wasmtube-image":
        return this.#wasmtube(f, input);
      case "tensors":
        return this.#run(f, input.bytes);
      case "command":
        return this.#wasi?.command(this.#func(f.name)!, input.bytes, (message) => new Says(message)) ?? this.#silent(f);
      case "scalar":
        return bytesOf(some.numbers!.numbersToJSON(f, this.#scalar(f, some.numbers!.numbersFromJSON(f, cleaned(input.bytes).trim(), fail)), fail));
    }
  }

  /** A command that cannot read or write. */
  #silent(f: Callable): Bytes {
    this.#func(f.name)!();
    return new Uint8Array(0);
  }

  #alloc(n: number): number {
    const realloc = this.#func("cabi_realloc");
    if (!realloc) throw new Violation("the module exports no cabi_realloc");
    return (realloc(0, 0, 1, n) as number) >>> 0;
  }

  #lower(b: Bytes): number {
    if (!b.length) return 0;
    const ptr = this.#alloc(b.length);
    span(this.#memory(), ptr, b.length, "memory from cabi_realloc").set(b);
    return ptr;
  }

  #lifted(f: Callable, { bytes, width, height }: Input): Bytes {
    const ptr = this.#lower(bytes);
    const call = this.#func(f.name)!;
    const ret = ((f.convention === "image" ? call(width!, height!, ptr, bytes.length) : call(ptr, bytes.length)) as number) >>> 0;
    const r = record(this.#memory(), ret, 12, "result record");
    const tag = r.getUint8(0);
    if (tag > 1) throw new Violation(`the module breaks the contract: result record at 0x${ret.toString(16)} has tag ${tag}, want 0 (ok) or 1 (err)`);
    const at = r.getUint32(4, true);
    const answer = span(this.#memory(), at, r.getUint32(8, true), tag ? "error message" : "output").slice();
    let message = "";
    try {
      if (tag) message = utf8(answer);
    } catch {
      throw new Violation(`the module breaks the contract: error message at 0x${at.toString(16)}, ${answer.length} bytes, is not valid UTF-8`);
    }
    if (f.post) this.#func(`cabi_post_${f.name}`)!(ret);
    if (tag) throw new Says(message);
    this.#checkOutput(answer.length);
    return answer;
  }

  #wasmtube(f: Callable, input: Input): Bytes {
    this.#tube ??= new some.foreign!.Tube({
      memory: this.#exported()!,
      realloc: this.#func("cabi_realloc") && ((n) => this.#alloc(n)),
      span,
      full: (message) => new IsomerError("limit", message, { limit: "memory" }),
    });
    const out = this.#tube.call(this.#func(f.name) as (...a: number[]) => number, f, input);
    this.#checkOutput(out.length);
    return out.slice();
  }

  #run(f: Callable, input: Bytes): Bytes {
    const total = this.#ins.reduce((n, t) => n + t.len, 0);
    if (input.length !== total) throw new IsomerError("argument", `bad argument: ${input.length} bytes of input, the input tensors have ${total}`);
    let at = 0;
    for (const t of this.#ins) {
      new Uint8Array(this.#memory(), t.ptr, t.len).set(input.subarray(at, at + t.len));
      at += t.len;
    }
    this.#func(f.name)!();
    const size = this.#outs.reduce((n, t) => n + t.len, 0);
    this.#checkOutput(size);
    const out = new Uint8Array(size);
    at = 0;
    for (const t of this.#outs) {
      out.set(new Uint8Array(this.#memory(), t.ptr, t.len), at);
      at += t.len;
    }
    return out;
  }

  #scalar(f: Callable, args: (number | bigint)[]): (number | bigint)[] {
    if (f.convention === "command") throw new IsomerError("argument", `bad argument: ${f.name} is a command (call)`);
    const { params, results } = f.type;
    if (args.length !== params.length) throw new IsomerError("argument", `bad argument: ${args.length} arguments, want ${params.length}`);
    const out = this.#func(f.name)!(...args.map((v, k) => (params[k] === I64 ? BigInt(v) : Number(v))));
    const list = (results.length === 0 ? [] : results.length === 1 ? [out] : [...(out as Iterable<unknown>)]) as (number | bigint)[];
    return list;
  }

  /** isomer_save, copied. */
  save(): Bytes {
    const ret = (this.#func("isomer_save")!() as number) >>> 0;
    const r = record(this.#memory(), ret, 8, "list record");
    const state = span(this.#memory(), r.getUint32(0, true), r.getUint32(4, true), "output").slice();
    this.#checkOutput(state.length);
    this.#func("cabi_post_isomer_save")?.(ret);
    return state;
  }

  /** isomer_restore. */
  restore(state: Bytes): void {
    this.#func("isomer_restore")!(this.#lower(state), state.length);
  }

  #classify(f: Callable, e: unknown): IsomerError {
    const module = title(this.release);
    const details = { module, function: f.name };
    const at = `${module}: ${f.name}: `;
    if (e instanceof Says) return new IsomerError("app", at + e.message, details);
    if (e instanceof IsomerError) return new IsomerError(e.kind, at + e.message, { ...details, limit: e.limit });
    if (e instanceof RangeError && /call stack/i.test(e.message)) return new IsomerError("limit", `${at}stack limit`, { ...details, limit: "stack" });
    const stderr = this.#wasi?.said() || undefined;
    const why = e instanceof Violation ? e.message : `trap: ${e instanceof Error ? reason(e) : String(e)}`;
    return new IsomerError("trap", at + why + (stderr ? `; standard error: ${stderr}` : ""), { ...details, stderr });
  }
}

interface Span {
  ptr: number;
  len: number;
}

/** Whether an error leaves its instance unusable. */
export function lost(e: unknown): boolean {
  return !(e instanceof IsomerError) || e.kind === "trap" || (e.kind === "limit" && (e.limit === "deadline" || e.limit === "stack"));
}

/** One line about a trap. Firefox and Safari add where in the file it was. */
const reason = (e: Error): string => e.message.split("\n", 1)[0];
