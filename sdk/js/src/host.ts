// Host functions (docs/abi.md section 8): log, clock, random and publish. Of the others, kv needs storage that answers
// at once, http a request that blocks, and read a file system: no browser lends these to a WebAssembly function.

import { I64, type Signature, words } from "./binary.js";
import { firstWall, fixedRandom, realRandom, tick } from "./fixed.js";
import { matchSubject } from "./imports.js";

const time: Signature = { params: [], results: [I64] };

/** The functions of each interface that this host lends. */
export const hostTypes: Record<string, Record<string, Signature>> = {
  "isomer:host/log": { log: words(3, 0) },
  "isomer:host/clock": { now: time, monotonic: time },
  "isomer:host/random": { bytes: words(2, 0) },
  "isomer:host/publish": { publish: words(5, 0) },
};

export type LogLevel = "debug" | "info" | "warn" | "error";
const levels: LogLevel[] = ["debug", "info", "warn", "error"];

/** Where the effects of host functions go. */
export interface Effects {
  log: (level: LogLevel, message: string) => void;
  publish: (subject: string, payload: Uint8Array<ArrayBuffer>) => void;
}

export interface Lender {
  may: string[];
  /** Golden cases and trials: nothing is real, and nothing leaves. */
  rehearsing: boolean;
  effects: Effects;
  memory: () => ArrayBuffer;
  realloc: () => ((...a: number[]) => number) | undefined;
  /** What the bridge has: this file is one of its own, and errors have to be of the bridge's classes. */
  tools: Pick<typeof import("./memory.js"), "bytesOf" | "cleaned" | "record" | "span" | "utf8" | "Violation">;
}

const maxLine = 64 << 10;
const maxError = 1 << 10;
const maxRandom = 1 << 20;
const maxPayload = 1 << 20;

/** The import objects of what the instance may use. */
export function lend(l: Lender): Record<string, Record<string, (...a: number[]) => unknown>> {
  const { bytesOf, cleaned, record, span, utf8, Violation } = l.tools;
  let ticks = 0n;
  const random = l.rehearsing ? fixedRandom() : realRandom;
  const next = (): bigint => (ticks += tick);

  /** Room in the guest for b, which owns it. */
  const list = (b: Uint8Array, what: string): [number, number] => {
    if (!b.length) return [1, 0];
    const realloc = l.realloc();
    if (!realloc) throw new Violation("the module breaks the contract: it exports no cabi_realloc for the answer");
    const ptr = realloc(0, 0, 1, b.length) >>> 0;
    span(l.memory(), ptr, b.length, `memory from cabi_realloc for ${what}`).set(b);
    return [ptr, b.length];
  };
  const leave = (ret: number, tag: number, ptr = 0, len = 0): void => {
    const r = record(l.memory(), ret, 12, "result record");
    r.setUint8(0, tag);
    r.setUint32(4, ptr, true);
    r.setUint32(8, len, true);
  };

  const all: Record<string, Record<string, (...a: number[]) => unknown>> = {
    log: {
      log: (level, ptr, len) => {
        if (level >>> 0 > 3) throw new Violation(`the module breaks the contract: log level ${level >>> 0}, want 0 to 3`);
        const b = span(l.memory(), ptr >>> 0, len >>> 0, "message");
        l.effects.log(levels[level], cleaned(b.slice(0, maxLine)) + (b.length > maxLine ? "…" : ""));
      },
    },
    clock: {
      now: () => (l.rehearsing ? firstWall + next() : BigInt(Date.now()) * 1000000n),
      monotonic: () => (l.rehearsing ? next() : BigInt(Math.round(performance.now() * 1e6))),
    },
    random: {
      bytes: (len, ret) => {
        len >>>= 0;
        ret >>>= 0;
        if (len > maxRandom) throw new Violation(`the module breaks the contract: ${len} random bytes, at most ${maxRandom} in one call`);
        record(l.memory(), ret, 8, "result record");
        const b = new Uint8Array(len);
        random(b);
        const [ptr, n] = list(b, "list");
        const r = record(l.memory(), ret, 8, "list record");
        r.setUint32(0, ptr, true);
        r.setUint32(4, n, true);
      },
    },
    publish: {
      publish: (sptr, slen, pptr, plen, ret) => {
        ret >>>= 0;
        record(l.memory(), ret, 12, "result record");
        const name = span(l.memory(), sptr >>> 0, slen >>> 0, "subject").slice(0, 1024);
        const payload = span(l.memory(), pptr >>> 0, plen >>> 0, "payload");
        const no = checkPublish(name, payload, l);
        if (no) return leave(ret, 1, ...list(bytesOf(no).slice(0, maxError), "error message"));
        if (!l.rehearsing) l.effects.publish(utf8(name), payload.slice());
        leave(ret, 0);
      },
    },
  };
  const out: typeof all = {};
  for (const [name, functions] of Object.entries(all)) {
    if (l.may.some((p) => p.split(":", 1)[0] === name)) out[`isomer:host/${name}`] = functions;
  }
  return out;
}

function checkPublish(name: Uint8Array, payload: Uint8Array, { may, tools }: Lender): string | undefined {
  let subject: string;
  try {
    subject = tools.utf8(name);
  } catch {
    return "subject is not valid UTF-8";
  }
  if (name.length < 1 || name.length > 255) return `subject of ${name.length} bytes, want 1 to 255`;
  if (/[\s\p{Cc}*>]/u.test(subject) || subject.split(".").includes("")) return `subject ${JSON.stringify(subject)} has an empty token, white space, a control character or a wildcard`;
  if (!may.some((p) => p.startsWith("publish:") && matchSubject(p.slice(8), subject))) return `subject ${JSON.stringify(subject)} is not allowed`;
  if (payload.length > maxPayload) return `payload of ${payload.length} bytes, at most ${maxPayload} are allowed`;
  return undefined;
}
