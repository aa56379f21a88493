// Where a node keeps what outlives it: its identity, verified metadata, which modules it runs, and the modules.

import { type Bytes, fromBase64, toBase64 } from "./bytes.js";

/** A node's memory. put replaces a value as a whole. */
export interface Storage {
  /** Whether values may have a CryptoKey in them, whose private half nobody can read then. */
  readonly holdsKeys: boolean;
  get<T>(name: string): Promise<T | undefined>;
  /** undefined: there is no such value any more. */
  put(name: string, value: unknown): Promise<void>;
  /** Modules, by digest. What comes back is checked by the caller. */
  module(digest: string): Promise<Bytes | undefined>;
  keep(digest: string, bytes: Bytes): Promise<void>;
  /** Removes the modules that are not needed. */
  collect(needed: (digest: string) => boolean): Promise<void>;
}

/** In memory, until the page or the process ends. */
export class MemoryStorage implements Storage {
  readonly holdsKeys = true;
  private values = new Map<string, unknown>();
  private modules = new Map<string, Bytes>();

  async get<T>(name: string): Promise<T | undefined> {
    return this.values.get(name) as T | undefined;
  }
  async put(name: string, value: unknown): Promise<void> {
    this.values.set(name, structuredClone(value));
  }
  async module(digest: string): Promise<Bytes | undefined> {
    return this.modules.get(digest)?.slice();
  }
  async keep(digest: string, bytes: Bytes): Promise<void> {
    this.modules.set(digest, bytes.slice());
  }
  async collect(needed: (digest: string) => boolean): Promise<void> {
    for (const d of this.modules.keys()) if (!needed(d)) this.modules.delete(d);
  }
}

const done = <T>(r: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error);
  });

/** In a browser: IndexedDB, and modules in Cache Storage. */
export class BrowserStorage implements Storage {
  readonly holdsKeys = true;

  private constructor(
    private db: IDBDatabase,
    private cache: Cache,
  ) {}

  /** Opens the storage of a name; each has a node of its own. */
  static async open(name = "isomer-node"): Promise<BrowserStorage> {
    if (!globalThis.caches) throw new Error("a node keeps its modules in Cache Storage, which needs a secure context: open the page by https, or from localhost");
    const r = indexedDB.open(name, 1);
    r.onupgradeneeded = () => r.result.createObjectStore("values");
    const db = await done(r);
    db.onversionchange = () => db.close();
    // Otherwise a browser that is short of space may forget the node, key and all. It may say no.
    void navigator.storage?.persist?.();
    return new BrowserStorage(db, await caches.open(`${name}-modules`));
  }

  async get<T>(name: string): Promise<T | undefined> {
    return done(this.db.transaction("values").objectStore("values").get(name));
  }

  async put(name: string, value: unknown): Promise<void> {
    const t = this.db.transaction("values", "readwrite", { durability: "strict" });
    t.objectStore("values").put(value, name);
    return new Promise((resolve, reject) => {
      t.oncomplete = () => resolve();
      t.onabort = () => reject(t.error);
    });
  }

  private at = (digest: string): string => new URL(`/node/modules/${digest}`, location.origin).href;

  async module(digest: string): Promise<Bytes | undefined> {
    const r = await this.cache.match(this.at(digest));
    return r && new Uint8Array(await r.arrayBuffer());
  }

  async keep(digest: string, bytes: Bytes): Promise<void> {
    await this.cache.put(this.at(digest), new Response(bytes, { headers: { "Content-Type": "application/wasm" } }));
  }

  async collect(needed: (digest: string) => boolean): Promise<void> {
    for (const q of await this.cache.keys()) if (!needed(q.url.slice(-64))) await this.cache.delete(q);
  }
}

const bytesField = "base64:";

/** In Node.js: a folder. */
export class FolderStorage implements Storage {
  readonly holdsKeys = false;

  private constructor(
    private dir: string,
    private fs: typeof import("node:fs/promises"),
  ) {}

  static async open(dir: string): Promise<FolderStorage> {
    const node = "node:fs/promises"; // a variable: bundlers for browsers would look for it
    const fs = (await import(/* webpackIgnore: true */ /* @vite-ignore */ node)) as typeof import("node:fs/promises");
    await fs.mkdir(`${dir}/modules`, { recursive: true, mode: 0o700 });
    return new FolderStorage(dir, fs);
  }

  private async read(path: string): Promise<Bytes | undefined> {
    try {
      return new Uint8Array(await this.fs.readFile(`${this.dir}/${path}`));
    } catch (e) {
      if ((e as { code?: string }).code === "ENOENT") return undefined;
      throw e;
    }
  }

  private async write(path: string, bytes: Uint8Array | string): Promise<void> {
    const to = `${this.dir}/${path}`;
    const f = await this.fs.open(`${to}.tmp`, "w", 0o600);
    await f.writeFile(bytes);
    await f.sync();
    await f.close();
    await this.fs.rename(`${to}.tmp`, to);
  }

  async get<T>(name: string): Promise<T | undefined> {
    const b = await this.read(`${name}.json`);
    const revive = (_: string, v: unknown): unknown => (typeof v === "string" && v.startsWith(bytesField) ? fromBase64(v.slice(bytesField.length)) : v);
    return b && (JSON.parse(new TextDecoder().decode(b), revive) as T);
  }

  put(name: string, value: unknown): Promise<void> {
    if (value === undefined) return this.fs.rm(`${this.dir}/${name}.json`, { force: true });
    return this.write(`${name}.json`, JSON.stringify(value, (_, v) => (v instanceof Uint8Array ? bytesField + toBase64(v) : v), 1));
  }

  module(digest: string): Promise<Bytes | undefined> {
    return this.read(`modules/${digest}`);
  }

  keep(digest: string, bytes: Bytes): Promise<void> {
    return this.write(`modules/${digest}`, bytes);
  }

  async collect(needed: (digest: string) => boolean): Promise<void> {
    for (const d of await this.fs.readdir(`${this.dir}/modules`)) if (!needed(d)) await this.fs.rm(`${this.dir}/modules/${d}`);
  }
}
