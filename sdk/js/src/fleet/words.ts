// What hubs and nodes exchange: the wire types and subjects of Go's package fleet, as far as a node needs them.

import { fromBase64 } from "./bytes.js";

/** What a join token says. It is a secret until it is used. */
export interface JoinToken {
  hubs: string[];
  secret: string;
  /** SHA-256 of the first signed root; empty: the hub's is believed. */
  root: string;
}

const prefix = "isomer-join-";

/** Reads a join token. The error does not repeat the secret. */
export function parseToken(s: string): JoinToken {
  const no = (why: string): never => {
    throw new Error(`join token: ${why}`);
  };
  const word = s.trim();
  if (!word.startsWith(prefix)) no(`it begins with ${prefix}`);
  if (word.length > 8192 + prefix.length) no(`${word.length} bytes are too many`);
  let t: { h?: unknown; s?: unknown; r?: unknown };
  try {
    t = JSON.parse(new TextDecoder().decode(fromBase64(word.slice(prefix.length)))) ?? {};
  } catch {
    return no("it is cut off or changed; copy it again");
  }
  const hubs = Array.isArray(t.h) ? t.h : [];
  if (!hubs.length) no("it names no hub");
  if (!hubs.every((h) => typeof h === "string" && /^https?:\/\/[^/]/.test(h))) no("it names something that is no hub");
  const sum = /^[0-9a-f]{64}$/;
  if (typeof t.s !== "string" || !sum.test(t.s) || (t.r !== undefined && !sum.test(t.r as string))) return no("it is damaged; copy it again");
  return { hubs: hubs as string[], secret: t.s, root: (t.r as string) ?? "" };
}

/** The hub's answer to an enrolment. */
export interface Enrolment {
  node: string;
  layer: string;
  labels?: Record<string, string>;
  jwt: string;
  servers: string[];
  via?: string;
  root: string; // base64
}

/** What this node should run. */
export interface Desired {
  node: string;
  modules: DesiredModule[];
}

export interface DesiredModule {
  release: string; // name@version
  digest: string;
  size: number;
  deployment: string;
  bindings?: { name: string; call: string }[];
  window?: Window;
}

/** When a node may change; in UTC, or in a zone whose offsets shifts has, in seconds, the oldest first. */
export interface Window {
  days?: number[];
  from: string;
  for: string;
  zone?: string;
  shifts?: { at: string; offset: number }[];
}

export type ModuleState = "fetching" | "waiting" | "checking" | "running" | "refused" | "reverted" | "failed";

export interface CallStats {
  calls: number;
  /** By trap or limit. */
  failed: number;
  p50us: number;
  p95us: number;
}

export interface ModuleReport {
  name: string;
  state: ModuleState;
  desired: string;
  deployment?: string;
  reason?: string;
  release: string;
  digest?: string;
  since: string;
  stats: CallStats;
  previous: string;
  previousStats: CallStats;
  bindings?: { name: string; received: 0; answered: 0; retried: 0; dead: 0; dropped: 0; unsent: 0; waiting: 0; problem: string }[];
}

export interface Report {
  node: string;
  layer: string;
  labels?: Record<string, string>;
  via?: string;
  boot: string;
  sequence: number;
  at: string;
  started: string;
  agent: string;
  engine: string;
  os: string;
  arch: string;
  modules: ModuleReport[];
  problems?: string[];
  /** Why the node does less than it could: hidden, battery. */
  saving?: string[];
}

export interface LogLine {
  node: string;
  module?: string;
  level: "debug" | "info" | "warn" | "error";
  message: string;
  at: string;
}

export const reportEvery = 30_000;
export const maxChunk = 512 << 10;
/** Bytes of a module that a node in a browser takes: it is held in memory whole, twice while it is replaced. */
export const maxModule = 256 << 20;
/** Where the hub's API lets browsers into NATS. */
export const webSocketPath = "/v1/nats";

export const header = {
  encoding: "Isomer-Encoding", node: "Isomer-Node", release: "Isomer-Release", digest: "Isomer-Digest", took: "Isomer-Took",
  size: "Isomer-Size", error: "Isomer-Error", revision: "Nats-Sequence", failure: "Nats-Service-Error", code: "Nats-Service-Error-Code",
};

export const subject = {
  desired: (node: string) => `cfg.${node}`,
  telemetry: (node: string, kind: string) => `tele.${node}.${kind}`,
  fetch: (from: string, kind: string, what: string) => `fetch.${from}.${kind}.${what}`,
  calls: (node: string, module: string) => `call.${node}.${module}.*`,
  anyCalls: (layer: string, module: string) => `call.any.${layer}.${module}.*`,
  logs: (node: string) => `call.${node}.logs`,
  /** What this node's modules may publish to. */
  own: (node: string) => [...["sensors", "meters", "actuators", "app"].map((s) => `${s}.${node}.>`), `tele.${node}.metric`],
};

const names = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const refs = /^[a-z0-9][a-z0-9_-]{0,62}@[0-9A-Za-z][0-9A-Za-z.+_-]{0,62}$/;

export const nameOf = (release: string): string => release.split("@", 1)[0];

/** Reads a desired state; what is wrong throws. It is believed as far as the developer's signature confirms it. */
export function decodeDesired(bytes: Uint8Array, node: string): Desired {
  const no = (why: string): never => {
    throw new Error(why);
  };
  const d = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Desired;
  if (d?.node !== node || !names.test(node)) no(`it is of node ${String(d?.node).slice(0, 63)}`);
  const seen = new Set<string>();
  for (const m of d.modules ?? []) {
    if (typeof m.release !== "string" || !refs.test(m.release)) no(`release ${String(m.release).slice(0, 130)} has another form than name@version`);
    const name = nameOf(m.release);
    if (seen.has(name)) no(`module ${name} is there twice`);
    seen.add(name);
    if (typeof m.digest !== "string" || !/^[0-9a-f]{64}$/.test(m.digest)) no(`${m.release}: its digest is no SHA-256`);
    if (!Number.isSafeInteger(m.size) || m.size < 1) no(`${m.release}: ${m.size} bytes`);
    if (m.window && !isWindow(m.window)) no(`${m.release}: a window of another form`);
    if (m.window?.zone && !m.window.shifts?.length) no(`${m.release}: the window's zone ${String(m.window.zone).slice(0, 70)} has no offsets`);
    if (m.bindings && !(Array.isArray(m.bindings) && m.bindings.every((b) => typeof b?.call === "string"))) no(`${m.release}: bindings of another form`);
  }
  return { node, modules: d.modules ?? [] };
}

const isWindow = ({ days = [], from, for: long, shifts = [] }: Window): boolean =>
  [from, long].every((d) => typeof d === "string" && /^([0-9.]+(ms|h|m|s))+$/.test(d)) && Array.isArray(days) && Array.isArray(shifts) &&
  shifts.every((s) => Number.isFinite(s?.offset) && Number.isFinite(Date.parse(s.at)));

const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** Milliseconds of a duration as Go writes it, such as 1h30m. */
export function duration(s: string): number {
  let ms = 0;
  for (const [, n, unit] of s.matchAll(/([0-9.]+)(ms|h|m|s)/g)) ms += Number(n) * units[unit];
  return ms;
}

/** Whether t, in milliseconds, is within the window, which may reach over midnight. */
export function isOpen(w: Window, t: number): boolean {
  const shifts = w.shifts ?? [];
  const offset = (at: number) => 1000 * ((shifts.findLast((s) => Date.parse(s.at) <= at) ?? shifts[0])?.offset ?? 0);
  const clock = new Date(t + offset(t)); // what clocks of the zone show, as if they were of UTC
  return [0, 1].some((back) => {
    const day = new Date(Date.UTC(clock.getUTCFullYear(), clock.getUTCMonth(), clock.getUTCDate() - back));
    const wall = day.getTime() + duration(w.from);
    const begin = wall - offset(wall - offset(wall));
    return (!w.days?.length || w.days.includes(day.getUTCDay())) && t >= begin && t < begin + duration(w.for);
  });
}
