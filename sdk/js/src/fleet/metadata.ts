// Documents of TUF (The Update Framework, specification 1.0.31) as this project writes them: read strictly, and their
// signatures. What it never writes is refused, as the Go side does (fleet/trust/document.go): delegations, other keys
// than Ed25519, files without hash and length.

import { type Bytes, fromHex, sha256, utf8 } from "./bytes.js";
import { canonical, type Fields, parse, type Value } from "./json.js";

/** Why metadata, or a release, is not taken. */
export type Verdict = "rollback" | "unsigned" | "expired" | "tampered" | "unknown release" | "no metadata" | "not found";

/** What is not to be believed, and why. */
export class TrustError extends Error {
  constructor(
    readonly verdict: Verdict,
    message: string,
  ) {
    super(message);
    this.name = "TrustError";
  }
}

export const roles = ["root", "snapshot", "targets", "timestamp"] as const;
export type RoleName = (typeof roles)[number];

/** Bytes that a file of a role has at most. */
export const maxSize: Record<RoleName, number> = { root: 64 << 10, timestamp: 8 << 10, snapshot: 8 << 10, targets: 900 << 10 };

export const maxRoots = 1024;
const maxKeys = 64; // of a root, and signatures of a document
const maxVersion = 1e15;
const maxModule = 2 ** 31;

export const fileName = (role: RoleName, version: number): string => (role === "timestamp" ? "timestamp.json" : `${version}.${role}.json`);

interface Head {
  version: number;
  /** Milliseconds since 1970. */
  expires: number;
  /** When the developer signed, for clocks that begin in 1970; 0: it does not say. */
  signed: number;
  bytes: Bytes;
  payload: Bytes;
  signatures: Map<string, Bytes>;
}

export interface Role {
  keys: string[];
  threshold: number;
}

export interface Root extends Head {
  keys: Map<string, Bytes>;
  roles: Record<RoleName, Role>;
}

/** A timestamp or snapshot, which names one other file. */
export interface Pointer extends Head {
  next: { version: number; length: number; sha256: string };
}

/** A release in the signed list. */
export interface Target {
  name: string;
  version: string;
  digest: string;
  size: number;
}

export interface Targets extends Head {
  list: Map<string, Target>;
}

/** Refuses a file. */
export function tampered(what: string, why: string): never {
  throw new TrustError("tampered", `${what}: not what was signed: ${why}`);
}

const isObject = (v: Value | undefined): v is Fields => typeof v === "object" && !Array.isArray(v);
const isVersion = (v: Value | undefined): v is number => typeof v === "number" && v >= 1 && v <= maxVersion;

function readTime(v: Value | undefined): number {
  if (typeof v !== "string" || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(v)) return Number.NaN;
  return Date.parse(v);
}

/** Reads what all documents have. Anything in them that is wrong throws "tampered". */
function read(role: RoleName, what: string, bytes: Bytes): { head: Head; signed: Fields } {
  const no = (why: string): never => tampered(what, why);
  if (bytes.length > maxSize[role]) no(`${bytes.length} bytes, at most ${maxSize[role]} are allowed`);
  let doc: Value;
  try {
    doc = parse(bytes);
  } catch (e) {
    return no((e as Error).message);
  }
  if (!isObject(doc) || Object.keys(doc).sort().join() !== "signatures,signed") return no("it is no signed document");
  const { signed, signatures } = doc as { signed: Value; signatures: Value };
  if (!isObject(signed) || !Array.isArray(signatures)) return no("it is no signed document");
  if (signed._type !== role) no(`it is of type ${String(signed._type).slice(0, 20)}, want ${role}`);
  if (!isVersion(signed.version)) return no("its version is out of range");
  const expires = readTime(signed.expires);
  if (Number.isNaN(expires)) no("it has no date of expiry");
  if (signatures.length > maxKeys) no(`${signatures.length} signatures, at most ${maxKeys} are allowed`);
  const by = new Map<string, Bytes>();
  for (const s of signatures) {
    if (!isObject(s) || typeof s.keyid !== "string" || typeof s.sig !== "string") return no("a signature has another form");
    if (by.has(s.keyid)) no(`key ${s.keyid.slice(0, 16)} has signed twice`);
    by.set(s.keyid, fromHex(s.sig, 64) ?? new Uint8Array(0));
  }
  const said = readTime(signed["x-isomer-signed"]);
  const head = { version: signed.version, expires, signed: Number.isNaN(said) ? 0 : said, bytes, payload: utf8(canonical(signed)), signatures: by };
  return { head, signed };
}

export async function readRoot(bytes: Bytes, what = "root"): Promise<Root> {
  const { head, signed } = read("root", what, bytes);
  const no = (why: string): never => tampered(what, why);
  if (head.version > maxRoots) no(`version ${head.version}: a root has at most ${maxRoots} versions`);
  if (signed.consistent_snapshot !== true) no("it does not use consistent snapshots");
  if (!isObject(signed.keys) || !isObject(signed.roles)) return no("it has no keys or roles");
  if (Object.keys(signed.keys).length > maxKeys) no(`more than ${maxKeys} keys`);
  const keys = new Map<string, Bytes>();
  for (const [id, key] of Object.entries(signed.keys)) {
    const value = isObject(key) && isObject(key.keyval) ? fromHex(key.keyval.public, 32) : undefined;
    if (!isObject(key) || key.keytype !== "ed25519" || key.scheme !== "ed25519" || !value) return no(`key ${id.slice(0, 16)} is no Ed25519 key`);
    if ((await sha256(utf8(canonical(key)))) !== id) no(`key ${id.slice(0, 16)} goes under another key's name`);
    keys.set(id, value);
  }
  if (Object.keys(signed.roles).sort().join() !== roles.join()) no(`it has other roles than ${roles.join(", ")}`);
  const by = {} as Record<RoleName, Role>;
  for (const name of roles) {
    const r = signed.roles[name];
    const ids = isObject(r) ? r.keyids : undefined;
    if (!isObject(r) || !Array.isArray(ids) || typeof r.threshold !== "number") return no(`role ${name} has another form`);
    if (r.threshold < 1 || r.threshold > ids.length) no(`role ${name} wants ${r.threshold} signatures of ${ids.length} keys`);
    if (ids.some((id, i) => typeof id !== "string" || !keys.has(id) || ids.indexOf(id) !== i)) no(`role ${name} names a key that is missing or twice`);
    by[name] = { keys: ids as string[], threshold: r.threshold };
  }
  return { ...head, keys, roles: by };
}

export function readPointer(role: "timestamp" | "snapshot", bytes: Bytes, what = fileName("timestamp", 0)): Pointer {
  const { head, signed } = read(role, what, bytes);
  const to = role === "timestamp" ? "snapshot" : "targets";
  const meta = isObject(signed.meta) && Object.keys(signed.meta).join() === `${to}.json` ? signed.meta[`${to}.json`] : undefined;
  if (!isObject(meta)) return tampered(what, `it should name ${to}.json alone`);
  const { version, length, hashes } = meta;
  const sum = isObject(hashes) && Object.keys(hashes).join() === "sha256" ? hashes.sha256 : undefined;
  if (!isVersion(version) || typeof length !== "number" || length < 1 || length > maxSize[to] || !fromHex(sum, 32)) {
    return tampered(what, `version, length or SHA-256 of ${to}.json is missing or out of range`);
  }
  return { ...head, next: { version, length, sha256: sum as string } };
}

const name = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const version = /^[0-9A-Za-z][0-9A-Za-z.+_-]{0,62}$/;

export function readTargets(bytes: Bytes, what: string): Targets {
  const { head, signed } = read("targets", what, bytes);
  if ("delegations" in signed) return tampered(what, "it delegates, which we do not use");
  if (!isObject(signed.targets)) return tampered(what, "it has no targets");
  const list = new Map<string, Target>();
  for (const [path, f] of Object.entries(signed.targets)) {
    const [, n, v] = /^([^/]*)\/(.*)\.wasm$/.exec(path) ?? [];
    if (!n || !name.test(n) || !version.test(v)) return tampered(what, `target ${path.slice(0, 150)} is not of the form name/version.wasm`);
    const sum = isObject(f) && isObject(f.hashes) && Object.keys(f.hashes).join() === "sha256" ? f.hashes.sha256 : undefined;
    if (!isObject(f) || !fromHex(sum, 32) || typeof f.length !== "number" || f.length < 1 || f.length > maxModule) {
      return tampered(what, `target ${path} has no SHA-256, or a length beyond ${maxModule}`);
    }
    if ("custom" in f && !(isObject(f.custom) && f.custom.name === n && f.custom.version === v)) return tampered(what, `target ${path} calls itself something else`);
    list.set(`${n}@${v}`, { name: n, version: v, digest: sum as string, size: f.length });
  }
  return { ...head, list };
}

const imported = new WeakMap<Bytes, Promise<CryptoKey>>();

/** The keys among those of the role whose signature under the document is good. */
export async function signers(root: Root, role: RoleName, doc: Head): Promise<string[]> {
  const good: string[] = [];
  for (const id of root.roles[role].keys) {
    const sig = doc.signatures.get(id);
    const raw = root.keys.get(id)!;
    if (sig?.length !== 64) continue;
    let key = imported.get(raw);
    if (!key) {
      key = crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
      imported.set(raw, key);
    }
    try {
      if (await crypto.subtle.verify("Ed25519", await key, sig, doc.payload)) good.push(id);
    } catch {
      // a key that is no point of the curve signs nothing
    }
  }
  return good;
}

/** Throws "unsigned" unless enough keys of the role signed the document. */
export async function verify(root: Root, role: RoleName, doc: Head, what: string): Promise<void> {
  const { threshold, keys } = root.roles[role];
  const n = (await signers(root, role, doc)).length;
  if (n < threshold) {
    throw new TrustError("unsigned", `${what}: not signed by the keys that may: ${n} good signatures, ${threshold} of ${keys.length} keys must sign`);
  }
}
