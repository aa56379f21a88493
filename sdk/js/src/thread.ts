// What happens beside the page: a Thread compiles, tries and calls. It is reached by messages, from a worker's own
// global or, without workers, directly.

import { type ErrorDetails, IsomerError, part, toWire, type Wire } from "./errors.js";
import type { LogLevel } from "./host.js";
import { type Found, read } from "./read.js";
import { digestOf, load, need, refused, type Release, type ReleaseOptions } from "./release.js";
import { type Input, lost, type Output, Sandbox } from "./sandbox.js";

/** Requests, each with an answer of the same id. */
export type Request = { id: number } & (
  | { op: "read"; at: string; mark?: string }
  | { op: "take"; bytes: Uint8Array<ArrayBuffer> | Blob }
  | { op: "load"; options: ReleaseOptions; maxOutput: number }
  | { op: "adopt"; release: Release; maxOutput: number }
  | { op: "call"; function: number; input: Input }
  | { op: "save" }
  | { op: "restore"; state: Uint8Array<ArrayBuffer> }
);

export type Reply =
  | { id: number; value?: unknown; error?: undefined; replaced?: Wire; unable?: Wire }
  | { id: number; error: Wire; replaced?: Wire; unable?: Wire }
  | { id: 0; log: [LogLevel, string] }
  | { id: 0; publish: [string, Uint8Array<ArrayBuffer>] };

/** What read and take answer: what load will load. */
export interface Waiting {
  mark?: string;
  /** SHA-256; undefined: nothing new was read. */
  digest?: string;
}

/** What load answers. */
export interface Loaded {
  release: Release;
  cases: number;
  compile: number;
  gate: number;
}

export type Post = (r: Reply, transfer?: ArrayBuffer[]) => void;

export class Thread {
  #release?: Release;
  #sandbox?: Sandbox;
  #maxOutput = 0;
  #waiting?: { bytes: Uint8Array<ArrayBuffer>; digest: string };

  constructor(private post: Post) {}

  async handle(q: Request): Promise<void> {
    try {
      const value = await this.#answer(q);
      const bytes = (value as Output | undefined)?.bytes;
      this.post({ id: q.id, value }, bytes ? [bytes.buffer] : []);
    } catch (e) {
      const error = toWire(e);
      if (q.op !== "call" || !lost(e)) return this.post({ id: q.id, error });
      // The answer first: who called need not wait for the new instance.
      this.#sandbox = undefined;
      this.post({ id: q.id, error, replaced: error });
    }
  }

  async #answer(q: Request): Promise<unknown> {
    switch (q.op) {
      case "read":
      case "take":
        return this.#take(q);
      case "load": {
        const begin = performance.now();
        this.#maxOutput = q.maxOutput;
        const { bytes, digest } = this.#waiting!;
        this.#waiting = undefined;
        const release = await load(bytes, digest, q.options);
        const compiled = performance.now();
        const golden = release.manifest?.golden ?? [];
        if (golden.length) await (await part(import("./golden.js"))).gate(release, golden, { make: () => this.#make(release, true), lost, refused });
        const gated = performance.now();
        await this.#adopt(release);
        return { release, cases: golden.length, compile: compiled - begin, gate: gated - compiled } satisfies Loaded;
      }
      case "adopt":
        this.#maxOutput = q.maxOutput;
        await need(q.release.imports, q.release.functions);
        return this.#adopt(q.release);
      case "call": {
        const s = await this.#instance();
        const f = s.release.functions[q.function];
        if (f.convention === "command") this.#sandbox = undefined; // a program runs once in its memory
        return s.call(f, q.input);
      }
      case "save":
        return this.#carry((s) => ({ bytes: s.save() }));
      case "restore":
        return this.#carry((s) => s.restore(q.state));
    }
  }

  /** Holds a module's bytes for load. */
  async #take(q: Request & { op: "read" | "take" }): Promise<Waiting> {
    try {
      const given = q.op === "take" && (q.bytes instanceof Blob ? new Uint8Array(await q.bytes.arrayBuffer()) : q.bytes);
      const { bytes, mark }: Found = given ? { bytes: given } : await read((q as { at: string }).at, (q as { mark?: string }).mark);
      const digest = bytes && (await digestOf(bytes));
      if (bytes) this.#waiting = { bytes, digest: digest! };
      return { mark, digest };
    } catch (e) {
      if (e instanceof IsomerError) throw e;
      throw new IsomerError("refused", `${q.op === "read" ? q.at : "module"}: read: ${e instanceof Error ? e.message : e}`, { step: "read" });
    }
  }

  async #carry<T>(f: (s: Sandbox) => T): Promise<T> {
    try {
      return f(await this.#instance());
    } catch (e) {
      if (e instanceof IsomerError) throw e;
      throw new IsomerError("trap", e instanceof Error ? e.message : String(e));
    }
  }

  #make(release: Release, rehearsing: boolean): Promise<Sandbox> {
    return Sandbox.make(release, {
      maxOutput: this.#maxOutput,
      rehearsing,
      effects: {
        log: (level, message) => this.post({ id: 0, log: [level, message] }),
        publish: (subject, payload) => this.post({ id: 0, publish: [subject, payload] }, [payload.buffer]),
      },
    });
  }

  async #adopt(release: Release): Promise<void> {
    this.#release = release;
    try {
      this.#sandbox = await this.#make(release, false);
    } catch (e) {
      throw refused(release, "instantiate", e);
    }
  }

  async #instance(): Promise<Sandbox> {
    if (!this.#release) throw new IsomerError("closed", "no module is loaded");
    return (this.#sandbox ??= await this.#make(this.#release, false));
  }
}

export type { ErrorDetails };
