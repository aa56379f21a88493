// The fleet as the hub's stream tells it. What arrives goes into maps; pages are drawn from them at most once a frame,
// however many reports come in.
import { computed, signal } from "@preact/signals";
import type { About, Batch, Deployment, Layer, ModuleRow, NodeRow, Release, Rollout } from "./hub.ts";
import { Hub, HubError } from "./hub.ts";

export const layers: Layer[] = ["cloud", "edge", "mobile", "device"];

export type Link = "connecting" | "live" | "lost";
export type Health = "ok" | "failing" | "offline" | "silent" | "revoked";

export const nodes = new Map<string, NodeRow>();
export const releases = new Map<string, Release>();
export const deployments = new Map<string, Deployment>();
export const rollouts = new Map<string, Rollout>();

/** Counts the drawings: what reads it is drawn anew when something of the fleet changed. */
export const drawn = signal(0);
export const about = signal<About | null>(null);
export const link = signal<Link>("connecting");
export const ready = signal(false);
/** Why the token is good no longer; empty: it is. */
export const refused = signal("");

let behind = 0; // of the hub's clock, ms
let asked = false;

/** The hub's clock, ms since 1970. */
export function hubTime(): number {
	return Date.now() - behind;
}

function draw() {
	if (asked) return;
	asked = true;
	requestAnimationFrame(() => {
		asked = false;
		drawn.value++;
	});
}

/** What pages show of a node's state, the worst first. */
export function health(n: NodeRow, now = hubTime()): Health {
	if (n.revoked) return "revoked";
	if (!n.heard) return "silent";
	if (now - n.heard > (about.peek()?.silent ?? 90_000)) return "offline";
	return n.problems?.length || n.modules?.some((m) => troubled(m)) ? "failing" : "ok";
}

export function troubled(m: ModuleRow): boolean {
	return m.state === "refused" || m.state === "reverted" || m.state === "failed";
}

export interface LayerCount {
	layer: Layer;
	nodes: number;
	health: Record<Health, number>;
	/** Nodes by "module version" that serves there. */
	versions: Map<string, number>;
}

/** The fleet by layer, for the overview. */
export const byLayer = computed<LayerCount[]>(() => {
	void drawn.value;
	const now = hubTime();
	const all = new Map<Layer, LayerCount>(layers.map((layer) => [layer, { layer, nodes: 0, health: { ok: 0, failing: 0, offline: 0, silent: 0, revoked: 0 }, versions: new Map() }]));
	for (const n of nodes.values()) {
		const c = all.get(n.layer);
		if (!c || n.revoked) continue;
		c.nodes++;
		c.health[health(n, now)]++;
		for (const m of n.modules ?? []) {
			if (!m.version) continue;
			const key = `${m.name}@${m.version}`;
			c.versions.set(key, (c.versions.get(key) ?? 0) + 1);
		}
	}
	return [...all.values()];
});

export function take(b: Batch): void {
	behind = Date.now() - Date.parse(b.at);
	for (const n of b.nodes ?? []) nodes.set(n.node, n);
	for (const r of b.releases ?? []) releases.set(r.ref, r);
	for (const d of b.deployments ?? []) deployments.set(d.id, d);
	for (const r of b.rollouts ?? []) rollouts.set(r.deployment, r);
	for (const k of b.gone?.nodes ?? []) nodes.delete(k);
	for (const k of b.gone?.releases ?? []) releases.delete(k);
	for (const k of b.gone?.deployments ?? []) deployments.delete(k);
	for (const k of b.gone?.rollouts ?? []) rollouts.delete(k);
	if (b.ready) ready.value = true;
	draw();
}

/** Follows the fleet until the signal ends, over lost connections too. */
export async function follow(hub: Hub, end: AbortSignal): Promise<void> {
	for (let pause = 500; !end.aborted; pause = Math.min(pause * 2, 10_000)) {
		try {
			const seen = new Set<string>();
			let whole = false;
			await hub.stream("/v1/watch", end, (event, data) => {
				if (event === "hub") {
					about.value = data as About;
					link.value = "live";
					pause = 500;
				} else if (event === "changes") {
					const b = data as Batch;
					if (!whole) for (const k of keysOf(b)) seen.add(k);
					take(b);
					if (b.ready) {
						whole = true;
						forget(seen);
					}
				} else if (event === "problem") {
					throw new Error((data as { message: string }).message);
				}
			});
		} catch (err) {
			if (end.aborted) return;
			if (err instanceof HubError && (err.status === 401 || err.status === 403)) {
				refused.value = err.message;
				return;
			}
		}
		link.value = "lost";
		draw(); // nodes grow old
		await new Promise((resolve) => setTimeout(resolve, pause));
	}
}

function keysOf(b: Batch): string[] {
	return [...(b.nodes ?? []).map((n) => `n ${n.node}`), ...(b.releases ?? []).map((r) => `r ${r.ref}`), ...(b.deployments ?? []).map((d) => `d ${d.id}`), ...(b.rollouts ?? []).map((r) => `o ${r.deployment}`)];
}

/** Drops what was removed while there was no connection. */
function forget(seen: Set<string>) {
	for (const [map, kind] of [[nodes, "n"], [releases, "r"], [deployments, "d"], [rollouts, "o"]] as [Map<string, unknown>, string][])
		for (const key of map.keys()) if (!seen.has(`${kind} ${key}`)) map.delete(key);
}

// A node that is heard of no more turns offline without any message.
setInterval(draw, 5_000);
