// Memory of a guest. Numbers that come from it are checked here, and nowhere else.

/** Something in which the guest broke the contract: reported as a trap. */
export class Violation extends Error {}

/** mem[ptr, ptr+len) as a view that dies when the guest runs, or a Violation that names what. */
export function span(mem: ArrayBuffer, ptr: number, len: number, what: string): Uint8Array<ArrayBuffer> {
  if (ptr + len > mem.byteLength) {
    throw new Violation(`${what} at 0x${ptr.toString(16)}, ${len} bytes, is outside the memory of ${mem.byteLength} bytes`);
  }
  return new Uint8Array(mem, ptr, len);
}

/** A record at a multiple of 4. */
export function record(mem: ArrayBuffer, ptr: number, size: number, what: string): DataView {
  if (ptr % 4) throw new Violation(`the module breaks the contract: ${what} at 0x${ptr.toString(16)} is not aligned to 4 bytes`);
  span(mem, ptr, size, what);
  return new DataView(mem, ptr, size);
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

export const utf8 = (b: Uint8Array): string => strict.decode(b);
export const cleaned = (b: Uint8Array): string => lenient.decode(b);
export const bytesOf = (s: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(s);

export const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((v, k) => v === b[k]);
