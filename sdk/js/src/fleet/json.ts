// JSON that was signed: read strictly, and written in the canonical form over which signatures are made.

export type Value = string | number | boolean | Value[] | { [field: string]: Value };
export type Fields = { [field: string]: Value };

// Ours nests 6 deep; the Go side takes as much.
const maxDepth = 12;

const space = /[ \t\n\r]*/y;
const text = /"[^"\\\u0000-\u001f]*(?:\\[^\u0000-\u001f][^"\\\u0000-\u001f]*)*"/y;
const whole = /-?(?:0|[1-9][0-9]{0,15})(?![0-9.eE])/y;

/**
 * Reads a document. JSON.parse takes more than a signed document may have: null, a field twice, of which it keeps the
 * last, and numbers that are not whole or beyond 2^53. Objects have no prototype.
 */
export function parse(bytes: Uint8Array): Value {
  const s = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  let at = 0;
  const take = (r: RegExp): string | undefined => {
    r.lastIndex = at;
    const m = r.exec(s);
    if (m) at = r.lastIndex;
    return m?.[0];
  };
  const next = (c: string): boolean => {
    take(space);
    if (s[at] !== c) return false;
    at++;
    return true;
  };
  const wrong = (why: string): never => {
    throw new SyntaxError(`at byte ${at}: ${why}`);
  };
  const string = (): string => {
    take(space);
    const t = take(text);
    return t === undefined ? wrong("text is expected") : (JSON.parse(t) as string);
  };
  const value = (depth: number): Value => {
    if (depth > maxDepth) wrong(`it nests deeper than ${maxDepth}`);
    take(space);
    if (s[at] === '"') return string();
    if (next("{")) {
      const o = Object.create(null) as Fields;
      if (next("}")) return o;
      do {
        const field = string();
        if (field in o) wrong(`field ${JSON.stringify(field.slice(0, 40))} is there twice`);
        if (!next(":")) wrong("a colon is expected");
        o[field] = value(depth + 1);
      } while (next(","));
      return next("}") ? o : wrong("an object does not end");
    }
    if (next("[")) {
      const a: Value[] = [];
      if (next("]")) return a;
      do a.push(value(depth + 1));
      while (next(","));
      return next("]") ? a : wrong("a list does not end");
    }
    for (const word of [true, false]) {
      if (s.startsWith(String(word), at)) {
        at += String(word).length;
        return word;
      }
    }
    const n = Number(take(whole) ?? wrong("there is no value that a signed document may have"));
    return Number.isSafeInteger(n) ? n : wrong("the number is beyond 2^53");
  };
  const v = value(0);
  take(space);
  if (at < s.length) wrong("bytes follow the document");
  return v;
}

/** The canonical form (OLPC's): fields in order, no spaces, quotes and backslashes escaped and nothing else. */
export function canonical(v: Value): string {
  if (typeof v === "string") return `"${v.replace(/["\\]/g, "\\$&")}"`;
  if (typeof v !== "object") return String(v);
  if (Array.isArray(v)) return `[${v.map(canonical).join(",")}]`;
  const fields = Object.keys(v).sort(byCodePoint);
  return `{${fields.map((f) => `${canonical(f)}:${canonical(v[f])}`).join(",")}}`;
}

// The order of UTF-8's bytes, which is not that of UTF-16's units.
function byCodePoint(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const high = (c: number): number => (c >= 0xd800 && c < 0xe000 ? 0x10000 : 0);
    return x + high(x) - (y + high(y));
  }
  return a.length - b.length;
}
