/// <reference lib="esnext.disposable" preserve="true" />
// Module: a module that serves calls, and is replaced while it does.

import { IsomerError, part, type Step } from "./errors.js";
import type { LogLevel } from "./host.js";
import { type ImageSource, toPicture } from "./image.js";
import { Lane, type LaneEvents, type WorkerSource } from "./lane.js";
import { type Convention, isImage, type Manifest } from "./manifest.js";
import { bytesOf, cleaned } from "./memory.js";
import { type Callable, refused, type Release, title } from "./release.js";
import type { Input, Output } from "./sandbox.js";
import { bytesFrom, nameOf, placeOf, type Source } from "./source.js";
import type { Carried } from "./state.js";
import type { Loaded, Waiting } from "./thread.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** What modules may be granted (docs/abi.md section 8.3). Nothing is, unless it is named here. */
export interface Allow {
  log?: (level: LogLevel, message: string, module: { name: string; version: string }) => void;
  clock?: boolean;
  random?: boolean;
  /** By subject, which may have wildcards. */
  publish?: Record<string, (subject: string, payload: Uint8Array) => void>;
}

export interface Options {
  /** Calls served in parallel, each in a worker with its own memory. Default 1, at most 64. */
  instances?: number;
  /** Calls that may wait for an instance; the next one fails with kind "busy". Default 1024. */
  queue?: number;
  /** Milliseconds that a call may take. Its worker is ended then. Default 30000; 0: no limit. */
  deadline?: number;
  /** Milliseconds for a new module's start and golden cases. Default 30000; 0: no limit. */
  gateLimit?: number;
  /** Bytes of memory that an instance may have. Default 256 MiB. */
  memoryLimit?: number;
  /** Bytes of an answer. Default 64 MiB. */
  maxOutput?: number;
  /** Whether a module from a URL or path is kept current with it. Default true. */
  watch?: boolean;
  /** Milliseconds between looks for a new version; a hidden page does not look. Default 5000. */
  interval?: number;
  allow?: Allow;
  /** Called for each event. */
  onEvent?: (e: ModuleEvent) => void;
  /** Where worker.js is. Default: beside the bridge. */
  worker?: WorkerSource;
  /** Functions that a module must have to get into service. */
  functions?: string[];
}

export type EventKind =
  | "detected" | "compiled" | "gated" | "state carried" | "state lost" | "loaded" | "swapped" | "rolled back" | "drained" | "refused"
  | "instance replaced" | "instance lost" | "read failed";

/** Something that happened to a module outside its calls. Times are milliseconds. */
export interface ModuleEvent {
  kind: EventKind;
  name: string;
  version: string;
  digest: string;
  generation: number;
  took?: number;
  cases?: number;
  bytes?: number;
  step?: Step;
  error?: Error;
}

export interface Stats {
  calls: number;
  appErrors: number;
  traps: number;
  limits: number;
  swaps: number;
  refused: number;
  generation: number;
  /** Calls that wait for an instance. */
  waiting: number;
}

export interface CallOptions {
  /** Ends the call, with its worker if the guest runs. */
  signal?: AbortSignal;
  /** Told which release serves the call, by digest, when it has an instance: a swap may come between the call and a look at the module. */
  served?: (digest: string) => void;
}

export type Tensor = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;
export type Tensors = Record<string, Tensor>;

/** What a module offers, as `isomer types model.wasm` writes it for Module.open<Types>. */
export interface Contract {
  /** Functions of call and callJSON. */
  call: string;
  /** Functions of callImage and callImageJSON. */
  image: string;
  /** Functions of callScalar. */
  scalar: string;
  /** The JSON, or the numbers, that functions take and give. */
  functions: Record<string, { input: unknown; output: unknown }>;
  inputs: Tensors;
  outputs: Tensors;
}

/** The JSON that a function answers. */
export type Answer<C extends Contract, F extends string> = C["functions"][F]["output"];
type Numbers = (number | bigint)[];
type Taken<C extends Contract, F extends string> = C["functions"][F]["input"] extends Numbers ? C["functions"][F]["input"] : Numbers;
type Given<C extends Contract, F extends string> = C["functions"][F]["output"] extends Numbers ? C["functions"][F]["output"] : Numbers;

/** What run needs, once a module has it. */
let tensors: typeof import("./tensors.js") | undefined;
/** What a swap needs, once a module has state. */
let state: typeof import("./state.js") | undefined;

const closePatience = 10_000;

/** A release in service: its lanes, from publication until the last call ends. */
export interface Generation {
  release: Release;
  number: number;
  lanes: Lane[];
  free: Lane[];
  /** Told of each lane that becomes free, once retired. */
  idle?: (l: Lane) => void;
}

interface Waiter {
  resolve: (v: { g: Generation; lane: Lane }) => void;
  reject: (e: Error) => void;
}

export class Module<C extends Contract = Contract> {
  #current?: Generation;
  #previous?: Release;
  #waiters: Waiter[] = [];
  #swapping: Promise<unknown> = Promise.resolve();
  /** Where the module is read again, what was there, and the worker that looks. */
  #place?: { at: string; mark?: string; lane?: Lane };
  #timer?: ReturnType<typeof setTimeout>;
  #rejected?: string;
  #closed = false;
  #numbers = { calls: 0, appErrors: 0, traps: 0, limits: 0, swaps: 0, refused: 0 };
  #generations = 0;

  private constructor(
    private o: Required<Omit<Options, "worker" | "onEvent" | "functions">> & Pick<Options, "worker" | "onEvent" | "functions">,
    private fallback: string,
  ) {}

  /**
   * Loads a module and, where it has a URL or path, keeps it current with that. The bytes are compiled, tried on the
   * module's golden cases and put into service; otherwise the promise fails with an error of kind "refused".
   */
  static async open<C extends Contract = Contract>(source: Source, options: Options = {}): Promise<Module<C>> {
    const o = { instances: 1, queue: 1024, deadline: 30_000, gateLimit: 30_000, memoryLimit: 256 << 20, maxOutput: 64 << 20, watch: true, interval: 5000, allow: {}, ...options };
    for (const [name, least, most = Infinity] of [["instances", 1, 64], ["queue", 0], ["memoryLimit", 65536], ["maxOutput", 1]] as const) {
      const n = o[name];
      if (!(n >= least && n <= most && Math.floor(n) === n)) throw new IsomerError("argument", `bad option: ${name} of ${n}, want ${least} to ${most}`);
    }
    const at = placeOf(source);
    const m = new Module<C>(o, at ? nameOf(at) : "module");
    if (at) m.#place = { at };
    const lane = await m.#spare();
    try {
      if (m.#place) await m.#read(m.#place, lane);
      else await lane.take(await bytesFrom(source));
    } catch (e) {
      lane.kill();
      throw e;
    }
    await m.#replace(lane);
    if (at && o.watch) m.#look();
    return m;
  }

  /** The module's name from its manifest, otherwise its file's. */
  get name(): string {
    return this.#serving().name;
  }
  /** The version from the manifest, otherwise the first 12 digits of the digest. */
  get version(): string {
    return this.#serving().version;
  }
  /** SHA-256 of the module's bytes, in hexadecimal. */
  get digest(): string {
    return this.#serving().digest;
  }
  get manifest(): Manifest | undefined {
    return this.#serving().manifest;
  }
  /** What can be called, in the manifest's order, otherwise by name. */
  get functions(): { name: string; convention: Convention; input: string; output: string; doc?: string }[] {
    return this.#serving().functions.map(({ name, convention, input, output, doc }) => ({ name, convention, input, output, doc }));
  }
  get stats(): Stats {
    return { ...this.#numbers, generation: this.#current?.number ?? 0, waiting: this.#waiters.length };
  }

  #serving(): Release {
    if (!this.#current) throw new IsomerError("closed", "module is closed");
    return this.#current.release;
  }

  /**
   * Calls fn with bytes and answers bytes: conventions bytes, wasmtube, tensors (all inputs one after the other),
   * scalar (a JSON array of numbers each way) and command (standard input and output).
   */
  async call(fn: C["call"], input: Uint8Array | string = new Uint8Array(0), o?: CallOptions): Promise<Bytes> {
    const bytes = typeof input === "string" ? bytesOf(input) : (input as Bytes);
    const out = await this.#dispatch(fn, { bytes }, o, (f) => (isImage(f.convention) ? `${fn} takes an image (callImage)` : undefined));
    return out.bytes!;
  }

  /** Calls fn with in as JSON and decodes the JSON that it answers. */
  async callJSON<F extends C["call"]>(fn: F, input: C["functions"][F]["input"], o?: CallOptions): Promise<Answer<C, F>>;
  async callJSON<Out>(fn: C["call"], input: unknown, o?: CallOptions): Promise<Out>;
  async callJSON<Out>(fn: C["call"], input: unknown, o?: CallOptions): Promise<Out> {
    const text = JSON.stringify(input);
    if (text === undefined) throw new IsomerError("argument", `bad argument: ${typeof input} is no JSON`);
    return this.#decode<Out>(fn, await this.call(fn, text, o));
  }

  /** Calls a function that takes an image, and answers its bytes. */
  async callImage(fn: C["image"], image: ImageSource, o?: CallOptions): Promise<Bytes> {
    const { rgb, width, height } = await toPicture(image);
    const out = await this.#dispatch(fn, { bytes: rgb, width, height }, o, (f) =>
      isImage(f.convention) ? undefined : `${fn} takes no image, its convention is ${f.convention} (call)`,
    );
    return out.bytes!;
  }

  /** callImage, with the JSON that it answers decoded. */
  async callImageJSON<F extends C["image"]>(fn: F, image: ImageSource, o?: CallOptions): Promise<Answer<C, F>>;
  async callImageJSON<Out>(fn: C["image"], image: ImageSource, o?: CallOptions): Promise<Out>;
  async callImageJSON<Out>(fn: C["image"], image: ImageSource, o?: CallOptions): Promise<Out> {
    return this.#decode<Out>(fn, await this.callImage(fn, image, o));
  }

  /** Calls a function of numbers; 64-bit integers are bigints. */
  async callScalar<F extends C["scalar"]>(fn: F, ...args: Taken<C, F>): Promise<Given<C, F>> {
    return (await this.#dispatch(fn, { bytes: new Uint8Array(0), args }, undefined, () => undefined)).results as Given<C, F>;
  }

  /** Runs a compiled model: tensors by name, in row-major order. */
  async run(inputs: C["inputs"], o?: CallOptions): Promise<C["outputs"]> {
    const m = this.#serving().manifest;
    const bad = (why: string): Error => new IsomerError("argument", `bad argument: ${why}`);
    const bytes = tensors?.join(m?.inputs ?? [], inputs, bad) ?? new Uint8Array(0);
    const out = await this.#dispatch("run", { bytes }, o, (f) => (f.convention === "tensors" ? undefined : "run has no tensors"));
    return tensors!.split(m?.outputs ?? [], out.bytes!) as C["outputs"];
  }

  #decode<Out>(fn: string, b: Bytes): Out {
    try {
      return JSON.parse(cleaned(b)) as Out;
    } catch (e) {
      throw new IsomerError("result", `${fn}: the answer is no JSON: ${(e as Error).message}`);
    }
  }

  async #dispatch(fn: string, input: Input, o: CallOptions | undefined, unfit: (f: Callable) => string | undefined): Promise<Output> {
    o?.signal?.throwIfAborted();
    const { g, lane } = await this.#acquire(o?.signal);
    const r = g.release;
    o?.served?.(r.digest);
    const at = r.functions.findIndex((f) => f.name === fn);
    const why = at >= 0 ? unfit(r.functions[at]) : undefined;
    if (at < 0 || why) {
      this.#give(g, lane);
      if (why) throw new IsomerError("argument", `${title(r)}: ${fn}: bad argument: ${why}`, { module: title(r), function: fn });
      const have = r.functions.map((f) => f.name).join(", ");
      throw new IsomerError("function", `${title(r)}: no function ${JSON.stringify(fn)}; it has ${have}`, { module: title(r), function: fn });
    }
    const stop = (limit: "deadline" | "canceled", text: string): void =>
      lane.kill(new IsomerError("limit", `${title(r)}: ${fn}: ${limit} limit: ${text}`, { module: title(r), function: fn, limit }));
    const abort = (): void => stop("canceled", "the call was stopped");
    const timer = this.o.deadline ? setTimeout(() => stop("deadline", `stopped after ${this.o.deadline} ms`), this.o.deadline) : undefined;
    o?.signal?.addEventListener("abort", abort);
    this.#numbers.calls++;
    try {
      const out = await lane.ask<Output>({ op: "call", function: at, input });
      this.#give(g, lane);
      return out;
    } catch (e) {
      this.#count(e);
      const killed = e instanceof IsomerError && e.kind === "limit" && (e.limit === "deadline" || e.limit === "canceled");
      if (killed || (e as IsomerError).kind === "closed") void this.#renew(g, lane, e as Error);
      else this.#give(g, lane);
      throw e;
    } finally {
      clearTimeout(timer);
      o?.signal?.removeEventListener("abort", abort);
    }
  }

  #count(e: unknown): void {
    const kind = e instanceof IsomerError ? e.kind : "trap";
    if (kind === "app") this.#numbers.appErrors++;
    else if (kind === "trap") this.#numbers.traps++;
    else if (kind === "limit") this.#numbers.limits++;
  }

  /** Takes a free lane of the generation that serves, or waits for one. */
  #acquire(signal?: AbortSignal): Promise<{ g: Generation; lane: Lane }> {
    const g = this.#current;
    if (!g) return Promise.reject(new IsomerError("closed", "module is closed"));
    const lane = g.free.pop();
    if (lane) return Promise.resolve({ g, lane });
    if (this.#waiters.length >= this.o.queue) return Promise.reject(new IsomerError("busy", `${title(g.release)}: all instances are busy and the queue is full`));
    return new Promise((resolve, reject) => {
      const w: Waiter = { resolve, reject };
      this.#waiters.push(w);
      signal?.addEventListener("abort", () => {
        const k = this.#waiters.indexOf(w);
        if (k < 0) return; // it has its lane
        this.#waiters.splice(k, 1);
        reject(signal.reason);
      });
    });
  }

  /** A lane is free: for who waits, for the pool, or for whoever retires its generation. */
  #give(g: Generation, lane: Lane): void {
    if (g.idle) return g.idle(lane);
    const w = this.#waiters.shift();
    if (w) w.resolve({ g, lane });
    else g.free.push(lane);
  }

  /** Replaces a lane whose worker was ended. */
  async #renew(g: Generation, lane: Lane, why: Error): Promise<void> {
    const k = g.lanes.indexOf(lane);
    if (g.idle || this.#closed || k < 0) {
      g.idle?.(lane);
      return;
    }
    try {
      const fresh = await this.#adopt(g.release);
      g.lanes[k] = fresh;
      this.#emit(g.release, { kind: "instance replaced", error: why });
      this.#give(g, fresh);
    } catch (e) {
      this.#emit(g.release, { kind: "instance lost", error: e as Error });
      await new Promise((r) => setTimeout(r, 1000));
      void this.#renew(g, lane, why);
    }
  }

  /** A lane with nothing in it. */
  #spare(): Promise<Lane> {
    const events: LaneEvents = {
      log: (r, level, message) => {
        const { name, version } = r ?? { name: this.fallback, version: "" };
        this.o.allow.log?.(level, message, { name, version });
      },
      publish: (subject, payload) => this.#publish(subject, payload),
      replaced: (r, error) => this.#emit(r, { kind: "instance replaced", error }),
    };
    return Lane.open(this.o.worker, events);
  }

  #publish(subject: string, payload: Bytes): void {
    for (const [pattern, to] of Object.entries(this.o.allow.publish ?? {})) {
      const p = pattern.split(".");
      const s = subject.split(".");
      const fits = p.every((t, k) => k < s.length && (t === "*" || t === ">" || t === s[k])) && (p.length === s.length || p.at(-1) === ">");
      if (fits) return to(subject, payload);
    }
  }

  async #adopt(r: Release): Promise<Lane> {
    const lane = await this.#spare();
    lane.release = r;
    try {
      await within(this.o.gateLimit, lane, lane.ask({ op: "adopt", release: r, maxOutput: this.o.maxOutput }));
    } catch (e) {
      lane.kill();
      throw e;
    }
    return lane;
  }

  /** Puts bytes into service in place of the present module; the same bytes as now do nothing. */
  swap(bytes: Uint8Array | ArrayBuffer | Blob): Promise<void> {
    return this.#exclusive(async () => {
      this.#serving();
      const own = await bytesFrom(bytes as Source);
      const lane = await this.#spare();
      if ((await lane.take(own)) === this.#serving().digest) lane.kill();
      else await this.#replace(lane);
    });
  }

  /** Puts the module that served before back into service. A second rollback undoes the first. */
  rollback(): Promise<void> {
    return this.#exclusive(async () => {
      const old = this.#current;
      if (!old) throw new IsomerError("closed", "module is closed");
      if (!this.#previous) throw new IsomerError("previous", "no previous module");
      const begin = performance.now();
      const r = this.#previous;
      const lanes = await this.#lanes(r, []);
      const { held, error } = await this.#carry(old, r, lanes);
      this.#rejected = old.release.digest;
      this.#install(r, lanes, held);
      this.#emit(r, { kind: "rolled back", took: performance.now() - begin, error });
    });
  }

  /** One change of what serves at a time. */
  #exclusive<T>(f: () => Promise<T>): Promise<T> {
    const next = this.#swapping.then(f, f);
    this.#swapping = next.catch(() => undefined);
    return next;
  }

  #granted(): string[] {
    const { log, clock, random, publish } = this.o.allow;
    return [...(log ? ["log"] : []), ...(clock ? ["clock"] : []), ...(random ? ["random"] : []), ...Object.keys(publish ?? {}).map((s) => `publish:${s}`)];
  }

  /** Reads the module's place into lane. The digest of what is there, if it is not what was there before. */
  async #read(p: { at: string; mark?: string }, lane: Lane): Promise<string | undefined> {
    const { mark, digest } = await lane.ask<Waiting>({ op: "read", at: p.at, mark: p.mark });
    p.mark = mark;
    return digest;
  }

  /** Puts into service what first has taken or read. */
  async #replace(first: Lane): Promise<void> {
    const begin = performance.now();
    let release: Release | undefined;
    try {
      const options = { name: this.fallback, maxPages: Math.floor(Math.min(this.o.memoryLimit / 65536, 65535)), granted: this.#granted() };
      const loaded = await within(this.o.gateLimit, first, first.ask<Loaded>({ op: "load", options, maxOutput: this.o.maxOutput }));
      release = first.release = loaded.release;
      this.#emit(release, { kind: "compiled", took: loaded.compile });
      const missing = (this.o.functions ?? []).filter((n) => !release!.functions.some((f) => f.name === n));
      if (missing.length) throw refused(release, "compile", `no function ${missing.join(", ")}; it has ${release.functions.map((f) => f.name).join(", ")}`);
      if (release.functions.some((f) => f.convention === "tensors")) tensors ??= await part(import("./tensors.js"));
      if (release.stateful) state ??= await part(import("./state.js"));
      if (loaded.cases) this.#emit(release, { kind: "gated", cases: loaded.cases, took: loaded.gate });
      const lanes = await this.#lanes(release, [first]);
      const old = this.#current;
      let held: Lane[] = [];
      if (old) {
        const carried = await this.#carry(old, release, lanes);
        held = carried.held;
        if (carried.refuses) {
          for (const l of held) this.#give(old, l);
          for (const l of lanes.slice(1)) l.kill();
          throw refused(release, "carry state", carried.refuses);
        }
      }
      this.#install(release, lanes, held);
      if (old) this.#numbers.swaps++;
      this.#emit(release, { kind: old ? "swapped" : "loaded", took: performance.now() - begin });
    } catch (e) {
      first.kill();
      this.#numbers.refused++;
      const error = e as IsomerError;
      this.#rejected = error.digest;
      if (error.kind === "closed" && this.#place) this.#place.mark = undefined; // the module is not to blame: the next look reads it again
      this.#emit(release, { kind: "refused", error, step: error.step });
      throw e;
    }
  }

  async #lanes(r: Release, have: Lane[]): Promise<Lane[]> {
    const made = await Promise.allSettled(Array.from({ length: this.o.instances - have.length }, () => this.#adopt(r)));
    const lanes = made.flatMap((p) => (p.status === "fulfilled" ? [p.value] : []));
    const failed = made.find((p) => p.status === "rejected");
    if (failed) {
      for (const l of lanes) l.kill();
      throw (failed as PromiseRejectedResult).reason;
    }
    return [...have, ...lanes];
  }

  /** Makes r serve, sends waiting callers to it and lets the old generation drain. held are its lanes that are idle. */
  #install(r: Release, lanes: Lane[], held: Lane[]): void {
    const old = this.#current;
    const g: Generation = { release: r, number: ++this.#generations, lanes, free: [...lanes] };
    this.#current = g;
    if (old) {
      this.#previous = old.release;
      this.#retire(old, held);
    }
    while (this.#waiters.length && g.free.length) this.#waiters.shift()!.resolve({ g, lane: g.free.pop()! });
  }

  #retire(g: Generation, held: Lane[]): void {
    const begin = performance.now();
    let left = g.lanes.length;
    g.idle = (lane) => {
      lane.kill();
      if (--left === 0) this.#emit(g.release, { kind: "drained", generation: g.number, took: performance.now() - begin });
    };
    for (const lane of [...g.free, ...held]) g.idle(lane);
    g.free = [];
  }

  /** Moves state from the lanes of old to those of next, if there is any. */
  async #carry(old: Generation, next: Release, lanes: Lane[]): Promise<Carried> {
    if (!old.release.stateful) return { held: [] };
    state ??= await part(import("./state.js"));
    return state.carry(old, next, lanes, { within, save: this.o.deadline, restore: this.o.gateLimit, emit: (e) => this.#emit(next, e) });
  }

  #look(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#check().finally(() => this.#look()), this.o.interval);
    (this.#timer as { unref?: () => void }).unref?.();
  }

  /** Looks whether another module is there. The worker that looks serves it then; the page never has its bytes. */
  async #check(): Promise<void> {
    if (this.#closed || (typeof document !== "undefined" && document.hidden)) return;
    const p = this.#place!;
    let digest: string | undefined;
    try {
      p.lane ??= await this.#spare();
      digest = await this.#read(p, p.lane);
    } catch (error) {
      if ((error as IsomerError).kind === "closed") p.lane = undefined; // its worker does not run
      if (!this.#closed) this.#emit(this.#current?.release, { kind: "read failed", error: error as Error });
    }
    await this.#exclusive(async () => {
      if (this.#closed || !p.lane) return p.lane?.kill();
      if (!digest || digest === this.#serving().digest || digest === this.#rejected) return;
      this.#emit(undefined, { kind: "detected", digest });
      const lane = p.lane;
      p.lane = undefined;
      await this.#replace(lane).catch(() => undefined); // it is an event
    });
  }

  /** Stops watching, refuses new calls and waits up to 10 s for those that run. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#place?.lane?.kill();
    const g = this.#current;
    this.#current = undefined;
    for (const w of this.#waiters.splice(0)) w.reject(new IsomerError("closed", "module is closed"));
    await this.#swapping;
    // A swap that was under way has put another generation into service.
    const late = this.#current as Generation | undefined;
    this.#current = undefined;
    for (const one of [g, late]) {
      if (!one || one.idle) continue;
      await new Promise<void>((resolve) => {
        let left = one.lanes.length;
        const end = setTimeout(() => {
          for (const l of one.lanes) l.kill();
          resolve();
        }, closePatience);
        one.idle = (lane) => {
          lane.kill();
          if (--left === 0) {
            clearTimeout(end);
            resolve();
          }
        };
        for (const lane of one.free.splice(0)) one.idle(lane);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #emit(r: Release | undefined, e: Partial<ModuleEvent> & { kind: EventKind }): void {
    const { name, version, digest } = r ?? { name: this.fallback, version: "", digest: "" };
    this.o.onEvent?.({ name, version, digest, generation: this.#current?.number ?? 0, ...e });
  }
}

/** Ends the lane where its answer takes longer than ms; 0: never. */
async function within<T>(ms: number, lane: Lane, answer: Promise<T>): Promise<T> {
  const timer = ms ? setTimeout(() => lane.kill(new IsomerError("refused", `refused: gate: not done after ${ms} ms`, { step: "gate" })), ms) : undefined;
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
  }
}
