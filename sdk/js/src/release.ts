// What the bridge knows of a module before it makes an instance: its functions, their conventions, what it may use.

import { type Binary, type Import, isNumeric, manifestOf, readBinary, readSections, sameType, type Signature, typeName, wasiModule, words } from "./binary.js";
import { IsomerError, part, type Step } from "./errors.js";
import { type Convention, encodingsOf, type Encoding, type FunctionSpec, type Manifest, parseManifest } from "./manifest.js";

/** What only some modules need, once one did: files of their own. */
export const some: {
  wasi?: typeof import("./wasi.js");
  host?: typeof import("./host.js");
  numbers?: typeof import("./numbers.js");
  foreign?: typeof import("./foreign.js");
} = {};

/** Loads what these imports and functions need. */
export async function need(imports: Import[], functions: FunctionSpec[]): Promise<void> {
  if (imports.some((i) => i.module === wasiModule)) some.wasi ??= await part(import("./wasi.js"));
  if (imports.some((i) => i.module.startsWith("isomer:host/"))) some.host ??= await part(import("./host.js"));
  if (functions.some((f) => f.convention === "scalar")) some.numbers ??= await part(import("./numbers.js"));
  if (functions.some((f) => f.convention.startsWith("wasmtube"))) some.foreign ??= await part(import("./foreign.js"));
}

/** A function that can be called. */
export interface Callable extends FunctionSpec {
  input: Encoding;
  output: Encoding;
  type: Signature;
  /** The module exports its cabi_post_. */
  post: boolean;
}

/** A module that passed everything that can be known without running it. It crosses between threads. */
export interface Release {
  code: WebAssembly.Module;
  digest: string;
  name: string;
  version: string;
  manifest?: Manifest;
  functions: Callable[];
  imports: Import[];
  /** Permissions that its instances get. */
  may: string[];
  stateful: boolean;
}

export interface ReleaseOptions {
  /** Name of a module without a manifest. */
  name: string;
  /** Pages that an instance may have. */
  maxPages: number;
  /** Permissions that are granted. */
  granted: string[];
}

export const title = (r: { name: string; version: string }): string => `${r.name}@${r.version}`;

const hex = (b: ArrayBuffer): string => Array.from(new Uint8Array(b), (v) => v.toString(16).padStart(2, "0")).join("");

/** SHA-256 in hexadecimal. */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!globalThis.crypto?.subtle) throw new Error("SHA-256 needs a secure context: serve the page by https, or from localhost");
  return hex(await crypto.subtle.digest("SHA-256", bytes));
}

/** Compiles and checks bytes, or throws a refusal that says at which step and why. */
export async function load(bytes: Uint8Array<ArrayBuffer>, digest: string, o: ReleaseOptions): Promise<Release> {
  let step: Step = "manifest";
  let name = o.name;
  let version = digest.slice(0, 12);
  try {
    const sections = readSections(bytes);
    const payload = manifestOf(bytes, sections);
    const manifest = payload && (await parseManifest(payload));
    name = manifest?.name ?? name;
    version = manifest?.version || version;
    step = "compile";
    const bin = readBinary(bytes, sections);
    const maxPages = Math.min(o.maxPages, manifest?.memory?.maxPages || o.maxPages);
    if (bin.minPages > maxPages) throw new Error(`memory limit: the module begins with ${bin.minPages} pages, allowed are ${maxPages}`);
    const code = await WebAssembly.compile(bin.bounded(maxPages));
    step = "permissions";
    const asks = bin.imports.length || manifest?.permissions?.length ? await part(import("./imports.js")) : undefined;
    const may = asks?.permit(bin.imports, manifest, o.granted) ?? [];
    step = "compile";
    const listed = manifest?.functions?.length ? manifest.functions : (await part(import("./foreign.js"))).infer(bin.functions);
    const functions = bind(bin.functions, listed);
    step = "instantiate";
    await need(bin.imports, functions);
    asks?.checkImports(bin.imports, some);
    const stateful = bin.functions.has("isomer_save") && bin.functions.has("isomer_restore");
    return { code, digest, name, version, manifest, functions, imports: bin.imports, may, stateful };
  } catch (e) {
    throw refused({ name, version, digest }, step, e);
  }
}

export function refused(r: { name: string; version: string; digest: string }, step: Step, cause: unknown): IsomerError {
  if (cause instanceof IsomerError && cause.kind === "closed") return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new IsomerError("refused", `${title(r)} (sha256 ${r.digest.slice(0, 12)}) refused: ${step}: ${why}`, { step, digest: r.digest, module: title(r) });
}

/** Types that conventions want; scalar takes any numbers. */
const types: Partial<Record<Convention, Signature>> = {
  bytes: words(2, 1), wasmtube: words(2, 1), image: words(4, 1), "wasmtube-image": words(4, 1), tensors: words(0, 0), command: words(0, 0),
};

function bind(exported: Binary["functions"], listed: FunctionSpec[]): Callable[] {
  const problems: string[] = [];
  const typed = (name: string, want: Signature): void => {
    const t = exported.get(name);
    if (t && !sameType(t, want)) problems.push(`${name} has type ${typeName(t)}, want ${typeName(want)}`);
  };
  if (exported.has("isomer_save") && exported.has("isomer_restore")) {
    typed("isomer_save", words(0, 1));
    typed("isomer_restore", words(2, 0));
  }
  typed("cabi_realloc", words(4, 1));
  const hasRealloc = exported.has("cabi_realloc");
  const out: Callable[] = [];
  for (const f of listed) {
    const type = exported.get(f.name);
    const want = types[f.convention];
    const lifted = f.convention === "bytes" || f.convention === "image";
    if (!type) problems.push(`function ${JSON.stringify(f.name)} of the manifest is not exported`);
    else if (!(want ? sameType(type, want) : isNumeric(type))) problems.push(`${f.name} has type ${typeName(type)}, convention ${f.convention} wants ${want ? typeName(want) : "numbers"}`);
    else if (lifted && !hasRealloc) problems.push(`${f.name}: convention ${f.convention} needs the export cabi_realloc`);
    else {
      const post = lifted && exported.has(`cabi_post_${f.name}`);
      if (post) typed(`cabi_post_${f.name}`, words(1, 0));
      const [input, output] = encodingsOf(f);
      out.push({ ...f, input, output, type, post });
    }
  }
  if (!out.length && !problems.length) problems.push("the module exports no function that can be called");
  if (problems.length) throw new Error(problems.join("\n"));
  return out;
}
