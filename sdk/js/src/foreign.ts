// Modules that were not made for Isomer: those without a manifest, and those of wasmtube.

import { isNumeric, sameType, type Signature, words } from "./binary.js";
import { type FunctionSpec, isImage } from "./manifest.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** Functions of a module without a manifest, by their types (docs/abi.md section 3). */
export function infer(types: Map<string, Signature>): FunctionSpec[] {
  const lifted = types.has("cabi_realloc");
  const out: FunctionSpec[] = [];
  for (const [name, t] of types) {
    if (/^(cabi_realloc|cabi_post_|__)|^(_initialize|_start|isomer_save|isomer_restore)$/.test(name)) continue;
    if (sameType(t, words(2, 1))) out.push({ name, convention: lifted ? "bytes" : "wasmtube" });
    else if (sameType(t, words(4, 1))) out.push({ name, convention: lifted ? "image" : "wasmtube-image" });
    else if (isNumeric(t)) out.push({ name, convention: "scalar" });
  }
  if (!out.length && sameType(types.get("_start"), words(0, 0))) out.push({ name: "_start", convention: "command" });
  return out.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What calls of wasmtube's convention need of their instance. Errors have to be of the bridge's classes. */
export interface Guest {
  memory: WebAssembly.Memory;
  realloc?: (n: number) => number;
  span: (mem: ArrayBuffer, ptr: number, len: number, what: string) => Bytes;
  /** Makes the error of a memory without room. */
  full: (message: string) => Error;
}

const page = 65536;
/** Where wasmtube's own host puts input, whatever is there. */
const fixedIndex = 42;
const room = page;

/** The calls of wasmtube's convention (docs/abi.md section 3.5), and the region of memory that they share. */
export class Tube {
  #region = { ptr: 0, len: 0 };

  constructor(private g: Guest) {}

  /** The answer, as a view that dies when the guest runs. */
  call(fn: (...a: number[]) => number, f: FunctionSpec, { bytes, width, height }: { bytes: Bytes; width?: number; height?: number }): Bytes {
    const at = this.#reserve(bytes.length + room);
    this.g.span(this.#buffer(), at, bytes.length, "input").set(bytes);
    const n = (isImage(f.convention) ? fn(at, bytes.length, width!, height!) : fn(at, bytes.length)) >>> 0;
    return this.g.span(this.#buffer(), at, n, "output");
  }

  #buffer(): ArrayBuffer {
    return this.g.memory.buffer;
  }

  #grow(pages: number): number {
    try {
      return this.g.memory.grow(pages);
    } catch {
      return -1;
    }
  }

  /** A region of n bytes that belongs to the host. */
  #reserve(n: number): number {
    if (n <= this.#region.len) return this.#region.ptr;
    const size = this.#buffer().byteLength;
    const pages = Math.ceil(n / page);
    const have = this.#region.ptr + this.#region.len === size ? this.#region.len / page : 0;
    const before = this.#grow(pages - have);
    if (before >= 0) {
      this.#region = { ptr: (before - have) * page, len: pages * page };
      return this.#region.ptr;
    }
    if (this.g.realloc) return this.g.realloc(n);
    if (this.#fixed() && fixedIndex + n - room <= this.#buffer().byteLength) return fixedIndex;
    throw this.g.full(`memory limit: no room for ${n} bytes: memory of ${this.#buffer().byteLength} bytes cannot grow by ${pages - have} pages`);
  }

  /** Whether memory cannot grow by a page. One that can keeps it as the beginning of a region. */
  #fixed(): boolean {
    if (this.#region.len) return false;
    const before = this.#grow(1);
    if (before >= 0) this.#region = { ptr: before * page, len: page };
    return before < 0;
  }
}
