// host.ts: what the host lends, for modules in AssemblyScript.
//
// A module imports what it calls and nothing else, so that a host refuses only those that want what it does
// not grant; the permission stands at each function. AssemblyScript has no exceptions: what can fail answers
// an object whose error is null where all went well.
//
// Compatibility: v0, may change until 1.0.
import { received, utf8 } from "./isomer";

export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

// What the host answers: a value, null where there is none, or an error.
export class Reply {
  constructor(public value: Uint8Array | null, public error: string | null) {}
}

export class Keys {
  constructor(public keys: string[], public error: string | null) {}
}

export class Header {
  constructor(public name: string, public value: string) {}
}

export class Request {
  headers: Header[] = [];
  body: Uint8Array = new Uint8Array(0);
  constructor(public url: string, public method: string = "GET") {}
}

export class Response {
  status: u16 = 0;
  headers: Header[] = [];
  body: Uint8Array = new Uint8Array(0);
  error: string | null = null;
}

// Gives the host's log a line. Permission "log".
export function tell(level: Level, line: string): void {
  const b = utf8(line);
  importLog(level, b.dataStart, b.length);
}

// Nanoseconds since 1970. Permission "clock".
export function now(): u64 {
  return importNow();
}

// Nanoseconds since some moment that stays the same while the instance lives. Permission "clock".
export function monotonic(): u64 {
  return importMonotonic();
}

// Bytes that nobody can foretell. Permission "random".
export function random(len: u32): Uint8Array {
  importRandom(len, ret);
  return received(load<usize>(ret), load<usize>(ret, 4));
}

// Values that outlive the instance and are there for the module's next version. Permission "kv".
export function kvGet(key: string): Reply {
  const k = utf8(key);
  importGet(k.dataStart, k.length, ret);
  if (load<u8>(ret) != 0) return new Reply(null, text(ret + 4));
  if (load<u8>(ret, 4) == 0) return new Reply(null, null);
  return new Reply(received(load<usize>(ret, 8), load<usize>(ret, 12)), null);
}

// The functions that give nothing back answer the error, null where there is none.
export function kvSet(key: string, value: Uint8Array): string | null {
  const k = utf8(key);
  importSet(k.dataStart, k.length, value.dataStart, value.length, ret);
  return failed();
}

export function kvDelete(key: string): string | null {
  const k = utf8(key);
  importDelete(k.dataStart, k.length, ret);
  return failed();
}

// The keys that begin with prefix.
export function kvKeys(prefix: string): Keys {
  const p = utf8(prefix);
  importKeys(p.dataStart, p.length, ret);
  const wrong = failed();
  const out = new Keys([], wrong);
  if (wrong !== null) return out;
  const list = received(load<usize>(ret, 4), load<usize>(ret, 8) * 8);
  for (let at = 0; at < list.length; at += 8) out.keys.push(text(list.dataStart + at));
  return out;
}

// Asks an HTTP server. Permission "http:HOST" of each host.
export function fetch(r: Request): Response {
  const method = utf8(r.method == "" ? "GET" : r.method);
  const url = utf8(r.url);
  const texts: Uint8Array[] = []; // alive until the call is over
  const headers = new Uint8Array(16 * r.headers.length);
  for (let k = 0; k < r.headers.length; k++) {
    const at = headers.dataStart + 16 * k;
    texts.push(list(at, r.headers[k].name));
    texts.push(list(at + 8, r.headers[k].value));
  }
  importFetch(method.dataStart, method.length, url.dataStart, url.length, headers.dataStart, r.headers.length, r.body.dataStart, r.body.length, ret);
  const out = new Response();
  out.error = failed();
  if (out.error !== null || texts.length != 2 * r.headers.length) return out;
  out.status = load<u16>(ret, 4);
  const lines = received(load<usize>(ret, 8), load<usize>(ret, 12) * 16);
  out.body = received(load<usize>(ret, 16), load<usize>(ret, 20));
  for (let at = 0; at < lines.length; at += 16) {
    out.headers.push(new Header(text(lines.dataStart + at), text(lines.dataStart + at + 8)));
  }
  return out;
}

// Sends a message to whoever listens to the subject. Permission "publish:SUBJECT".
export function publish(subject: string, payload: Uint8Array): string | null {
  const s = utf8(subject);
  importPublish(s.dataStart, s.length, payload.dataStart, payload.length, ret);
  return failed();
}

// Where the host leaves its results, laid out by the canonical ABI.
const ret: usize = memory.data(24, 4);

function failed(): string | null {
  return load<u8>(ret) == 0 ? null : text(ret + 4);
}

// Takes over the string whose address and length stand at the place.
function text(place: usize): string {
  const b = received(load<usize>(place), load<usize>(place, 4));
  return String.UTF8.decodeUnsafe(b.dataStart, b.length);
}

// Writes address and length of a string to the place.
function list(place: usize, s: string): Uint8Array {
  const b = utf8(s);
  store<usize>(place, b.dataStart);
  store<usize>(place, <usize>b.length, 4);
  return b;
}

// The functions of guest/wit, as the canonical ABI lowers them.

// @ts-ignore: decorator
@external("isomer:host/log", "log")
declare function importLog(level: u32, line: usize, len: i32): void;
// @ts-ignore: decorator
@external("isomer:host/clock", "now")
declare function importNow(): u64;
// @ts-ignore: decorator
@external("isomer:host/clock", "monotonic")
declare function importMonotonic(): u64;
// @ts-ignore: decorator
@external("isomer:host/random", "bytes")
declare function importRandom(len: u32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/kv", "get")
declare function importGet(key: usize, len: i32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/kv", "set")
declare function importSet(key: usize, len: i32, value: usize, n: i32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/kv", "delete")
declare function importDelete(key: usize, len: i32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/kv", "keys")
declare function importKeys(prefix: usize, len: i32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/http", "fetch")
declare function importFetch(method: usize, methodLen: i32, url: usize, urlLen: i32, headers: usize, count: i32, body: usize, len: i32, ret: usize): void;
// @ts-ignore: decorator
@external("isomer:host/publish", "publish")
declare function importPublish(subject: usize, len: i32, payload: usize, n: i32, ret: usize): void;
