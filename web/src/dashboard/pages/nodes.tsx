import { useEffect, useRef, useState } from "preact/hooks";
import { deployments, drawn, health, hubTime, layers, nodes } from "../fleet.ts";
import type { LogLine, ModuleRow, NodeRow } from "../hub.ts";
import { Fact, Facts } from "../parts/facts.tsx";
import { List } from "../parts/list.tsx";
import { HealthMark, State } from "../parts/mark.tsx";
import { Spark, useHistory } from "../parts/spark.tsx";
import { route, to } from "../route.ts";
import { hub, may } from "../session.ts";
import { ago, count, digest, labels, latency, moment } from "../words.ts";

/** Nodes are all nodes, searched by name, label, module or state. */
export function Nodes() {
	void drawn.value;
	const query = route.value.query;
	const [text, setText] = useState(query.get("q") ?? "");
	const layer = query.get("layer"), runs = query.get("runs");
	const words = text.toLowerCase().split(/\s+/).filter(Boolean);
	const rows = [...nodes.values()].filter((n) => fits(n, layer, runs, words)).sort((a, b) => (a.node < b.node ? -1 : 1));
	return (
		<>
			<h1>Nodes</h1>
			<form class="filter" role="search" onSubmit={(e) => e.preventDefault()}>
				<label for="q" class="hidden">Search nodes</label>
				<input id="q" type="search" placeholder="name, site=a, digits@2, failing …" value={text} onInput={(e) => setText(e.currentTarget.value)} />
				<label for="layer" class="hidden">Layer</label>
				<select id="layer" value={layer ?? ""} onChange={(e) => filter("layer", e.currentTarget.value)}>
					<option value="">all layers</option>
					{layers.map((l) => <option key={l}>{l}</option>)}
				</select>
				{runs && <button type="button" class="quiet" onClick={() => filter("runs", "")}>runs {runs} ✕</button>}
				<span class="quiet" role="status">{count(rows.length)} of {count(nodes.size)}</span>
			</form>
			<List label="Nodes" rows={rows} keyOf={(n) => n.node} link={(n) => to("nodes", n.node)} columns={[
				{ name: "Node", width: "minmax(8rem, 1fr)", cell: (n) => n.node },
				{ name: "Layer", width: "5rem", wide: true, cell: (n) => n.layer },
				{ name: "Health", width: "5.5rem", cell: (n) => <HealthMark health={health(n)} /> },
				{ name: "Runs", width: "minmax(8rem, 1.4fr)", cell: (n) => (n.modules ?? []).map((m) => `${m.name}@${m.version ?? "–"}`).join(" ") },
				{ name: "Calls", width: "6rem", numeric: true, wide: true, cell: (n) => count(sum(n, "calls")) },
				{ name: "p95", width: "5rem", numeric: true, wide: true, cell: (n) => latency(n.modules?.[0]?.p95us) },
				{ name: "Labels", width: "minmax(6rem, 1fr)", wide: true, cell: (n) => labels(n.labels) },
				{ name: "Heard", width: "5rem", numeric: true, wide: true, cell: (n) => (n.heard ? ago(hubTime() - n.heard) : "never") },
			]} />
		</>
	);
}

function sum(n: NodeRow, what: "calls" | "failed"): number {
	return (n.modules ?? []).reduce((s, m) => s + (m[what] ?? 0), 0);
}

function filter(key: string, value: string) {
	const q = new URLSearchParams(route.peek().query);
	if (value) q.set(key, value);
	else q.delete(key);
	location.hash = `#/nodes${q.size ? `?${q}` : ""}`;
}

function fits(n: NodeRow, layer: string | null, runs: string | null, words: string[]): boolean {
	if (layer && n.layer !== layer) return false;
	if (runs && !n.modules?.some((m) => `${m.name}@${m.version}` === runs)) return false;
	if (words.length === 0) return true;
	const all = `${n.node} ${n.layer} ${health(n)} ${labels(n.labels)} ${(n.modules ?? []).map((m) => `${m.name}@${m.version} ${m.state}`).join(" ")} ${n.via ?? ""}`.toLowerCase();
	return words.every((w) => all.includes(w));
}

/** NodeDetail is one node, live. */
export function NodeDetail({ name }: { name: string }) {
	void drawn.value;
	const n = nodes.get(name);
	if (!n) return <><h1>{name}</h1><p>The fleet has no such node.</p></>;
	return (
		<>
			<p class="up"><a href={to("nodes")}>Nodes</a></p>
			<h1>{n.node} <HealthMark health={health(n)} /></h1>
			<Facts>
				<Fact name="Layer">{n.layer}</Fact>
				<Fact name="Labels">{labels(n.labels) || "–"}</Fact>
				<Fact name="Through">{n.via ? <a href={to("nodes", n.via)}>{n.via}</a> : n.heard ? "the hub" : "–"}</Fact>
				<Fact name="System">{n.os ? `${n.os}/${n.arch}` : "–"}</Fact>
				<Fact name="Isomer">{n.agent ?? "–"}</Fact>
				<Fact name="Heard">{n.heard ? `${ago(hubTime() - n.heard)} ago` : "never"}</Fact>
			</Facts>
			{n.problems?.map((p) => <p key={p} class="problem" role="alert">{p}</p>)}
			{(n.modules ?? []).map((m) => <Module key={m.name} node={n} m={m} />)}
			{!n.modules?.length && <p class="none">It runs no module.</p>}
			{may("viewer") && <Logs name={n.node} />}
		</>
	);
}

function Module({ node, m }: { node: NodeRow; m: ModuleRow }) {
	const key = `${node.node} ${m.name} ${m.version}`;
	const rate = useHistory(key, m.calls ?? 0, "rate"), p95 = useHistory(key, m.p95us ?? 0, "value");
	return (
		<section class="card" aria-label={`Module ${m.name}`}>
			<h2>{m.name} <span class="number">{m.version ?? "–"}</span> <State state={m.state} /></h2>
			{m.desired && m.desired !== m.version && <p>is to run {m.desired}{m.deployment && deployments.has(m.deployment) && <> (<a href={to("rollouts", m.deployment)}>rollout</a>)</>}</p>}
			{m.reason && <p class="problem">{m.reason}</p>}
			<Facts>
				<Fact name="Digest"><code title={m.digest}>{digest(m.digest)}</code></Fact>
				<Fact name="Calls">{count(m.calls ?? 0)}</Fact>
				<Fact name="Failed">{count(m.failed ?? 0)}</Fact>
				<Fact name="p50">{latency(m.p50us)}</Fact>
				<Fact name="p95">{latency(m.p95us)}</Fact>
			</Facts>
			<div class="sparks">
				<Spark label="calls per second" points={rate} write={(v) => v.toFixed(1)} />
				<Spark label="p95" points={p95} write={latency} />
			</div>
		</section>
	);
}

const kept = 500; // lines
const again = 3000; // ms, after a stream that ended: the hub was started again, or the node is away

/** Follows a node's log until the signal ends; more gets new lines once a frame, anew tells that they begin from the start. */
async function logs(name: string, end: AbortSignal, more: (l: LogLine[]) => void, problem: (why: string) => void, anew: () => void): Promise<void> {
	for (;;) {
		let waiting: LogLine[] = [];
		let first = true;
		try {
			await hub.peek()!.stream(`/v1/nodes/${encodeURIComponent(name)}/logs?follow=true`, end, (event, data) => {
				if (event === "problem") problem((data as { message: string }).message);
				else if (event === "log" && waiting.push(data as LogLine) === 1)
					requestAnimationFrame(() => {
						if (first) anew();
						first = false;
						more(waiting);
						waiting = [];
					});
				if (waiting.length > 2 * kept) waiting = waiting.slice(-kept); // no frame comes: the page is hidden
			});
		} catch (err) {
			if (!end.aborted) problem((err as Error).message);
		}
		await new Promise((done) => setTimeout(done, again));
		if (end.aborted || !hub.peek()) return;
	}
}

/** What the node logs, from the moment that somebody looks, with what it kept before. */
function Logs({ name }: { name: string }) {
	const [lines, setLines] = useState<LogLine[]>([]);
	const [problem, setProblem] = useState("");
	const [level, setLevel] = useState("info");
	const end = useRef<HTMLDivElement>(null);
	useEffect(() => {
		const stop = new AbortController();
		setLines([]);
		void logs(name, stop.signal, (more) => { setProblem(""); setLines((have) => [...have, ...more].slice(-kept)); }, setProblem, () => setLines([]));
		return () => stop.abort();
	}, [name]);
	const order = ["debug", "info", "warn", "error"];
	const shown = lines.filter((l) => order.indexOf(l.level) >= order.indexOf(level));
	useEffect(() => {
		const e = end.current;
		if (e && e.scrollHeight - e.scrollTop - e.clientHeight < 200) e.scrollTop = e.scrollHeight;
	}, [shown.length]);
	return (
		<section aria-labelledby="log">
			<h2 id="log">Log</h2>
			<form class="filter">
				<label for="level" class="hidden">Least level</label>
				<select id="level" value={level} onChange={(e) => setLevel(e.currentTarget.value)}>{order.map((l) => <option key={l}>{l}</option>)}</select>
			</form>
			{problem && <p class="problem">{problem}</p>}
			<div class="log" ref={end} role="log" tabIndex={0} aria-label={`Log of ${name}`}>
				{shown.map((l, i) => <div key={i} class={l.level}><time dateTime={l.at}>{moment(l.at).slice(11)}</time> <b>{l.level}</b> {l.module && <i>{l.module}</i>} {l.message}</div>)}
				{shown.length === 0 && !problem && <p class="none">Nothing yet.</p>}
			</div>
		</section>
	);
}
