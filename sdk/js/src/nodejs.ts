// What Node.js does in its own way: workers and files. Browsers never load this file.

import type { Port } from "./lane.js";
import type { Found } from "./read.js";
import type { Post, Reply, Request } from "./thread.js";

// Variables: bundlers for browsers would look for these modules.
const threads = "node:worker_threads";
const files = "node:fs/promises";

/** Starts a worker with the code at url. */
export async function connect(url: URL, take: (r: Reply) => void, broken: (why: string) => void): Promise<Port> {
  const { Worker } = (await import(/* webpackIgnore: true */ /* @vite-ignore */ threads)) as typeof import("node:worker_threads");
  const w = new Worker(url);
  w.on("message", take);
  w.on("error", (e: Error) => broken(e.message));
  w.unref();
  return { post: (q, t) => w.postMessage(q, t), hold: (on) => void (on ? w.ref() : w.unref()), end: () => void w.terminate() };
}

/** Makes this worker serve requests; outside of a worker it does nothing. */
export async function serve(begin: (post: Post) => (q: Request) => void): Promise<void> {
  const { parentPort } = (await import(/* webpackIgnore: true */ /* @vite-ignore */ threads)) as typeof import("node:worker_threads");
  if (parentPort) parentPort.on("message", begin((r, transfer) => parentPort.postMessage(r, transfer)));
}

/** Reads the file at, a path or a file: URL, unless it still has the mark. */
export async function readFile(at: string, mark?: string): Promise<Found> {
  const fs = (await import(/* webpackIgnore: true */ /* @vite-ignore */ files)) as typeof import("node:fs/promises");
  const path = at.startsWith("file:") ? new URL(at) : at;
  const { mtimeMs, size, ino } = await fs.stat(path);
  const found = `${mtimeMs} ${size} ${ino}`;
  if (found === mark) return { mark };
  const b = await fs.readFile(path);
  return { bytes: new Uint8Array(b.buffer as ArrayBuffer, b.byteOffset, b.length), mark: found };
}
