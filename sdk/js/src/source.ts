// Where a module's bytes come from.

import { IsomerError } from "./errors.js";

/** A URL or, in Node.js, a path; or the bytes themselves. */
export type Source = string | URL | Uint8Array | ArrayBuffer | Blob | Response;

/** The name of a module without a manifest: its file's, without the ending. */
export function nameOf(at: string): string {
  const last = at.split(/[?#]/, 1)[0].split(/[\\/]/).pop() ?? "";
  // Control characters would forge lines of a log.
  return last.replace(/\.[^.]*$/, "").replace(/\p{Cc}/gu, "\uFFFD") || "module";
}

/** The place of a source that can be read again; undefined: its bytes are all there is. */
export function placeOf(s: Source): string | undefined {
  if (typeof s === "string") return typeof location === "undefined" || s.startsWith("file:") ? s : new URL(s, document?.baseURI ?? location.href).href;
  return s instanceof URL ? s.href : undefined;
}

/** The bytes of a source without a place, copied: they are given to a worker. A Blob is read there. */
export async function bytesFrom(s: Source): Promise<Uint8Array<ArrayBuffer> | Blob> {
  if (s instanceof Uint8Array) return s.slice();
  if (s instanceof ArrayBuffer) return new Uint8Array(s.slice(0));
  if (s instanceof Blob) return s;
  if (s instanceof Response) {
    if (!s.ok) throw new IsomerError("refused", `${s.url}: read: the server answers ${s.status}`, { step: "read" });
    return new Uint8Array(await s.arrayBuffer());
  }
  throw new IsomerError("argument", "bad argument: a module comes from a URL, a path or bytes");
}
