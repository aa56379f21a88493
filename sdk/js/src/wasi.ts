// wasi_snapshot_preview1 without files: standard input and output, arguments, clocks, randomness. The answers are
// those of package engine/wasi in Go, so that a module gets the same on each layer.

import { I32, I64, type Signature } from "./binary.js";
import { firstWall, fixedRandom, realRandom, tick } from "./fixed.js";
import { bytesOf, cleaned } from "./memory.js";

/** A guest that ended itself with proc_exit. */
class Exit extends Error {
  constructor(readonly code: number) {
    super(`the module exited with code ${code}`);
  }
}

const success = 0;
const badf = 8;
const fault = 21;
const inval = 28;
const nosys = 52;
const notdir = 54;
const nameTooLong = 37;
const notsup = 58;
const spipe = 70;

/** What one instance is granted. */
export interface Grant {
  /** Name of a command, whose standard output is kept. */
  program?: string;
  /** Throws where a command may not write n bytes in all. */
  checkOutput: (n: number) => void;
  clock: boolean;
  random: boolean;
}

/** i for i32 and I for i64; all but proc_exit return an errno. */
const calls: Record<string, string> = {
  args_get: "ii", args_sizes_get: "ii", environ_get: "ii", environ_sizes_get: "ii", clock_res_get: "ii", clock_time_get: "iIi",
  random_get: "ii", sched_yield: "", poll_oneoff: "iiii", proc_exit: "i", proc_raise: "i",
  fd_advise: "iIIi", fd_allocate: "iII", fd_close: "i", fd_datasync: "i", fd_fdstat_get: "ii", fd_fdstat_set_flags: "ii",
  fd_fdstat_set_rights: "iII", fd_filestat_get: "ii", fd_filestat_set_size: "iI", fd_filestat_set_times: "iIIi", fd_pread: "iiiIi",
  fd_prestat_dir_name: "iii", fd_prestat_get: "ii", fd_pwrite: "iiiIi", fd_read: "iiii", fd_readdir: "iiiIi", fd_renumber: "ii",
  fd_seek: "iIii", fd_sync: "i", fd_tell: "ii", fd_write: "iiii",
  path_create_directory: "iii", path_filestat_get: "iiiii", path_filestat_set_times: "iiiiIIi", path_link: "iiiiiii", path_open: "iiiiiIIii",
  path_readlink: "iiiiii", path_remove_directory: "iii", path_rename: "iiiiii", path_symlink: "iiiii", path_unlink_file: "iii",
  sock_accept: "iii", sock_recv: "iiiiii", sock_send: "iiiii", sock_shutdown: "ii",
};

export const wasiTypes: Record<string, Signature> = Object.fromEntries(
  Object.entries(calls).map(([name, params]) => [
    name,
    { params: Array.from(params, (p) => (p === "i" ? I32 : I64)), results: name === "proc_exit" ? [] : [I32] },
  ]),
);

const maxVectors = 1024;
const maxStderr = 2048;
const maxWait = 2n ** 63n - 1n;

type Args = (number | bigint)[];

/** WASI of one instance. */
export class Wasi {
  #open = [true, true, true];
  #stdin = new Uint8Array(0);
  #read = 0;
  #stdout: Uint8Array[] = [];
  #written = 0;
  #stderr = new Uint8Array(0);
  #wall = firstWall;
  #mono = 0n;
  #began = performance.now();
  #random: (into: Uint8Array<ArrayBuffer>) => void;

  constructor(
    private grant: Grant,
    private memory: () => ArrayBuffer,
  ) {
    this.#random = grant.random ? realRandom : fixedRandom();
  }

  /** The import object's functions. */
  functions(): Record<string, (...a: Args) => unknown> {
    const out: Record<string, (...a: Args) => unknown> = {};
    for (const name of Object.keys(calls)) {
      const own = (this as unknown as Record<string, ((...a: Args) => number) | undefined>)[name];
      const kinds = calls[name];
      out[name] = (...a) => {
        const words = a.map((v, k) => (kinds[k] === "i" ? (v as number) >>> 0 : v));
        return own ? own.apply(this, words) : this.#other(name, words);
      };
    }
    return out;
  }

  /** Forgets what was written to standard error: a call begins. */
  begin(): void {
    this.#stderr = new Uint8Array(0);
  }

  /** The end of standard error in whole lines. */
  said(): string {
    let text = this.#stderr;
    if (text.length === maxStderr) text = text.subarray(text.indexOf(10) + 1);
    return cleaned(text).trim();
  }

  /** Runs a command: standard output is its answer. says makes the error of one that exits with another code than 0. */
  command(run: () => void, stdin: Uint8Array<ArrayBuffer>, says: (message: string) => Error): Uint8Array<ArrayBuffer> {
    this.#stdin = stdin;
    this.#read = 0;
    try {
      run();
    } catch (e) {
      if (!(e instanceof Exit)) throw e;
      const text = this.said();
      if (e.code) throw says(`exit code ${e.code}${text && ": "}${text}`);
    }
    const out = new Uint8Array(this.#written);
    let at = 0;
    for (const b of this.#stdout) {
      out.set(b, at);
      at += b.length;
    }
    return out;
  }

  #args(): string[] {
    return this.grant.program === undefined ? [] : [this.grant.program];
  }

  #write(fd: 1 | 2, data: Uint8Array): void {
    if (fd === 2) {
      const all = new Uint8Array(this.#stderr.length + data.length);
      all.set(this.#stderr);
      all.set(data, this.#stderr.length);
      this.#stderr = all.slice(-maxStderr);
    } else if (this.grant.program !== undefined) {
      this.#written += data.length;
      this.grant.checkOutput(this.#written);
      this.#stdout.push(data.slice());
    }
  }

  #span(ptr: number, len: number): Uint8Array<ArrayBuffer> | undefined {
    const mem = this.memory();
    return ptr + len > mem.byteLength ? undefined : new Uint8Array(mem, ptr, len);
  }

  #put32(ptr: number, v: number): number {
    const b = this.#span(ptr, 4);
    if (!b) return fault;
    new DataView(b.buffer, ptr).setUint32(0, v, true);
    return success;
  }

  #put64(ptr: number, v: bigint): number {
    const b = this.#span(ptr, 8);
    if (!b) return fault;
    new DataView(b.buffer, ptr).setBigUint64(0, BigInt.asUintN(64, v), true);
    return success;
  }

  /** What has no function of its own: calls about files, of which there are none but standard input and output. */
  #other(name: string, a: Args): number {
    const fd = a[name === "path_symlink" ? 2 : 0] as number;
    if (name === "fd_fdstat_set_rights" || name === "proc_raise") return nosys;
    if (name.startsWith("sock_") || !this.#open[fd]) return badf;
    if (name.startsWith("path_")) return notdir;
    switch (name) {
      case "fd_sync":
      case "fd_datasync":
        return success;
      case "fd_allocate":
      case "fd_filestat_set_size":
      case "fd_filestat_set_times":
        return nosys;
      case "fd_readdir":
        return notdir;
    }
    return spipe; // fd_seek, fd_tell
  }

  #strings(list: string[], where: number, text: number): number {
    if (!this.#span(where, 4 * list.length) || !this.#span(text, 0)) return fault;
    for (const [k, s] of list.entries()) {
      const b = bytesOf(s + "\0");
      const to = this.#span(text, b.length);
      if (!to) return fault;
      to.set(b);
      this.#put32(where + 4 * k, text);
      text += b.length;
    }
    return success;
  }

  #sizes(list: string[], count: number, size: number): number {
    const total = list.reduce((n, s) => n + bytesOf(s).length + 1, 0);
    return Math.max(this.#put32(count, list.length), this.#put32(size, total));
  }

  args_get(where: number, text: number): number {
    return this.#strings(this.#args(), where, text);
  }
  args_sizes_get(count: number, size: number): number {
    return this.#sizes(this.#args(), count, size);
  }
  environ_get(where: number, text: number): number {
    return this.#strings([], where, text);
  }
  environ_sizes_get(count: number, size: number): number {
    return this.#sizes([], count, size);
  }

  clock_res_get(clock: number, at: number): number {
    return clock > 1 ? inval : this.#put64(at, clock ? 1n : 1000n);
  }
  clock_time_get(clock: number, _precision: bigint, at: number): number {
    if (clock > 1) return inval;
    const now = this.#now(clock);
    if (!this.grant.clock) this.#advance(clock, tick);
    return this.#put64(at, now);
  }
  #now(clock: number): bigint {
    if (!this.grant.clock) return clock ? this.#mono : this.#wall;
    return clock ? BigInt(Math.round((performance.now() - this.#began) * 1e6)) : BigInt(Date.now()) * 1000000n;
  }
  #advance(clock: number, ns: bigint): void {
    const later = (t: bigint): bigint => (t + ns > maxWait ? maxWait : t + ns);
    if (clock) this.#mono = later(this.#mono);
    else this.#wall = later(this.#wall);
  }

  random_get(ptr: number, len: number): number {
    const b = this.#span(ptr, len);
    if (!b) return fault;
    this.#random(b);
    return success;
  }

  sched_yield(): number {
    return success;
  }
  proc_exit(code: number): never {
    throw new Exit(code);
  }

  /** Without a clock the time that a guest would sleep has passed at once; with one it is slept. */
  poll_oneoff(from: number, to: number, n: number, count: number): number {
    if (!n || n > maxVectors) return inval;
    const subs = this.#span(from, n * 48)?.slice();
    if (!subs || !this.#span(to, n * 32) || !this.#span(count, 4)) return fault;
    const view = new DataView(subs.buffer);
    const waits: bigint[] = [];
    for (let k = 0; k < n; k++) {
      const at = k * 48;
      const kind = subs[at + 8];
      if (kind > 2) return inval;
      if (kind) {
        waits.push(0n);
        continue;
      }
      const clock = view.getUint32(at + 16, true);
      if (clock > 1) return inval;
      let ns = view.getBigUint64(at + 24, true);
      if (ns > maxWait) ns = maxWait;
      if (subs[at + 40] & 1) ns = ns > this.#now(clock) ? ns - this.#now(clock) : 0n;
      waits.push(ns);
    }
    const wait = waits.reduce((a, b) => (a < b ? a : b));
    if (wait > 0n) this.#sleep(wait);
    const out = new Uint8Array(n * 32);
    let events = 0;
    for (let k = 0; k < n; k++) {
      if (waits[k] > wait) continue;
      const e = events++ * 32;
      const at = k * 48;
      out.set(subs.subarray(at, at + 8), e);
      out[e + 10] = subs[at + 8];
      if (subs[at + 8] && !this.#open[view.getUint32(at + 16, true)]) out[e + 8] = badf;
    }
    this.#span(to, events * 32)!.set(out.subarray(0, events * 32));
    return this.#put32(count, events);
  }
  #sleep(ns: bigint): void {
    if (!this.grant.clock) {
      this.#advance(0, ns);
      this.#advance(1, ns);
      return;
    }
    // Where nothing may block the clock is watched; a deadline ends the thread.
    const end = performance.now() + Number(ns) / 1e6;
    try {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ns) / 1e6);
    } catch {
      while (performance.now() < end);
    }
  }

  fd_close(fd: number): number {
    if (!this.#open[fd]) return badf;
    this.#open[fd] = false;
    return success;
  }
  fd_renumber(from: number, to: number): number {
    return this.#open[from] && this.#open[to] ? notsup : badf;
  }
  fd_advise(fd: number, _offset: bigint, _len: bigint, advice: number): number {
    if (!this.#open[fd]) return badf;
    return (advice & 0xff) >= 6 ? inval : success;
  }
  fd_fdstat_set_flags(fd: number, flags: number): number {
    if (flags & 0b11010) return inval;
    if (!this.#open[fd]) return badf;
    return flags & 0b100 ? nosys : success;
  }
  fd_fdstat_get(fd: number, at: number): number {
    const b = this.#span(at, 24);
    if (!b) return fault;
    if (!this.#open[fd]) return badf;
    b.fill(0);
    b[0] = 1; // a block device, as Go's answer has it
    new DataView(b.buffer, at).setBigUint64(8, 0x8e001ffn, true);
    return success;
  }
  fd_filestat_get(fd: number, at: number): number {
    const b = this.#span(at, 64);
    if (!b) return fault;
    if (!this.#open[fd]) return badf;
    b.fill(0);
    b[16] = 1;
    b[24] = 1;
    return success;
  }
  fd_prestat_get(fd: number, at: number): number {
    return this.#open[fd] ? this.#put64(at, 0n) : badf;
  }
  fd_prestat_dir_name(fd: number, at: number, len: number): number {
    if (!this.#open[fd]) return badf;
    if (len > 0) return nameTooLong;
    return this.#span(at, 0) ? success : fault;
  }

  #vectors(ptr: number, n: number): Uint8Array<ArrayBuffer>[] | number {
    if (n > maxVectors) return inval;
    if (!this.#span(ptr, 8 * n)) return fault;
    const mem = this.memory();
    const list = new DataView(mem, ptr, 8 * n);
    const out: Uint8Array<ArrayBuffer>[] = [];
    let total = 0;
    for (let k = 0; k < n; k++) {
      const b = this.#span(list.getUint32(8 * k, true), list.getUint32(8 * k + 4, true));
      if (!b) return fault;
      total += b.length;
      out.push(b);
    }
    return total > mem.byteLength ? inval : out;
  }
  fd_read(fd: number, ptr: number, n: number, at: number): number {
    if (fd !== 0 || !this.#open[0]) return badf;
    const v = this.#vectors(ptr, n);
    if (typeof v === "number") return v;
    if (!this.#span(at, 4)) return fault;
    let moved = 0;
    for (const b of v) {
      const part = this.#stdin.subarray(this.#read, this.#read + b.length);
      b.set(part);
      this.#read += part.length;
      moved += part.length;
      if (part.length < b.length) break;
    }
    return this.#put32(at, moved);
  }
  fd_write(fd: number, ptr: number, n: number, at: number): number {
    if ((fd !== 1 && fd !== 2) || !this.#open[fd]) return badf;
    const v = this.#vectors(ptr, n);
    if (typeof v === "number") return v;
    if (!this.#span(at, 4)) return fault;
    let moved = 0;
    for (const b of v) {
      if (b.length) this.#write(fd, b);
      moved += b.length;
    }
    return this.#put32(at, moved);
  }
  fd_pread(fd: number, ptr: number, n: number): number {
    if (!this.#open[fd]) return badf;
    const v = this.#vectors(ptr, n);
    return typeof v === "number" ? v : spipe;
  }
  fd_pwrite(fd: number, ptr: number, n: number): number {
    return this.fd_pread(fd, ptr, n);
  }
}
