// A module with everything that a module can do: bytes, pictures, state, and what the host lends.
import { Answer, Image, answer, answerImage, fail, log, ok, okText, restored, save, utf8 } from "./isomer";
import { Header, Request, fetch, kvDelete, kvGet, kvKeys, kvSet, monotonic, now, publish, random, tell } from "./host";
export { cabi_realloc } from "./isomer";

export function count(ptr: usize, len: usize): usize {
  return answer(ptr, len, add);
}

export function brightness(width: u32, height: u32, ptr: usize, len: usize): usize {
  return answerImage(width, height, ptr, len, mean);
}

export function ask(ptr: usize, len: usize): usize {
  return answer(ptr, len, request);
}

export function isomer_save(): usize {
  const state = new Uint8Array(8);
  store<u64>(state.dataStart, total);
  return save(state);
}

export function isomer_restore(ptr: usize, len: usize): void {
  const state = restored(ptr, len);
  if (state.length != 8) throw new Error("the state of another module");
  total = load<u64>(state.dataStart);
}

// What the next version takes over: 8 bytes, little-endian, in each language.
let total: u64 = 0;

function add(input: Uint8Array): Answer {
  total += input.length;
  return okText(total.toString());
}

function mean(p: Image): Answer {
  if (p.rgb.length == 0) return fail("no picture");
  let sum: u64 = 0;
  for (let k = 0; k < p.rgb.length; k++) sum += p.rgb[k];
  return okText(`{"mean":${(sum / p.rgb.length).toString()}}`);
}

function request(input: Uint8Array): Answer {
  const words = lines(String.UTF8.decodeUnsafe(input.dataStart, input.length));
  const name = words[0];
  if (name == "stderr") {
    log(words[1]);
    return okText("ok");
  }
  if (name == "log") {
    tell(<i32>parseInt(words[1]), words[2]);
    return okText("ok");
  }
  if (name == "now") return okText(now().toString());
  if (name == "monotonic") return okText(monotonic().toString());
  if (name == "random") return okText(hex(random(<u32>parseInt(words[1]))));
  if (name == "get") return get(words[1]);
  if (name == "set") return done(kvSet(words[1], utf8(words[2])));
  if (name == "delete") return done(kvDelete(words[1]));
  if (name == "keys") return keys(words[1]);
  if (name == "fetch") return page(words[1], words[2], words[3]);
  if (name == "publish") return done(publish(words[1], utf8(words[2])));
  return fail("no request " + name);
}

// The first three lines, and the rest.
function lines(text: string): string[] {
  const words: string[] = [];
  while (words.length < 3) {
    const end = text.indexOf("\n");
    words.push(end < 0 ? text : text.substring(0, end));
    text = end < 0 ? "" : text.substring(end + 1);
  }
  words.push(text);
  return words;
}

function done(error: string | null): Answer {
  return error === null ? okText("ok") : fail(error);
}

function get(key: string): Answer {
  const r = kvGet(key);
  const error = r.error;
  if (error !== null) return fail(error);
  const value = r.value;
  if (value === null) return okText("none");
  const head = utf8("value ");
  const out = new Uint8Array(head.length + value.length);
  out.set(head);
  out.set(<Uint8Array>value, head.length);
  return ok(out);
}

function keys(prefix: string): Answer {
  const r = kvKeys(prefix);
  const error = r.error;
  return error !== null ? fail(error) : okText(r.keys.join(","));
}

// Answers the status, what the server says about its answer in x-station, and the answer.
function page(method: string, url: string, body: string): Answer {
  const q = new Request(url, method);
  q.headers.push(new Header("x-station", "seven"));
  q.body = utf8(body);
  const r = fetch(q);
  const error = r.error;
  if (error !== null) return fail(error);
  let says = "";
  for (let k = 0; k < r.headers.length; k++) {
    if (r.headers[k].name.toLowerCase() == "x-station") says = r.headers[k].value;
  }
  return okText(`${r.status} ${says} ${String.UTF8.decodeUnsafe(r.body.dataStart, r.body.length)}`);
}

function hex(b: Uint8Array): string {
  const digits = "0123456789abcdef";
  let out = "";
  for (let k = 0; k < b.length; k++) out += digits.charAt(b[k] >> 4) + digits.charAt(b[k] & 15);
  return out;
}
