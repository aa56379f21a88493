// Bytes as text, and their SHA-256.

export type Bytes = Uint8Array<ArrayBuffer>;

export const utf8 = (s: string): Bytes => new TextEncoder().encode(s);

export const toHex = (b: Uint8Array): string => Array.from(b, (v) => v.toString(16).padStart(2, "0")).join("");

/** The bytes of lower-case hexadecimal text of a length; undefined: it is none. */
export function fromHex(s: unknown, length: number): Bytes | undefined {
  if (typeof s !== "string" || s.length !== 2 * length || !/^[0-9a-f]*$/.test(s)) return undefined;
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(s.slice(2 * i, 2 * i + 2), 16));
}

/** SHA-256 in hexadecimal. */
export async function sha256(b: Bytes): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", b)));
}

const step = 0x8000; // arguments of a call have a limit

export function toBase64(b: Uint8Array): string {
  let s = "";
  for (let at = 0; at < b.length; at += step) s += String.fromCharCode(...b.subarray(at, at + step));
  return btoa(s);
}

/** Reads base64, of URLs too; it throws where the text is none. */
export function fromBase64(s: string): Bytes {
  return Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
}

export const toBase64URL = (b: Uint8Array): string => toBase64(b).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
