// FleetNode: a page, a phone or a Node.js program as a node of a fleet.

import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";

import { type ImageSource, IsomerError, type LogLevel, type Module, type Options, toPicture, type WorkerSource } from "../index.js";
import { type Bytes, fromBase64, sha256, utf8 } from "./bytes.js";
import { makeKey, type NodeKey } from "./key.js";
import { type House, Keeper, type ModuleRecord } from "./keeper.js";
import { connect, headersOf, NotThere, Source, type WebSocketMaker } from "./link.js";
import { PagePower, type Power } from "./power.js";
import { BrowserStorage, MemoryStorage, type Storage } from "./storage.js";
import { TrustClient, TrustError } from "./tuf.js";
import { decodeDesired, type Enrolment, header, type LogLine, nameOf, parseToken, type Report, reportEvery, subject } from "./words.js";

export interface NodeOptions {
  /** Default: the browser's, and memory where there is none. */
  storage?: Storage;
  /** Base URL of the hub. Default: the token's first that answers. */
  hub?: string;
  /** Where worker.js of the bridge is. */
  worker?: WorkerSource;
  webSocket?: WebSocketMaker;
  /** Of each module: bytes of memory, milliseconds of a call, instances. Default: the bridge's. */
  memoryLimit?: number;
  deadline?: number;
  instances?: number;
  power?: Power;
  /** Version of the program, for reports. */
  version?: string;
  /** Told after whatever a report would tell of. */
  onChange?: () => void;
  /** Milliseconds since 1970. */
  now?: () => number;
}

interface Identity {
  token: string; // SHA-256 of the join token's secret
  key: NodeKey;
  hubs: string[];
  pin: string;
  enrolment?: Enrolment;
}

/** What a module answered. */
export interface Answer {
  body: Bytes;
  /** MIME type. */
  encoding: string;
  release: string;
  digest: string;
  /** Milliseconds. */
  took: number;
}

const keptLines = 500;
const maxLine = 4096;
const followFor = 30_000;
const gather = 50;
const lookAgain = 60_000;
const resign = 3_600_000;
const parallelCalls = 64;
const maxUnsent = 100;
const firstWait = 250;
const longestWait = 30_000;
const stopPatience = 2000;

const defaultStorage = (): Promise<Storage> => (typeof indexedDB === "undefined" ? Promise.resolve(new MemoryStorage()) : BrowserStorage.open());

const jitter = (ms: number): number => Math.random() * (ms / 5);

export class FleetNode implements House {
  private keepers = new Map<string, Keeper>();
  private nc?: NatsConnection;
  private from?: Source;
  private subscriptions = new Map<string, Subscription[]>();
  private heard = 0n;
  private lines: LogLine[] = [];
  private followed = 0;
  private unsent: { kind: string; body: string }[] = [];
  private sequence = 0;
  private problems = new Map<string, string>();
  private quota = { minute: 0, all: 0, each: new Map<string, number>(), missed: 0 };
  private started = new Date().toISOString();
  private boot = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  private reporting?: ReturnType<typeof setTimeout>;
  private timers: ReturnType<typeof setInterval>[] = [];
  private wake?: () => void;
  private stopped = false;
  private running?: Promise<void>;
  private unwatch?: () => void;
  trust!: TrustClient;

  private constructor(
    private o: NodeOptions,
    readonly storage: Storage,
    private identity: Identity & { enrolment: Enrolment },
    readonly power: Power,
  ) {}

  /** Makes this place a node by a join token: it makes a key and has the hub sign for it. The same token again is the same node. */
  static async join(token: string, options: NodeOptions = {}): Promise<FleetNode> {
    const t = parseToken(token);
    const storage = options.storage ?? (await defaultStorage());
    const hash = await sha256(utf8(t.secret));
    let id = await storage.get<Identity>("identity");
    if (id?.enrolment && id.token !== hash) throw new Error(`this is node ${id.enrolment.node} already; forget it first`);
    if (!id || id.token !== hash) {
      // Kept before anybody is asked: the answer to a request that is cut off can be asked for again.
      id = { token: hash, key: await makeKey(!storage.holdsKeys), hubs: options.hub ? [options.hub] : t.hubs, pin: t.root };
      await storage.put("identity", id);
    }
    if (!id.enrolment) {
      id.enrolment = await enrol(id, t.secret);
      await storage.put("identity", id);
    }
    return (await FleetNode.open({ ...options, storage }))!;
  }

  /** The node that joined from here before, with what served last; undefined: none did. */
  static async open(options: NodeOptions = {}): Promise<FleetNode | undefined> {
    const storage = options.storage ?? (await defaultStorage());
    const id = await storage.get<Identity>("identity");
    if (!id?.enrolment) return undefined;
    const n = new FleetNode(options, storage, id as Identity & { enrolment: Enrolment }, options.power ?? new PagePower());
    n.trust = await TrustClient.open({
      root: fromBase64(id.enrolment.root), pin: id.pin, now: () => n.now(),
      records: { load: (name) => storage.get(`trust-${name}`), save: (name, b) => storage.put(`trust-${name}`, b) },
      fetch: async (file) => {
        if (!n.from) throw new Error("not connected");
        return n.from.metadata(file);
      },
    });
    for (const name of (await storage.get<string[]>("modules")) ?? []) {
      const record = (await storage.get<ModuleRecord>(`module-${name}`)) ?? { bad: [] };
      n.keepers.set(name, new Keeper(n, name, record));
    }
    await Promise.all([...n.keepers.values()].map((k) => k.boot()));
    n.event("started", "", "", "");
    return n;
  }

  /** Forgets who this place was. The node goes on existing at the hub until it is revoked there. */
  static async forget(storage?: Storage): Promise<void> {
    const s = storage ?? (await defaultStorage());
    for (const name of (await s.get<string[]>("modules")) ?? []) await s.put(`module-${name}`, undefined);
    for (const name of ["identity", "modules", "trust-metadata.json", "trust-floor.json"]) await s.put(name, undefined);
    await s.collect(() => false);
  }

  get name(): string {
    return this.identity.enrolment.node;
  }
  get layer(): string {
    return this.identity.enrolment.layer;
  }
  get connected(): boolean {
    return this.nc !== undefined;
  }
  /** The modules that serve. */
  get modules(): Module[] {
    return [...this.keepers.values()].flatMap((k) => k.module ?? []);
  }

  /** What the node would report now. */
  describe(): Report {
    const { node, layer, labels, via } = this.identity.enrolment;
    const saving = this.power.saving;
    return {
      node, layer, labels, via, boot: this.boot, sequence: this.sequence, at: new Date(this.now()).toISOString(), started: this.started,
      agent: this.o.version ?? "browser", engine: engine(), os: system(), arch: "wasm32",
      modules: [...this.keepers.values()].map((k) => k.report()).sort((a, b) => (a.name < b.name ? -1 : 1)),
      problems: this.problems.size ? [...this.problems.values()].sort() : undefined,
      saving: saving.length ? saving : undefined,
    };
  }

  now(): number {
    return this.o.now?.() ?? Date.now();
  }

  source(): Source | undefined {
    return this.from;
  }

  // ---- work ----

  /** Connects, and stays connected until stop. */
  start(): void {
    if (this.running || this.stopped) return;
    this.running = this.connecting();
    this.unwatch = this.power.watch(() => {
      this.changed();
      if (!this.power.saving.length) this.hurry();
    });
    const hurry = (): void => this.hurry();
    globalThis.addEventListener?.("online", hurry);
    this.timers.push(setInterval(() => void this.refresh().catch(() => undefined), resign));
  }

  /** Ends the node in order: it reports a last time, and closes its modules after their calls. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.unwatch?.();
    for (const t of this.timers) clearInterval(t);
    clearTimeout(this.reporting);
    if (this.nc) {
      this.report();
      await this.nc.flush().catch(() => undefined);
      await this.nc.close();
    }
    this.hurry();
    await Promise.race([this.running, new Promise((r) => setTimeout(r, stopPatience))]); // a hub that does not answer is waited for
    await Promise.all([...this.keepers.values()].map((k) => k.close()));
  }

  /** Looks at once whether the hub can be reached. */
  private hurry(): void {
    this.wake?.();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const t = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(t);
        resolve();
      };
    });
  }

  /** Never gives up: a node whose hub is away for a day connects when it is back. */
  private async connecting(): Promise<void> {
    const { hubs, enrolment, key } = this.identity;
    let wait = firstWait;
    for (let k = 0; !this.stopped; k++) {
      try {
        const nc = await connect(hubs[k % hubs.length], enrolment, key, this.o.webSocket);
        wait = firstWait;
        this.problem("connection", undefined);
        await this.serve(nc);
        if (!this.stopped) this.log("warn", "the connection is lost");
      } catch (e) {
        const why = (e as Error).message;
        this.log("info", `no connection: ${why}`);
        if (/authorization|authentication/i.test(`${(e as Error).name} ${why}`)) this.problem("connection", "the hub does not let this node in; was it revoked?");
      }
      if (this.stopped) return;
      await this.pause(wait + jitter(wait));
      wait = Math.min(2 * wait, longestWait);
    }
  }

  /** Works on a connection until it ends. */
  private async serve(nc: NatsConnection): Promise<void> {
    if (this.stopped) return nc.close();
    const { enrolment } = this.identity;
    this.nc = nc;
    this.from = new Source(nc, enrolment.via || "hub");
    this.heard = 0n; // a hub that was started again counts its revisions anew
    this.log("info", "connected");
    void this.hearErrors(nc);
    nc.subscribe(subject.logs(this.name), { callback: (err, m) => (err ? undefined : this.answerLogs(m)) });
    // Subscribed first: a change between the answer and the subscription would be missed.
    nc.subscribe(subject.desired(this.name), { callback: (err, m) => (err ? undefined : this.hear(m)) });
    for (const k of this.keepers.values()) if (k.module) this.offer(k);
    for (const { kind, body } of this.unsent.splice(0)) nc.publish(subject.telemetry(this.name, kind), body);
    this.report();
    this.o.onChange?.();
    const looking = this.looking(nc);
    await nc.closed();
    this.nc = undefined;
    this.from = undefined;
    this.subscriptions.clear();
    this.hurry();
    await looking;
    this.o.onChange?.();
  }

  private async hearErrors(nc: NatsConnection): Promise<void> {
    for await (const s of nc.status()) if (s.type === "error") this.log("warn", `connection: ${String((s as { error?: Error }).error?.message ?? s.type)}`);
  }

  /** Asks for the desired state at once, and each minute though nothing was heard: a message may be lost. */
  private async looking(nc: NatsConnection): Promise<void> {
    let retry = 1000;
    while (this.nc === nc) {
      let next = lookAgain;
      try {
        this.hear(await this.from!.ask("desired", this.name));
        retry = 1000;
      } catch (e) {
        if (!(e instanceof NotThere)) {
          next = retry;
          retry = Math.min(2 * retry, lookAgain);
        }
      }
      if (this.nc === nc) await this.pause((this.power.saving.length ? 5 : 1) * next + jitter(next));
    }
  }

  private hear(m: Msg): void {
    if (!m.data.length) return; // the mark of a deletion: the node was revoked, and what runs goes on
    const revision = BigInt(/^\d{1,20}$/.exec(m.headers?.get(header.revision) ?? "")?.[0] ?? 0);
    if (revision < this.heard) return;
    try {
      const d = decodeDesired(m.data, this.name);
      this.heard = revision;
      this.problem("desired state", undefined);
      const wanted = new Map(d.modules.map((w) => [nameOf(w.release), w]));
      for (const [name, w] of wanted) {
        let k = this.keepers.get(name);
        if (!k || k.closed) {
          k = new Keeper(this, name, { bad: [] });
          this.keepers.set(name, k);
          void this.remember();
        }
        k.setWant(w);
      }
      for (const [name, k] of this.keepers) if (!wanted.has(name)) k.setWant(undefined);
    } catch (e) {
      this.problem("desired state", (e as Error).message);
    }
  }

  private async remember(): Promise<void> {
    try {
      await this.storage.put("modules", [...this.keepers.keys()]);
      this.problem("storage", undefined);
    } catch (e) {
      this.problem("storage", (e as Error).message);
    }
  }

  private problem(what: string, why: string | undefined): void {
    const before = this.problems.get(what);
    const now = why && `${what}: ${why}`;
    if (before === now) return;
    if (now) {
      this.problems.set(what, now);
      this.log("error", now);
    } else this.problems.delete(what);
    this.changed();
  }

  // ---- what keepers ask for ----

  options(name: string): Options {
    const { memoryLimit, deadline, instances, worker } = this.o;
    const given = Object.fromEntries(Object.entries({ memoryLimit, deadline, instances, worker }).filter(([, v]) => v !== undefined));
    return {
      ...given,
      allow: {
        log: (level: LogLevel, message: string) => this.line(level, message, name), clock: true, random: true,
        publish: Object.fromEntries(subject.own(this.name).map((s) => [s, (to: string, payload: Uint8Array) => this.publish(to, payload)])),
      },
      onEvent: (e) => {
        if (e.error) this.log("warn", `module ${name}: ${e.kind}: ${e.error.message}`);
        this.o.onChange?.();
      },
    };
  }

  /** Fetches the signed list anew. What is not to be believed is told to the hub, which may be the victim as well. */
  async refresh(): Promise<void> {
    try {
      await this.trust.refresh();
    } catch (e) {
      if (e instanceof TrustError && e.verdict !== "not found") this.denied("signed list", e.message);
      throw e;
    }
  }

  /** Tells the hub's audit log of something that was refused here, 20 times a minute at most, twice of each. */
  denied(what: string, reason: string): void {
    const minute = Math.floor(this.now() / 60_000);
    if (minute !== this.quota.minute) this.quota = { minute, all: 0, each: new Map(), missed: this.quota.missed };
    const n = this.quota.each.get(`${what} ${reason}`) ?? 0;
    if (n >= 2 || this.quota.all >= 20) {
      this.quota.missed++;
      return;
    }
    this.quota.each.set(`${what} ${reason}`, n + 1);
    this.quota.all++;
    const more = this.quota.missed ? ` (and ${this.quota.missed} others)` : "";
    this.quota.missed = 0;
    this.event("denied", what, "", reason + more);
  }

  event(kind: string, module: string, release: string, reason: string): void {
    this.log("info", [kind, module && `module=${module} release=${release}`, reason && `reason=${reason}`].filter(Boolean).join(" "));
    this.tell("event", { node: this.name, kind, module: module || undefined, release, reason: reason || undefined, at: new Date(this.now()).toISOString() });
  }

  /** Publishes telemetry, or keeps it until there is a connection, the newest hundred. */
  private tell(kind: string, what: unknown): void {
    const body = JSON.stringify(what);
    if (this.nc && !this.nc.isClosed()) this.nc.publish(subject.telemetry(this.name, kind), body);
    else this.unsent = [...this.unsent, { kind, body }].slice(-maxUnsent);
  }

  /** Publishes under the node's own subjects; without a connection what is published is lost. */
  publish(to: string, payload: Uint8Array | string): void {
    this.nc?.publish(to, payload);
  }

  async collect(): Promise<void> {
    const needed = new Set([...this.keepers.values()].flatMap((k) => k.digests));
    await this.storage.collect((d) => needed.has(d)).catch((e: Error) => this.log("warn", `old modules: ${e.message}`));
  }

  offer(k: Keeper): void {
    void this.remember();
    const nc = this.nc;
    if (!nc || this.subscriptions.has(k.name)) return;
    let waiting = 0;
    const callback = (err: Error | null, m: Msg): void => {
      if (err) return;
      if (waiting >= parallelCalls) return void m.respond("", { headers: headersOf({ [header.failure]: `too many calls wait on ${this.name}`, [header.code]: "503" }) });
      waiting++;
      void this.answer(k, m).finally(() => waiting--);
    };
    this.subscriptions.set(k.name, [
      nc.subscribe(subject.calls(this.name, k.name), { queue: this.name, callback }),
      nc.subscribe(subject.anyCalls(this.layer, k.name), { queue: "any", callback }),
    ]);
  }

  withdraw(k: Keeper): void {
    for (const s of this.subscriptions.get(k.name) ?? []) s.unsubscribe();
    this.subscriptions.delete(k.name);
    if (this.keepers.get(k.name) === k) this.keepers.delete(k.name);
    void this.storage.put(`module-${k.name}`, undefined).then(() => this.remember()).then(() => this.collect());
    this.event("removed", k.name, k.record.current?.release ?? "", "no longer desired");
    this.changed();
  }

  // ---- calls ----

  /** The module of a name, while it serves. It stays the same one when its release changes. */
  module(name: string): Module | undefined {
    return this.keepers.get(name)?.module;
  }

  /** Calls a function with bytes of a MIME type: image/jpeg and image/png become pictures where it takes one. */
  async call(module: string, fn: string, body: Uint8Array | string, encoding = ""): Promise<Answer> {
    const f = this.module(module)?.functions.find((one) => one.name === fn);
    if (!f || (f.convention !== "image" && f.convention !== "wasmtube-image")) return this.counted(module, fn, (m, served) => m.call(fn, body, { served }));
    if (encoding && !encoding.startsWith("image/")) throw new IsomerError("argument", `bad argument: ${fn} takes a picture (image/jpeg or image/png), and got ${encoding}`);
    let picture: Awaited<ReturnType<typeof toPicture>>;
    try {
      picture = await toPicture(new Blob([body as Bytes], { type: encoding }));
    } catch (e) {
      throw new IsomerError("argument", `bad argument: picture: ${(e as Error).message}`);
    }
    return this.callImage(module, fn, picture);
  }

  callImage(module: string, fn: string, image: ImageSource): Promise<Answer> {
    return this.counted(module, fn, (m, served) => m.callImage(fn, image, { served }));
  }

  private async counted(name: string, fn: string, call: (m: Module, served: (digest: string) => void) => Promise<Bytes>): Promise<Answer> {
    const k = this.keepers.get(name);
    const m = k?.module;
    if (!k || !m) throw new IsomerError("function", `no such module serves here: ${name}`);
    let digest = "";
    let began = performance.now();
    let error: unknown;
    k.busy(1);
    try {
      const body = await call(m, (d) => {
        digest = d;
        began = performance.now(); // the time in the queue says nothing about the release
      });
      const json = m.functions.find((f) => f.name === fn)?.output === "json";
      return { body, encoding: json ? "application/json" : "application/octet-stream", release: k.releaseOf(digest), digest, took: performance.now() - began };
    } catch (e) {
      error = e;
      throw e;
    } finally {
      k.busy(-1);
      if (digest) k.count(digest, performance.now() - began, error);
    }
  }

  private async answer(k: Keeper, m: Msg): Promise<void> {
    const fn = m.subject.split(".").pop()!;
    const about: Record<string, string> = { [header.node]: this.name };
    let body: Bytes = new Uint8Array(0);
    try {
      const a = await this.call(k.name, fn, m.data.slice(), m.headers?.get(header.encoding) ?? "");
      body = a.body;
      Object.assign(about, { [header.release]: a.release, [header.digest]: a.digest, [header.took]: `${a.took.toFixed(3)}ms`, [header.encoding]: a.encoding });
    } catch (e) {
      Object.assign(about, { [header.failure]: (e as Error).message.slice(0, 1024), [header.code]: code(e) });
    }
    if (!this.nc?.isClosed()) m.respond(body, { headers: headersOf(about) });
  }

  // ---- logs and reports ----

  log(level: "info" | "warn" | "error", message: string): void {
    this.line(level, message);
  }

  private line(level: LogLine["level"], message: string, module?: string): void {
    if (level === "debug") return;
    const line: LogLine = { node: this.name, module, level, message: message.slice(0, maxLine), at: new Date(this.now()).toISOString() };
    this.lines.push(line);
    if (this.lines.length > keptLines) this.lines.shift();
    // What somebody follows, or the hub must hear of.
    if (this.nc && (level !== "info" || this.now() < this.followed)) this.tell("log", line);
  }

  /** The newest lines of the node and its modules. */
  get logs(): readonly LogLine[] {
    return this.lines;
  }

  private answerLogs(m: Msg): void {
    let q: { follow?: boolean; brief?: boolean } = {};
    try {
      q = JSON.parse(new TextDecoder().decode(m.data)) as typeof q;
    } catch {
      // a request that says nothing asks for the lines
    }
    if (q?.follow) this.followed = this.now() + followFor;
    let kept = q?.brief ? [] : this.lines;
    let body = utf8(JSON.stringify(kept));
    while (body.length > 512 << 10 && kept.length > 1) {
      kept = kept.slice(kept.length / 2);
      body = utf8(JSON.stringify(kept));
    }
    m.respond(body);
  }

  /** Something changed that a report tells. Changes are gathered, for longer while the node saves. */
  changed(): void {
    this.o.onChange?.();
    if (this.stopped) return;
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => this.report(), this.power.saving.length ? 1000 : gather);
  }

  private report(): void {
    clearTimeout(this.reporting);
    if (!this.nc || this.nc.isClosed()) return; // the connection's return makes one
    this.sequence++;
    this.nc.publish(subject.telemetry(this.name, "state"), JSON.stringify(this.describe()));
    // Three times reportEvery without a word is offline; browsers wake hidden pages once a minute.
    const every = (this.power.saving.length ? 2 : 1) * reportEvery - jitter(reportEvery);
    if (!this.stopped) this.reporting = setTimeout(() => this.report(), every);
  }
}

async function enrol(id: Identity, secret: string): Promise<Enrolment> {
  const errors: string[] = [];
  for (const hub of id.hubs) {
    let answer: Response;
    try {
      answer = await fetch(new URL("/v1/enrol", hub), {
        method: "POST", headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(20_000),
        body: JSON.stringify({ secret, key: id.key.public, root: id.pin || undefined }),
      });
    } catch (e) {
      errors.push(`${hub}: ${(e as Error).message}`);
      continue;
    }
    if (answer.ok) return (await answer.json()) as Enrolment;
    const why = ((await answer.json().catch(() => ({}))) as { detail?: string }).detail ?? answer.statusText;
    if (answer.status < 500) throw new Error(`join: the hub says no: ${why}`);
    errors.push(`${hub}: ${answer.status} ${why}`);
  }
  throw new Error(`join: nobody answers: ${errors.join("; ")}`);
}

function code(e: unknown): string {
  const kind = e instanceof IsomerError ? e.kind : "trap";
  const codes: Record<string, string> = { function: "404", argument: "400", app: "422", busy: "503", limit: "504" };
  return codes[kind] ?? "500";
}

function engine(): string {
  if (typeof navigator === "undefined" || !navigator.userAgent || /Node/.test(navigator.userAgent)) return `node ${globalThis.process?.version ?? ""}`.trim();
  const [, name, version] = /(Firefox|Edg|Chrome|Version)\/([\d]+)/.exec(navigator.userAgent) ?? [];
  return name ? `${name === "Version" ? "Safari" : name} ${version}` : "browser";
}

function system(): string {
  if (typeof document === "undefined") return globalThis.process?.platform ?? "unknown";
  const [name] = /Android|iPhone|iPad|Windows|Mac OS X|CrOS|Linux/.exec(navigator.userAgent) ?? ["unknown"];
  return name.toLowerCase();
}
