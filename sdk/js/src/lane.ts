// A Lane is a thread with one instance: a worker, or none where the page wants it so.

import { fromWire, IsomerError } from "./errors.js";
import type { LogLevel } from "./host.js";
import type { Release } from "./release.js";
import type { Reply, Request, Waiting } from "./thread.js";

/** Where a worker's code is, or how to make the worker; false: calls run in the caller's own thread. */
export type WorkerSource = string | URL | (() => Worker) | false;

export interface LaneEvents {
  log: (r: Release | undefined, level: LogLevel, message: string) => void;
  publish: (subject: string, payload: Uint8Array<ArrayBuffer>) => void;
  replaced: (r: Release | undefined, why: IsomerError) => void;
}

export interface Port {
  post: (m: Request, transfer: ArrayBuffer[]) => void;
  /** Whether an answer is awaited: Node.js ends a process that waits for nothing. */
  hold: (on: boolean) => void;
  end: () => void;
}

type Body<T> = T extends unknown ? Omit<T, "id"> : never;

/** A request without its id. */
export type Ask = Body<Request>;

export class Lane {
  #port!: Port;
  #next = 1;
  #waiting = new Map<number, { resolve: (v: never) => void; reject: (e: Error) => void }>();
  #dead?: Error;
  /** What it runs, once that is known. */
  release?: Release;

  private constructor(private events: LaneEvents) {}

  static async open(source: WorkerSource | undefined, events: LaneEvents): Promise<Lane> {
    const lane = new Lane(events);
    lane.#port = await connect(source, (r) => lane.#receive(r), (e) => lane.#fail(e));
    return lane;
  }

  /** Sends a request and waits for its answer. What transfer names is gone from this thread. */
  ask<T>(q: Ask, transfer: ArrayBuffer[] = []): Promise<T> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#port.hold(true);
      this.#port.post({ ...q, id } as Request, transfer);
    });
  }

  /** Gives a module's bytes to the thread, which answers with their digest. They are gone from this one. */
  async take(bytes: Uint8Array<ArrayBuffer> | Blob): Promise<string> {
    return (await this.ask<Waiting>({ op: "take", bytes }, bytes instanceof Blob ? [] : [bytes.buffer])).digest!;
  }

  /** Ends the thread, whatever it does. Requests under way fail with why. */
  kill(why: Error = new IsomerError("closed", "module is closed")): void {
    if (this.#dead) return;
    this.#fail(why);
    this.#port.end();
  }

  #fail(e: Error): void {
    this.#dead ??= e;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#port?.hold(false);
    for (const w of all) w.reject(e);
  }

  #receive(r: Reply): void {
    if ("log" in r) return this.events.log(this.release, ...r.log);
    if ("publish" in r) return this.events.publish(...r.publish);
    const w = this.#waiting.get(r.id);
    this.#waiting.delete(r.id);
    if (!this.#waiting.size) this.#port.hold(false);
    if (r.error) w?.reject(fromWire(r.error));
    else w?.resolve(r.value as never);
    if (r.replaced) this.events.replaced(this.release, fromWire(r.replaced));
  }
}

async function connect(source: WorkerSource | undefined, take: (r: Reply) => void, fail: (e: Error) => void): Promise<Port> {
  if (source === false) {
    const { Thread } = await import("./worker.js");
    const thread = new Thread((r) => take(r));
    return { post: (q) => void thread.handle(q), hold: () => {}, end: () => {} };
  }
  const broken = (why: string): void => fail(new IsomerError("closed", `the worker does not run: ${why} (option worker: where worker.js is)`));
  if (typeof Worker === "undefined" && typeof source !== "function") {
    return (await import("./nodejs.js")).connect(new URL(source ?? "./worker.js", import.meta.url), take, broken);
  }
  const w = typeof source === "function" ? source() : new Worker(source ?? new URL("./worker.js", import.meta.url), { type: "module" });
  w.addEventListener("message", (e: MessageEvent<Reply>) => take(e.data));
  w.addEventListener("error", (e) => broken(e.message || "its code could not be loaded"));
  w.addEventListener("messageerror", () => broken("a message could not be read"));
  return { post: (q, t) => w.postMessage(q, t), hold: () => {}, end: () => w.terminate() };
}
