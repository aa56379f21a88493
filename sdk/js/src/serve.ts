// How a worker begins to serve, in browsers and in Node.js.

import { type Post, type Request, Thread } from "./thread.js";

interface Scope {
  WorkerGlobalScope?: unknown;
  postMessage: (m: unknown, transfer?: ArrayBuffer[]) => void;
  addEventListener: (kind: "message", f: (e: MessageEvent<Request>) => void) => void;
}

/** Makes this worker a thread of a module's; anywhere else it does nothing. */
export async function serve(): Promise<void> {
  const scope = globalThis as unknown as Scope;
  const begin = (post: Post): ((q: Request) => void) => {
    const thread = new Thread(post);
    return (q) => void thread.handle(q);
  };
  if (scope.WorkerGlobalScope) {
    const handle = begin((r, transfer) => scope.postMessage(r, transfer));
    scope.addEventListener("message", (e) => handle(e.data));
  } else if (typeof process !== "undefined" && process.versions?.node) {
    await (await import("./nodejs.js")).serve(begin);
  }
}
