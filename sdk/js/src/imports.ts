// What a module imports, and which permissions it gets for that.

import { type Import, sameType, type Signature, typeName, wasiModule } from "./binary.js";
import type { Manifest } from "./manifest.js";

/** The permission that an import from module needs. */
const interfaceOf = (module: string): string | undefined => /^isomer:host\/(\w+)$/.exec(module)?.[1];

/** Names all imports at once that nobody provides, or that have another type. */
export function checkImports(imports: Import[], have: { wasi?: typeof import("./wasi.js"); host?: typeof import("./host.js") }): void {
  const missing: string[] = [];
  const mismatched: string[] = [];
  for (const i of imports) {
    const types: Record<string, Signature> | undefined = i.module === wasiModule ? have.wasi?.wasiTypes : have.host?.hostTypes[i.module];
    const lent = types && Object.hasOwn(types, i.name) ? types[i.name] : undefined;
    if (!i.type || !lent) missing.push(`${i.module}.${i.name}`);
    else if (!sameType(i.type, lent)) mismatched.push(`${i.module}.${i.name}: the module imports ${typeName(i.type)}, the host has ${typeName(lent)}`);
  }
  const parts: string[] = [];
  if (missing.length === 1) parts.push(`1 import is not provided: ${missing[0]}`);
  else if (missing.length) parts.push(`${missing.length} imports are not provided: ${missing.join(", ")}`);
  if (mismatched.length) parts.push(`wrong type of import ${mismatched.join("; ")}`);
  if (parts.length) throw new Error(parts.join("; "));
}

/** What a module gets (docs/abi.md section 8.3): what its manifest lists, otherwise all that is granted. */
export function permit(imports: Import[], manifest: Manifest | undefined, granted: string[]): string[] {
  const needed = new Set(imports.flatMap((i) => interfaceOf(i.module) ?? []));
  const listed = manifest && (manifest.permissions ?? []);
  const kind = (p: string): string => p.split(":", 1)[0];
  const problems: string[] = [];
  for (const p of listed ?? []) if (!granted.some((g) => covers(g, p))) problems.push(`permission ${p} is not granted`);
  const has = listed ?? granted;
  for (const n of needed) {
    if (!has.some((p) => kind(p) === n)) problems.push(listed ? `it imports isomer:host/${n} without listing a permission for it` : `permission ${n} is not granted`);
  }
  if (problems.length) throw new Error(problems.join("; "));
  return has;
}

function covers(grant: string, p: string): boolean {
  const subject = "publish:";
  if (grant.startsWith(subject) && p.startsWith(subject)) return matchSubject(grant.slice(subject.length), p.slice(subject.length));
  return grant === p;
}

/** Whether subject, which may have wildcards itself, falls under pattern. A wildcard in front never stands for "$…". */
export function matchSubject(pattern: string, subject: string): boolean {
  const p = pattern.split(".");
  const s = subject.split(".");
  for (const [k, t] of p.entries()) {
    if (k >= s.length) return false;
    if (k === 0 && (t === "*" || t === ">") && s[0].startsWith("$")) return false;
    if (t === ">") return true;
    if (t === "*" ? s[k] === ">" : t !== s[k]) return false;
  }
  return p.length === s.length;
}
