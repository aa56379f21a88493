// What a developer signed, verified here (TUF): TrustClient believes neither hub nor store. It follows fleet/trust/client.go
// step by step, and conformance/trust.json has the cases in which both must have the same verdicts.

import { type Bytes, fromBase64, sha256, toBase64, utf8 } from "./bytes.js";
import { fileName, maxRoots, maxSize, type Pointer, readPointer, readRoot, readTargets, type RoleName, type Root, signers, type Target, type Targets, TrustError, tampered, verify } from "./metadata.js";

export { type Target, TrustError, type Verdict } from "./metadata.js";

/** Where verified metadata is kept. save replaces a record as a whole. */
export interface Records {
  load(name: string): Promise<Bytes | undefined>;
  save(name: string, bytes: Bytes): Promise<void>;
}

export interface TrustOptions {
  records: Records;
  /** The root to begin with, from the enrolment. */
  root: Bytes;
  /** Its SHA-256, from the join token; empty: it is believed as it is. */
  pin?: string;
  /** Brings a file, of at most so many bytes; undefined: the other side has none. */
  fetch: (file: string, most: number) => Promise<Bytes | undefined>;
  /** Milliseconds since 1970. */
  now?: () => number;
  /** Roots that one refresh follows at most; the next one goes on. */
  rootStep?: number;
}

/** A version, and the keys that vouched for it: it counts as long as they could still sign by themselves. */
interface Mark {
  version: number;
  keys: string[];
}

/** What is never gone below. */
interface Floor {
  time: number;
  root: number;
  rootSha256: string;
  timestamp: Mark;
  snapshot: Mark;
  targets: Mark;
}

/** Documents that were verified together. */
interface View {
  root: Root;
  timestamp: Pointer;
  snapshot: Pointer;
  targets: Targets;
}

interface Kept {
  chain: Bytes[]; // roots after the first
  root: Root; // the newest
  running?: View; // what may go on running
  fresh?: View; // the same under the newest root
}

// One value, so that a page that is closed meanwhile leaves the old or the new one. The floor stands in where it is damaged.
const setFile = "metadata.json";
const floorFile = "floor.json";
const maxChain = 4 << 20;
const hour = 3_600_000;
const resave = 24 * hour; // an hourly timestamp alone is written once a day

const text = (b: Bytes): string => new TextDecoder("utf-8", { fatal: true }).decode(b);
const day = (t: number): string => new Date(t).toISOString().slice(0, 16).replace("T", " ") + "Z";
const fail = (verdict: TrustError["verdict"], message: string): never => {
  throw new TrustError(verdict, message);
};

const hints: Record<RoleName, string> = {
  root: "the developer has to renew it", targets: "the developer has to renew it",
  timestamp: "nothing fresh came from the hub since", snapshot: "nothing fresh came from the hub since",
};

function expired(role: RoleName, d: { version: number; expires: number }, now: number): void {
  if (now > d.expires) fail("expired", `${role} ${d.version}: expired on ${day(d.expires)}, and it is ${day(now)}: ${hints[role]}`);
}

function viewExpired(v: View, now: number): void {
  expired("root", v.root, now);
  expired("timestamp", v.timestamp, now);
  expired("snapshot", v.snapshot, now);
  expired("targets", v.targets, now);
}

async function fits(p: Pointer, bytes: Bytes, what: string): Promise<void> {
  if (bytes.length !== p.next.length) tampered(what, `it has ${bytes.length} bytes, and ${p.next.length} were signed`);
  if ((await sha256(bytes)) !== p.next.sha256) tampered(what, "its SHA-256 is another");
}

/** The workflow of the specification, section 5.3, from a root that is trusted. now 0: dates aside. */
class Verifier {
  timestamp?: Pointer;
  snapshot?: Pointer;
  targets?: Targets;

  private constructor(
    public root: Root,
    private now: number,
  ) {}

  static async begin(root: Bytes, now: number): Promise<Verifier> {
    const r = await readRoot(root);
    await verify(r, "root", r, `root ${r.version}`);
    return new Verifier(r, now);
  }

  /** Takes the following root, signed by the keys of the one before and by its own. */
  async next(bytes: Bytes): Promise<void> {
    const what = fileName("root", this.root.version + 1);
    const r = await readRoot(bytes, what);
    await verify(this.root, "root", r, what);
    if (r.version !== this.root.version + 1) fail("rollback", `${what}: it holds version ${r.version}`);
    await verify(r, "root", r, what);
    this.root = r;
  }

  /** Takes a timestamp; false: it is the one that is there already. */
  async takeTimestamp(bytes: Bytes): Promise<boolean> {
    const t = readPointer("timestamp", bytes);
    expired("root", this.root, this.now);
    await verify(this.root, "timestamp", t, "timestamp.json");
    const old = this.timestamp;
    if (old && t.version < old.version) fail("rollback", `timestamp.json: older than what is already trusted: version ${t.version}, and ${old.version} was seen`);
    if (old && t.version === old.version) return false;
    if (old && t.next.version < old.next.version) fail("rollback", `timestamp.json: it names snapshot ${t.next.version}, and ${old.next.version} was seen`);
    this.timestamp = t; // also an expired one: what comes is not older
    expired("timestamp", t, this.now);
    return true;
  }

  /** Takes a snapshot; known: its hash was checked when it was taken first. */
  async takeSnapshot(bytes: Bytes, known: boolean): Promise<void> {
    const what = fileName("snapshot", this.timestamp!.next.version);
    const s = readPointer("snapshot", bytes, what);
    expired("timestamp", this.timestamp!, this.now);
    if (!known) await fits(this.timestamp!, bytes, what);
    await verify(this.root, "snapshot", s, what);
    if (this.snapshot && s.next.version < this.snapshot.next.version) fail("rollback", `${what}: it names targets ${s.next.version}, and ${this.snapshot.next.version} was seen`);
    this.snapshot = s;
    this.final();
  }

  private final(): void {
    expired("snapshot", this.snapshot!, this.now);
    const want = this.timestamp!.next.version;
    if (this.snapshot!.version !== want) fail("rollback", `snapshot ${this.snapshot!.version}: the timestamp names ${want}`);
  }

  async takeTargets(bytes: Bytes): Promise<void> {
    const want = this.snapshot!.next.version;
    const what = fileName("targets", want);
    this.final();
    await fits(this.snapshot!, bytes, what);
    const t = readTargets(bytes, what);
    await verify(this.root, "targets", t, what);
    if (t.version !== want) fail("rollback", `${what}: it holds version ${t.version}`);
    expired("targets", t, this.now);
    this.targets = t;
  }

  view(): View {
    return { root: this.root, timestamp: this.timestamp!, snapshot: this.snapshot!, targets: this.targets! };
  }
}

/** Verifies the three under a root, dates aside. */
async function complete(root: Bytes, timestamp: Bytes, snapshot: Bytes, targets: Bytes): Promise<View> {
  const v = await Verifier.begin(root, 0);
  await v.takeTimestamp(timestamp);
  await v.takeSnapshot(snapshot, false);
  await v.takeTargets(targets);
  return v.view();
}

const counts = (m: Mark, root: Root, role: RoleName): boolean =>
  m.keys.filter((k) => root.roles[role].keys.includes(k)).length >= root.roles[role].threshold;

function above(m: Mark, root: Root, role: RoleName, version: number): void {
  if (version < m.version && counts(m, root, role)) fail("rollback", `${role} ${version}: older than what is already trusted: this node has had version ${m.version}`);
}

/** Knows which releases the developer signed. It works from its records without any network. */
export class TrustClient {
  private kept!: Kept;
  private floor: Floor = { time: 0, root: 0, rootSha256: "", timestamp: none(), snapshot: none(), targets: none() };
  private stored!: { kept: Kept; floor: string };
  private busy: Promise<unknown> = Promise.resolve();
  private damage?: string;

  private constructor(private o: Required<Omit<TrustOptions, "pin">>) {}

  /** Verifies the records from the root on. Damaged ones are left out, and nothing older than they told is taken all the same. */
  static async open(options: TrustOptions): Promise<TrustClient> {
    const sum = await sha256(options.root);
    if (options.pin && sum !== options.pin) fail("tampered", `root: not what was signed: its SHA-256 is ${sum}, and the join token says ${options.pin}`);
    const c = new TrustClient({ now: Date.now, rootStep: 256, ...options });
    c.kept = { chain: [], root: (await Verifier.begin(options.root, 0)).root };
    c.stored = { kept: c.kept, floor: JSON.stringify(c.floor) };
    await c.load();
    return c;
  }

  /** The later of the clock and the time that is known to have passed. */
  now(): number {
    return Math.max(this.o.now() || 0, this.floor.time);
  }

  /** The release, where it may be installed now: the verified list has it, and nothing in the chain has expired. */
  target(ref: string): Target {
    const { fresh, running, root } = this.kept;
    if (!fresh) return fail("no metadata", running ? `release ${ref}: root ${root.version} is newer than the list, refresh first` : `release ${ref}: no verified metadata`);
    viewExpired(fresh, this.now());
    return find(fresh, ref);
  }

  /** Throws unless the release, with this digest, is in the list that was verified last, however long ago. */
  listed(ref: string, digest: string): void {
    if (!this.kept.running) return fail("no metadata", `release ${ref}: no verified metadata`);
    const t = find(this.kept.running, ref);
    if (t.digest !== digest) fail("tampered", `release ${ref}: not what was signed: SHA-256 ${digest.slice(0, 64)}, and ${t.digest} was signed`);
  }

  /** The release that the verified list calls by this digest. */
  named(name: string, digest: string): Target | undefined {
    return [...(this.kept.running?.targets.list.values() ?? [])].find((t) => t.name === name && t.digest === digest);
  }

  get status(): { root: number; targets: number; timestamp: number; damage?: string } {
    const v = this.kept.running;
    return { root: this.kept.root.version, targets: v?.targets.version ?? 0, timestamp: v?.timestamp.version ?? 0, damage: this.damage };
  }

  /** Fetches what is new, verifies it and keeps it. An error leaves what was known, but for new roots. */
  refresh(): Promise<void> {
    const run = this.busy.then(() => this.run());
    this.busy = run.catch(() => undefined);
    return run;
  }

  private async run(): Promise<void> {
    const now = this.now();
    const kept = { ...this.kept, chain: [...this.kept.chain] };
    const floor = structuredClone(this.floor);
    let failed: unknown;
    try {
      await this.follow(kept, floor, now);
      await learn(floor, kept, now);
      this.damage = undefined;
    } catch (e) {
      failed = e;
      await raiseRoot(floor, kept);
      await confirm(kept);
    }
    await this.keep(kept, floor);
    if (failed) throw failed;
  }

  private async fetch(role: RoleName, version = 0): Promise<Bytes | undefined> {
    const b = await this.o.fetch(fileName(role, version), maxSize[role]);
    if (b && b.length > maxSize[role]) tampered(fileName(role, version), `${b.length} bytes, at most ${maxSize[role]} are allowed`);
    return b;
  }

  private async need(role: RoleName, version = 0): Promise<Bytes> {
    return (await this.fetch(role, version)) ?? fail("not found", `${fileName(role, version)}: no such metadata file`);
  }

  private async follow(kept: Kept, floor: Floor, now: number): Promise<void> {
    const v = await Verifier.begin(kept.root.bytes, now);
    await this.roots(v, kept, floor);
    const root = v.root;
    if (root.version < floor.root) fail("rollback", `root ${root.version}: older than what is already trusted: this node has had root ${floor.root}`);
    expired("root", root, now);
    const old = kept.running;
    await this.timestamp(v, old, floor, now);
    const { fresh } = kept;
    const names = v.timestamp!.next;
    if (fresh && fresh.root.version === root.version && names.version === fresh.snapshot.version && names.sha256 === (await sha256(fresh.snapshot.bytes)) && names.length === fresh.snapshot.bytes.length) {
      const same = { ...fresh, root, timestamp: v.timestamp! };
      viewExpired(same, now);
      kept.fresh = kept.running = same;
      return;
    }
    if (!old || !(await quiet(v.takeSnapshot(old.snapshot.bytes, true)))) await v.takeSnapshot(await this.need("snapshot", v.timestamp!.next.version), false);
    const version = v.snapshot!.next.version;
    above(floor.targets, root, "targets", version);
    if (!old || !(await quiet(v.takeTargets(old.targets.bytes)))) await v.takeTargets(await this.need("targets", version));
    kept.fresh = kept.running = v.view();
  }

  /** Goes from the newest root that is known to the newest that there is. */
  private async roots(v: Verifier, kept: Kept, floor: Floor): Promise<void> {
    for (let n = 0; n < this.o.rootStep && v.root.version < maxRoots; n++) {
      const version = v.root.version + 1;
      const b = await this.fetch("root", version);
      if (!b) return;
      await v.next(b);
      await unforked(floor, version, b);
      add(kept, v.root);
    }
  }

  private async timestamp(v: Verifier, old: View | undefined, floor: Floor, now: number): Promise<void> {
    // An old one that fails has expired, which is what a refresh is for, or lost its keys, so that it must not count.
    if (old) await quiet(v.takeTimestamp(old.timestamp.bytes));
    const b = await this.need("timestamp");
    const t = readPointer("timestamp", b);
    if (now > t.expires && (await signers(v.root, "timestamp", t)).length >= v.root.roles.timestamp.threshold) {
      fail("expired", `timestamp.json: expired on ${day(t.expires)}, and it is ${day(now)}: the other side has no fresh one, or holds it back`);
    }
    if (!(await v.takeTimestamp(b))) return;
    above(floor.timestamp, v.root, "timestamp", t.version);
    above(floor.snapshot, v.root, "snapshot", t.next.version);
  }

  private async keep(kept: Kept, floor: Floor): Promise<void> {
    this.kept = kept;
    this.floor = floor;
    const was = this.stored.kept;
    const is = kept.running;
    const differs = was.chain.length !== kept.chain.length || was.running?.root.version !== is?.root.version || was.running?.snapshot !== is?.snapshot ||
      was.running?.targets !== is?.targets || (is && is.timestamp.expires - was.running!.timestamp.expires >= resave);
    if (differs) {
      const b64 = (b: Bytes | undefined): string | undefined => b && toBase64(b);
      const doc = { roots: kept.chain.map(toBase64), at: is?.root.version, timestamp: b64(is?.timestamp.bytes), snapshot: b64(is?.snapshot.bytes), targets: b64(is?.targets.bytes) };
      await this.o.records.save(setFile, utf8(JSON.stringify(doc)));
      this.stored.kept = kept;
    }
    const before = JSON.parse(this.stored.floor) as Floor;
    const now = JSON.stringify(floor);
    if (floor.time - before.time < hour && now === JSON.stringify({ ...before, time: floor.time })) return;
    await this.o.records.save(floorFile, utf8(JSON.stringify({ floor: now, sha256: await sha256(utf8(now)) })));
    this.stored.floor = now;
  }

  private async load(): Promise<void> {
    const b = await this.o.records.load(floorFile);
    try {
      if (b) {
        const sealed = JSON.parse(text(b)) as { floor: string; sha256: string };
        if ((await sha256(utf8(sealed.floor))) !== sealed.sha256) throw new Error("its checksum is wrong");
        this.floor = JSON.parse(sealed.floor) as Floor;
        this.stored.floor = sealed.floor;
      }
    } catch (e) {
      this.damage = `${floorFile}: ${(e as Error).message}`;
    }
    try {
      const set = await this.o.records.load(setFile);
      if (!set) return;
      const k = await this.read(set);
      await this.notOld(k);
      this.kept = k;
      this.stored.kept = k;
    } catch (e) {
      this.damage = `${setFile}: ${(e as Error).message}`;
      return;
    }
    await raiseRoot(this.floor, this.kept);
    if (this.kept.fresh) await learn(this.floor, this.kept, this.floor.time);
  }

  /** Verifies a stored set from the first root on. */
  private async read(set: Bytes): Promise<Kept> {
    const doc = JSON.parse(text(set)) as { roots?: string[]; at?: number; timestamp?: string; snapshot?: string; targets?: string };
    const v = await Verifier.begin(this.o.root, 0);
    const k: Kept = { chain: [], root: v.root };
    let at = v.root;
    for (const r of doc.roots ?? []) {
      await v.next(fromBase64(r));
      add(k, v.root);
      if (v.root.version === doc.at) at = v.root;
    }
    if (!doc.targets) return k;
    k.running = await complete(at.bytes, fromBase64(doc.timestamp!), fromBase64(doc.snapshot!), fromBase64(doc.targets));
    if (at.version !== doc.at) tampered(setFile, `it was verified under root ${doc.at}, which is not in it`);
    if (at === k.root) k.fresh = k.running;
    await confirm(k);
    return k;
  }

  private async notOld(k: Kept): Promise<void> {
    const n = k.root.version;
    if (n < this.floor.root) fail("rollback", `root ${n}: this node has had root ${this.floor.root}`);
    for (const [i, b] of k.chain.entries()) await unforked(this.floor, n - (k.chain.length - 1 - i), b);
    if (!k.running) return;
    above(this.floor.snapshot, k.root, "snapshot", k.running.snapshot.version);
    above(this.floor.targets, k.root, "targets", k.running.targets.version);
  }
}

const none = (): Mark => ({ version: 0, keys: [] });

/** Whether it went well. */
async function quiet(p: Promise<unknown>): Promise<boolean> {
  try {
    await p;
    return true;
  } catch {
    return false;
  }
}

function find(v: View, ref: string): Target {
  return v.targets.list.get(ref) ?? fail("unknown release", `release ${ref}: not in the signed list of releases (targets ${v.targets.version})`);
}

function add(k: Kept, root: Root): void {
  if ([...k.chain, root.bytes].reduce((n, b) => n + b.length, 0) > maxChain) tampered("roots", `their chain has more than ${maxChain} bytes`);
  k.chain.push(root.bytes);
  k.root = root;
  k.fresh = undefined;
}

/** Makes the list fresh where the newest root vouches for it: new roots often leave its keys alone. */
async function confirm(k: Kept): Promise<void> {
  if (k.fresh || !k.running) return;
  const { timestamp, snapshot, targets } = k.running;
  try {
    k.fresh = await complete(k.root.bytes, timestamp.bytes, snapshot.bytes, targets.bytes);
  } catch {
    // the next refresh finds what it vouches for
  }
}

async function raiseRoot(f: Floor, k: Kept): Promise<void> {
  if (k.root.version <= f.root) return;
  f.root = k.root.version;
  f.rootSha256 = await sha256(k.root.bytes);
}

/** Refuses another root of a version that was seen: who has an old root's keys makes one. */
async function unforked(f: Floor, version: number, b: Bytes): Promise<void> {
  if (version === f.root && (await sha256(b)) !== f.rootSha256) tampered(fileName("root", version), "this node has had another root of this version");
}

/** Raises the floor to what was verified, and to the time at which it was valid. */
async function learn(f: Floor, k: Kept, now: number): Promise<void> {
  const v = k.fresh!;
  await raiseRoot(f, k);
  for (const role of ["timestamp", "snapshot", "targets"] as const) {
    const doc = v[role];
    if (doc.version > f[role].version || !counts(f[role], v.root, role)) f[role] = { version: doc.version, keys: await signers(v.root, role, doc) };
  }
  // Never beyond the expiry of a valid timestamp: that is before the expiry of the next.
  for (const t of [now, v.root.signed, v.targets.signed]) f.time = Math.max(f.time, Math.min(t, v.timestamp.expires));
}
