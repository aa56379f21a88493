// A Keeper keeps one module as it is desired: it fetches, verifies, gates and swaps, and takes back what turns out to be
// bad. It follows fleet/node/keeper.go, with the bridge's own swap in place of a link to a file.

import { IsomerError, Module, type Options } from "../index.js";
import { type Bytes, sha256 } from "./bytes.js";
import { Damaged, type Source } from "./link.js";
import { Histogram, noCalls } from "./stats.js";
import type { Storage } from "./storage.js";
import { type TrustClient, TrustError } from "./tuf.js";
import { type DesiredModule, isOpen, maxModule, type ModuleReport, type ModuleState } from "./words.js";

/** What a keeper needs of its node. */
export interface House {
  storage: Storage;
  trust: TrustClient;
  source(): Source | undefined;
  options(name: string): Options;
  /** Fetches the signed list anew. */
  refresh(): Promise<void>;
  now(): number;
  log(level: "info" | "warn" | "error", message: string): void;
  event(kind: string, module: string, release: string, reason: string): void;
  denied(what: string, reason: string): void;
  changed(): void;
  /** The module serves from now on, or no more. */
  offer(k: Keeper): void;
  withdraw(k: Keeper): void;
  collect(): Promise<void>;
}

interface Served {
  release: string;
  digest: string;
  since: string;
}

interface Bad {
  digest: string;
  deployment: string;
  state: ModuleState;
  reason: string;
}

/** What outlives the page. */
export interface ModuleRecord {
  desired?: DesiredModule;
  current?: Served;
  previous?: Served;
  bad: Bad[];
}

const maxBad = 16;
// The first calls of a release are judged: where most trap or meet a limit, it is taken back.
const trialCalls = 20;
const retryFirst = 1000;
const retryMost = 60_000;
const windowLook = 30_000;
const drain = 10_000;

/** What no repetition mends: the release is refused. */
class Final extends Error {}

export class Keeper {
  state: ModuleState = "fetching";
  reason = "";
  module?: Module;
  private want?: DesiredModule;
  private gone = false;
  /** The release that must go, and why. */
  private revert?: { digest: string; why: string };
  /** The first calls of the newest release. While it takes over, calls of the one before still end. */
  private trial = { digest: "", calls: 0, failed: 0 };
  private histograms = new Map<string, Histogram>();
  private partial?: { digest: string; bytes: Bytes; at: number };
  /** The record says more than the storage took. */
  private unsaved = false;
  private working = false;
  private again = false;
  private wait = retryFirst;
  private timer?: ReturnType<typeof setTimeout>;
  closed = false;
  private calls = 0;
  private idle?: () => void;

  constructor(
    private house: House,
    readonly name: string,
    readonly record: ModuleRecord,
  ) {}

  get digests(): string[] {
    return [this.record.current?.digest, this.record.previous?.digest, this.want?.digest].filter((d) => d !== undefined);
  }

  private set(state: ModuleState, reason = "", about = this.want?.deployment): void {
    if (this.want && about !== this.want.deployment) return; // asked for something else meanwhile, which is looked at next
    if (this.state === state && this.reason === reason) return;
    this.state = state;
    this.reason = reason;
    this.house.changed();
  }

  private async save(): Promise<void> {
    this.unsaved = true;
    await this.house.storage.put(`module-${this.name}`, structuredClone(this.record));
    this.unsaved = false;
  }

  /** Serves what served last, before there is any network. */
  async boot(): Promise<void> {
    const { current, previous } = this.record;
    if (!current) return;
    for (const [k, s] of [current, previous].entries()) {
      if (!s) continue;
      try {
        this.allowed(s);
        await this.serve(await this.stored(s.digest));
        if (k) {
          Object.assign(this.record, { current: { ...s, since: this.iso() }, previous: current });
          await this.save();
        } else this.set("running", "", undefined);
        return;
      } catch (e) {
        const why = (e as Error).message;
        // The storage's fault and not the release's: it is fetched again.
        this.set(e instanceof IsomerError ? "reverted" : "failed", k ? `${this.reason}; the release before cannot serve either: ${why}` : why, undefined);
        if (!k && e instanceof IsomerError) this.markBad(s.digest, this.record.desired?.deployment ?? "", "reverted", why);
      }
    }
  }

  /** What runs goes on running, unless the verified list calls something else so. */
  private allowed(s: Served): void {
    try {
      this.house.trust.listed(s.release, s.digest);
    } catch (e) {
      if (!(e instanceof TrustError) || e.verdict === "tampered") throw e;
    }
  }

  /** A module that was kept, if it is whole. */
  private async stored(digest: string): Promise<Bytes> {
    const b = await this.house.storage.module(digest);
    if (!b) throw new Error(`module ${digest.slice(0, 12)} is no longer stored here`);
    if ((await sha256(b)) !== digest) throw new Damaged(`module ${digest.slice(0, 12)}: its stored bytes are damaged`);
    return b;
  }

  private iso = (): string => new Date(this.house.now()).toISOString();

  setWant(want: DesiredModule | undefined): void {
    const before = this.want ?? this.record.desired;
    const fresh = want && (want.deployment !== before?.deployment || want.release !== before.release || want.digest !== before.digest);
    this.want = want;
    this.gone = !want;
    if (fresh) {
      this.state = "fetching";
      this.reason = "";
      this.house.changed();
    }
    this.poke();
  }

  /** Looks at what is wanted, now or after the present look. */
  poke(): void {
    clearTimeout(this.timer);
    this.again = true;
    if (!this.working && !this.closed) void this.run();
  }

  private async run(): Promise<void> {
    this.working = true;
    while (this.again && !this.closed) {
      this.again = false;
      let later = 0;
      const about = this.want?.deployment;
      try {
        later = await this.look();
        this.wait = retryFirst;
      } catch (e) {
        const why = (e as Error).message;
        this.house.log("warn", `module ${this.name}: ${why}`);
        this.set("failed", why, about);
        later = this.wait;
        this.wait = Math.min(2 * this.wait, retryMost);
      }
      if (later && !this.again && !this.closed) this.timer = setTimeout(() => this.poke(), later);
    }
    this.working = false;
  }

  /** Brings the module a step on, and says in how many milliseconds to look again without being told; 0: not. */
  private async look(): Promise<number> {
    const { want, record } = this;
    if (this.gone) return this.remove();
    if (this.unsaved) await this.save();
    const { revert } = this;
    this.revert = undefined;
    if (revert && this.worse(revert.digest)) {
      try {
        await this.back(revert.why);
      } catch (e) {
        this.revert = revert; // again, until the storage gives the one before
        throw e;
      }
      this.again = true; // what is wanted by now may be something else
      return 0;
    }
    if (!want) return 0;
    const bad = record.bad.find((b) => b.digest === want.digest && b.deployment === want.deployment);
    if (bad) {
      this.set(bad.state, bad.reason, want.deployment);
      return 0;
    }
    try {
      if (record.current?.digest === want.digest && this.module?.digest === want.digest) {
        if (record.current.release !== want.release) await this.signed(want); // the same bytes under another name
        await this.accept(want);
        return 0;
      }
      if (want.window && record.current && !isOpen(want.window, this.house.now())) {
        this.set("waiting", "for its maintenance window", want.deployment);
        return windowLook;
      }
      const bytes = await this.fetch(want);
      this.set("checking", "", want.deployment);
      await this.change(want, bytes);
    } catch (e) {
      const final = e instanceof Final || (e instanceof IsomerError && e.kind === "refused");
      if (!final) throw e;
      const why = (e as Error).message;
      this.house.event("refused", this.name, want.release, why);
      this.markBad(want.digest, want.deployment, "refused", why);
      this.set("refused", why, want.deployment);
      await this.save();
    }
    return 0;
  }

  private async accept(want: DesiredModule): Promise<void> {
    const { record } = this;
    const same = JSON.stringify(record.desired) === JSON.stringify(want) && record.current!.release === want.release;
    if (!same) {
      record.desired = want;
      record.current!.release = want.release;
      await this.save();
    }
    this.set("running", "", want.deployment);
  }

  /** Wants the developer's signature for exactly this release, digest and size. */
  private async signed(want: DesiredModule): Promise<void> {
    const { trust } = this.house;
    const find = (): ReturnType<TrustClient["target"]> => trust.target(want.release);
    let t: ReturnType<TrustClient["target"]>;
    try {
      t = find();
    } catch {
      await this.house.refresh();
      try {
        t = find();
      } catch (e) {
        if (e instanceof TrustError && e.verdict === "unknown release") throw new Final(e.message);
        throw e;
      }
    }
    if (t.digest !== want.digest || t.size !== want.size) {
      throw new Final(`not what was signed: ${want.release} is signed with ${t.size} bytes and the digest ${t.digest.slice(0, 12)}, and desired with ${want.size} and ${want.digest.slice(0, 12)}`);
    }
    if (t.size > maxModule) throw new Final(`${want.release} has ${t.size} bytes; a node in a browser takes ${maxModule}`);
  }

  private async fetch(want: DesiredModule): Promise<Bytes> {
    this.set("fetching", "", want.deployment);
    await this.signed(want);
    const { storage } = this.house;
    const kept = await this.stored(want.digest).catch(() => undefined);
    if (kept) return kept;
    const source = this.house.source();
    if (!source) throw new Error("not connected");
    // An interrupted transfer goes on where it stopped, while the page lives.
    if (this.partial?.digest !== want.digest) this.partial = { digest: want.digest, bytes: new Uint8Array(want.size), at: 0 };
    try {
      const bytes = await source.module(want.digest, want.size, this.partial);
      const sum = await sha256(bytes);
      if (sum !== want.digest) throw new Damaged(`its SHA-256 is ${sum}, and ${want.digest} was signed`);
      this.partial = undefined;
      await storage.keep(want.digest, bytes).catch((e: Error) => {
        this.house.log("error", `module ${this.name} cannot be stored, and is fetched again after the next start: ${e.message}`);
      });
      this.house.event("fetched", this.name, want.release, "");
      return bytes;
    } catch (e) {
      if (e instanceof Damaged) {
        this.partial = undefined;
        this.house.denied("module", `${want.release}: ${e.message}`);
      }
      throw e;
    }
  }

  /** Opens the module, or swaps it in: golden cases first, then calls move over, and the old instance drains. */
  private async serve(bytes: Bytes): Promise<void> {
    if (this.module) return this.module.swap(bytes);
    this.module = await Module.open(bytes, { ...this.house.options(this.name), watch: false });
    this.house.offer(this);
  }

  private async change(want: DesiredModule, bytes: Bytes): Promise<void> {
    const calls = (want.bindings ?? []).map((b) => b.call);
    const old = this.record.current?.digest === want.digest ? this.record.previous : this.record.current;
    this.trial = { digest: want.digest, calls: 0, failed: 0 };
    this.histograms.set(want.digest, new Histogram());
    await this.serve(bytes);
    const has = new Set(this.module!.functions.map((f) => f.name));
    const missing = calls.find((c) => !has.has(c));
    if (missing) {
      const why = `a binding calls ${missing}, which the module does not have`;
      if (old) await this.serve(await this.stored(old.digest));
      throw new Final(why);
    }
    Object.assign(this.record, { desired: want, current: { release: want.release, digest: want.digest, since: this.iso() }, previous: old });
    for (const d of this.histograms.keys()) if (d !== want.digest && d !== old?.digest) this.histograms.delete(d);
    this.house.event("swapped", this.name, want.release, "");
    await this.save();
    this.set("running", "", want.deployment);
    this.house.changed();
    await this.house.collect();
  }

  private markBad(digest: string, deployment: string, state: ModuleState, reason: string): void {
    this.record.bad = [...this.record.bad, { digest, deployment, state, reason }].slice(-maxBad);
  }

  /** Returns to the release before, and remembers that the present one is bad. */
  private async back(why: string): Promise<void> {
    const { current, previous, desired } = this.record;
    this.house.event("reverted", this.name, current?.release ?? "", why);
    this.markBad(current?.digest ?? "", desired?.deployment ?? "", "reverted", why);
    if (previous) {
      await this.serve(await this.stored(previous.digest));
      Object.assign(this.record, { current: { ...previous, since: this.iso() }, previous: current });
    }
    await this.save();
    this.set("reverted", why, desired?.deployment);
  }

  /** Counts a call of the release with the digest. What the caller did wrong says nothing about it. */
  count(digest: string, ms: number, error: unknown): void {
    const kind = error instanceof IsomerError ? error.kind : undefined;
    const failed = kind === "trap" || (kind === "limit" && (error as IsomerError).limit !== "canceled");
    if (error !== undefined && !failed && kind !== "app") return;
    let h = this.histograms.get(digest);
    if (!h) this.histograms.set(digest, (h = new Histogram()));
    h.add(ms, failed);
    const { trial } = this;
    if (digest !== trial.digest || trial.calls >= trialCalls) return;
    trial.calls++;
    if (failed) trial.failed++;
    if (trial.calls < trialCalls || trial.failed <= trialCalls / 2) return;
    this.revert = { digest, why: `${trial.failed} of its first ${trialCalls} calls failed` };
    this.poke();
  }

  /** Whether the release serves, and is worse than the one before. */
  private worse(digest: string): boolean {
    const { current, previous } = this.record;
    if (current?.digest !== digest || !previous) return false;
    const before = this.histograms.get(previous.digest);
    return !before || before.failed * 10 <= before.calls;
  }

  /** name@version of a digest that serves or served. */
  releaseOf(digest: string): string {
    const { current, previous } = this.record;
    return [current, previous].find((s) => s?.digest === digest)?.release ?? "";
  }

  /** A call begins, or ends: the module is closed after the last one. */
  busy(n: 1 | -1): void {
    this.calls += n;
    if (!this.calls) this.idle?.();
  }

  private async remove(): Promise<number> {
    this.house.withdraw(this);
    await this.close();
    return 0;
  }

  /** Ends the module after its calls, those that wait for an instance too. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    const m = this.module;
    this.module = undefined;
    if (this.calls) await Promise.race([new Promise<void>((r) => (this.idle = r)), new Promise((r) => setTimeout(r, drain))]);
    await m?.close();
  }

  report(): ModuleReport {
    const { current, previous, desired } = this.record;
    const want = this.want ?? desired;
    const of = (digest?: string): ModuleReport["stats"] => (digest && this.histograms.get(digest)?.stats) || noCalls;
    const none = "0001-01-01T00:00:00Z"; // Go's zero
    const bindings = want?.bindings?.map((b) => ({
      name: b.name, received: 0, answered: 0, retried: 0, dead: 0, dropped: 0, unsent: 0, waiting: 0, problem: "nodes in browsers have no bindings",
    })) as ModuleReport["bindings"];
    return {
      name: this.name, state: this.state, desired: want?.release ?? "", deployment: want?.deployment, reason: this.reason || undefined,
      release: this.module ? (current?.release ?? "") : "", digest: this.module ? current?.digest : undefined, since: current?.since ?? none,
      stats: of(current?.digest), previous: previous?.release ?? "", previousStats: of(previous?.digest), bindings,
    };
  }
}
