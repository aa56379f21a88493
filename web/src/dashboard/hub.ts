// The hub's HTTP API, as the dashboard uses it. Types are those of /openapi.json.

export type Layer = "device" | "mobile" | "edge" | "cloud";
export type Role = "viewer" | "deployer" | "admin";
export type Phase = "pending" | "advancing" | "soaking" | "paused" | "completed" | "aborted" | "rolled back" | "superseded";
export type ModuleState = "fetching" | "waiting" | "checking" | "running" | "refused" | "reverted" | "failed";
export type Labels = Record<string, string>;

export interface ModuleRow {
	name: string;
	state: ModuleState;
	desired?: string;
	version?: string;
	digest?: string;
	deployment?: string;
	reason?: string;
	calls?: number;
	failed?: number;
	p50us?: number;
	p95us?: number;
}

export interface NodeRow {
	node: string;
	layer: Layer;
	labels?: Labels;
	revoked?: boolean;
	heard?: number;
	via?: string;
	agent?: string;
	os?: string;
	arch?: string;
	modules?: ModuleRow[];
	problems?: string[];
}

/** A module's own description (docs/abi.md), without its golden cases. */
export interface Manifest {
	name: string;
	version?: string;
	functions?: { name: string; convention: string; input?: string; output?: string; doc?: string }[];
	inputs?: Tensor[];
	outputs?: Tensor[];
	image?: { width: number; height: number };
	labels?: string[];
	features?: string[];
	permissions?: string[];
	memory?: { minPages?: number; maxPages?: number };
}

export interface Tensor {
	name: string;
	dtype: string;
	shape: number[];
}

/** A part of a selector: the label's value is one of these. */
export interface Requirement {
	key: string;
	values: string[];
}

export interface Release {
	ref: string;
	digest: string;
	size: number;
	manifest?: Manifest;
	cases: number;
	signedBy: string[];
	by: string;
	published: string;
}

export interface Plan {
	waves?: string[];
	concurrency?: number;
	soak?: string;
	patience?: string;
	offline?: number;
	gate?: { refused?: number; errors?: number; slower?: number; minCalls?: number };
	window?: unknown;
}

export interface Deployment {
	id: string;
	release: string;
	digest: string;
	size: number;
	to: Requirement[] | null;
	plan: Plan;
	bindings?: unknown[];
	by: string;
	at: string;
}

export interface Transition {
	at: string;
	from: Phase | "";
	to: Phase;
	wave: number;
	reason: string;
	by?: string;
}

export interface Rollout {
	deployment: string;
	release: string;
	phase: Phase;
	wave: number;
	waves: number;
	since: string;
	chosen: number;
	updated: number;
	refused: number;
	missing: number;
	history: Transition[];
}

export interface Batch {
	at: string;
	ready?: boolean;
	nodes?: NodeRow[];
	releases?: Release[];
	deployments?: Deployment[];
	rollouts?: Rollout[];
	gone?: { nodes?: string[]; releases?: string[]; deployments?: string[]; rollouts?: string[] };
}

export interface About {
	version: string;
	name: string;
	role: Role;
	silent: number;
}

export interface LogLine {
	node: string;
	module?: string;
	level: "debug" | "info" | "warn" | "error";
	message: string;
	at: string;
}

/** What the hub answered where it is no success. */
export class HubError extends Error {
	constructor(readonly status: number, message: string) {
		super(message);
	}
}

/** Hub speaks for one token. */
export class Hub {
	constructor(private readonly token: string) {}

	/** The answer of a request, decoded from JSON; HubError says what the hub objects to. */
	async ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
		const r = await this.fetch(path, { method, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null }, body === undefined ? {} : { "Content-Type": "application/json" });
		const text = await r.text();
		return (text === "" ? undefined : JSON.parse(text)) as T;
	}

	/** The response of a request that succeeded. */
	async fetch(path: string, init: RequestInit = {}, headers: Record<string, string> = {}): Promise<Response> {
		const r = await fetch(path, { ...init, headers: { ...headers, Authorization: `Bearer ${this.token}` }, cache: "no-store", credentials: "omit" });
		if (!r.ok) throw new HubError(r.status, await reason(r));
		return r;
	}

	/** Delivers server-sent events until the stream or the signal ends. */
	async stream(path: string, signal: AbortSignal, deliver: (event: string, data: unknown) => void): Promise<void> {
		const r = await this.fetch(path, { signal }, { Accept: "text/event-stream" });
		const reader = r.body!.pipeThrough(new TextDecoderStream()).getReader();
		let rest = "";
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			rest += value;
			const events = rest.split("\n\n");
			rest = events.pop()!;
			for (const text of events) {
				let name = "message", data = "";
				for (const line of text.split("\n")) {
					if (line.startsWith("event: ")) name = line.slice(7);
					else if (line.startsWith("data: ")) data += line.slice(6);
				}
				if (data !== "") deliver(name, JSON.parse(data));
			}
		}
	}
}

async function reason(r: Response): Promise<string> {
	try {
		const problem = (await r.json()) as { detail?: string; title?: string; errors?: { message: string }[] };
		const more = problem.errors?.map((e) => e.message).join("; ");
		return [problem.detail ?? problem.title, more].filter(Boolean).join(": ") || `the hub answered ${r.status}`;
	} catch {
		return `the hub answered ${r.status}`;
	}
}
