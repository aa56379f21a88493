// Reads a module from its URL or path, beside the page: the bytes of a large one would hold up its frames.

import { IsomerError } from "./errors.js";

/** What a read found; no bytes: they are those of the last time. */
export interface Found {
  bytes?: Uint8Array<ArrayBuffer>;
  /** What tells this version from another: an ETag, "@" and a date, or a file's time and size. */
  mark?: string;
}

/** Reads at, unless it still has the mark. */
export const read = async (at: string, mark?: string): Promise<Found> => (isRemote(at) ? readURL(at, mark) : (await import("./nodejs.js")).readFile(at, mark));

async function readURL(at: string, mark?: string): Promise<Found> {
  const headers: Record<string, string> = {};
  if (mark) headers[mark.startsWith("@") ? "If-Modified-Since" : "If-None-Match"] = mark.replace(/^@/, "");
  const r = await fetch(at, { headers, cache: mark ? "no-store" : "no-cache" });
  if (r.status === 304) return { mark };
  if (!r.ok) throw new IsomerError("refused", `${at}: read: the server answers ${r.status} ${r.statusText}`.trim(), { step: "read" });
  const bytes = new Uint8Array(await r.arrayBuffer());
  const modified = r.headers.get("Last-Modified");
  return { bytes, mark: r.headers.get("ETag") ?? (modified ? `@${modified}` : undefined) };
}

const isRemote = (at: string): boolean => /^(https?|blob|data):/.test(at) || (typeof location !== "undefined" && !at.startsWith("file:"));
