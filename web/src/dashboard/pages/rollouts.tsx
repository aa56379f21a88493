import { useState } from "preact/hooks";
import { deployments, drawn, health, hubTime, nodes, rollouts } from "../fleet.ts";
import type { Deployment, NodeRow, Rollout } from "../hub.ts";
import { Fact, Facts } from "../parts/facts.tsx";
import { List } from "../parts/list.tsx";
import { HealthMark, Phase, State } from "../parts/mark.tsx";
import { to } from "../route.ts";
import { chooses, write } from "../selector.ts";
import { hub, may } from "../session.ts";
import { ago, count, latency, moment } from "../words.ts";

const ended = (r: Rollout) => ["completed", "aborted", "rolled back", "superseded"].includes(r.phase);

/** Rollouts are all of them, the newest first. */
export function Rollouts() {
	void drawn.value;
	const rows = [...rollouts.values()].sort((a, b) => b.deployment.localeCompare(a.deployment));
	return (
		<>
			<h1>Rollouts</h1>
			{may("deployer") && <p><a class="button" href={to("deploy")}>Deploy a release</a></p>}
			<List label="Rollouts" rows={rows} keyOf={(r) => r.deployment} link={(r) => to("rollouts", r.deployment)} columns={[
				{ name: "Release", width: "minmax(8rem, 1fr)", cell: (r) => r.release },
				{ name: "Phase", width: "7rem", cell: (r) => <Phase phase={r.phase} /> },
				{ name: "Nodes", width: "7rem", numeric: true, cell: (r) => `${count(r.updated)} of ${count(r.chosen)}` },
				{ name: "To", width: "minmax(8rem, 1fr)", wide: true, cell: (r) => write(deployments.get(r.deployment)?.to) },
				{ name: "Begun", width: "7rem", numeric: true, wide: true, cell: (r) => begun(r) },
				{ name: "By", width: "6rem", wide: true, cell: (r) => deployments.get(r.deployment)?.by },
			]} />
		</>
	);
}

function begun(r: Rollout): string {
	const d = deployments.get(r.deployment);
	return d ? `${ago(hubTime() - Date.parse(d.at))} ago` : "";
}

/** RolloutDetail is one rollout as it moves: its waves, what the gate sees, why it went where it is, and what people may do. */
export function RolloutDetail({ name }: { name: string }) {
	void drawn.value;
	const r = rollouts.get(name), d = deployments.get(name);
	if (!r) return <><h1>{name}</h1><p>There is no such rollout.</p></>;
	const chosen = d ? [...nodes.values()].filter((n) => !n.revoked && chooses(d.to, n)) : [];
	return (
		<>
			<p class="up"><a href={to("rollouts")}>Rollouts</a></p>
			<h1>{r.release} <Phase phase={r.phase} /></h1>
			<p class="reason" role="status">{r.history.at(-1)?.reason}</p>
			<Actions r={r} />
			<Waves r={r} d={d} />
			<Gate r={r} chosen={chosen} />
			<section aria-labelledby="nodes">
				<h2 id="nodes">Nodes</h2>
				<NodesOf r={r} rows={chosen} />
			</section>
			<section aria-labelledby="history">
				<h2 id="history">History</h2>
				<ol class="history">{[...r.history].reverse().map((t, i) => <li key={i}><time dateTime={t.at}>{moment(t.at)}</time> <Phase phase={t.to} /> <span>{t.reason}{t.by && <span class="quiet"> — {t.by}</span>}</span></li>)}</ol>
			</section>
			{d && (
				<Facts>
					<Fact name="To">{write(d.to)}</Fact>
					<Fact name="Waves">{d.plan.waves?.join(", ") || "all at once"}</Fact>
					<Fact name="Soak">{d.plan.soak ?? "none"}</Fact>
					<Fact name="Concurrency">{d.plan.concurrency || "a whole wave"}</Fact>
					<Fact name="By">{d.by}, {moment(d.at)}</Fact>
				</Facts>
			)}
		</>
	);
}

const words: Record<string, string> = { pause: "Pause", resume: "Resume", abort: "Abort", rollback: "Roll back" };

function Actions({ r }: { r: Rollout }) {
	const [asked, setAsked] = useState("");
	const [why, setWhy] = useState("");
	const [problem, setProblem] = useState("");
	if (!may("deployer")) return null;
	const can = [...(r.phase === "paused" ? ["resume"] : ended(r) ? [] : ["pause"]), ...(ended(r) ? [] : ["abort"]), ...(r.phase === "rolled back" ? [] : ["rollback"])];
	async function act(e: Event) {
		e.preventDefault();
		try {
			await hub.peek()!.ask("POST", `/v1/rollouts/${r.deployment}/${asked}`, { reason: why });
			setAsked("");
			setWhy("");
			setProblem("");
		} catch (err) {
			setProblem((err as Error).message);
		}
	}
	return (
		<div class="actions">
			{!asked && can.map((c) => <button key={c} class={c === "rollback" || c === "abort" ? "danger" : "quiet"} onClick={() => setAsked(c)}>{words[c]}</button>)}
			{asked && (
				<form onSubmit={act}>
					<label>Reason <input value={why} onInput={(e) => setWhy(e.currentTarget.value)} maxLength={500} autofocus placeholder="for the audit log" /></label>
					<button class={asked === "resume" ? "" : "danger"}>{words[asked]}</button>
					<button type="button" class="quiet" onClick={() => setAsked("")}>Cancel</button>
				</form>
			)}
			{problem && <p class="problem" role="alert">{problem}</p>}
		</div>
	);
}

/** The waves as marks on a line of all chosen nodes, filled as far as nodes run the release. */
function Waves({ r, d }: { r: Rollout; d?: Deployment }) {
	const all = Math.max(1, r.chosen);
	const shares = [...(d?.plan.waves ?? [])];
	if (shares.at(-1) !== "100%") shares.push("100%");
	const ends = shares.map((s) => (s.endsWith("%") ? Math.ceil((parseFloat(s) / 100) * all - 1e-9) : Math.min(all, Number(s))));
	return (
		<section class="waves" aria-label="Waves">
			<svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={`${r.updated} of ${r.chosen} nodes run ${r.release}`}>
				<rect class="empty" width="100" height="6" />
				<rect class="done" width={(r.updated / all) * 100} height="6" />
				<rect class="failing" x={(r.updated / all) * 100} width={(r.refused / all) * 100} height="6" />
				{ends.slice(0, -1).map((n, i) => <line key={i} x1={(n / all) * 100} x2={(n / all) * 100} y1="0" y2="6" />)}
			</svg>
			<ol>
				{shares.map((s, i) => (
					<li key={i} class={r.phase === "completed" || i < r.wave ? "past" : i === r.wave && !ended(r) ? "now" : ""} aria-current={i === r.wave && !ended(r) ? "step" : undefined}>
						<b>{shares.length === 1 ? "All at once" : i === 0 ? "Canary" : `Wave ${i + 1}`}</b> {s}, {count(ends[i]!)} {ends[i] === 1 ? "node" : "nodes"}
					</li>
				))}
			</ol>
		</section>
	);
}

/** What the gate looks at: calls of the nodes that run the release, beside those that do not yet. */
function Gate({ r, chosen }: { r: Rollout; chosen: NodeRow[] }) {
	const [module, version] = split(r.release);
	const here = figures(chosen, module, (v) => v === version), before = figures(chosen, module, (v) => v !== version);
	return (
		<Facts>
			<Fact name="Run it">{count(r.updated)} of {count(r.chosen)}</Fact>
			<Fact name="Refused or took it back">{count(r.refused)}</Fact>
			<Fact name="Not settled">{count(r.missing)}</Fact>
			<Fact name="Calls">{count(here.calls)}</Fact>
			<Fact name="Failed">{percent(here)}{before.calls > 0 && <span class="quiet"> elsewhere {percent(before)}</span>}</Fact>
			<Fact name="p95, middle node">{latency(here.p95)}{before.p95 > 0 && <span class="quiet"> elsewhere {latency(before.p95)}</span>}</Fact>
		</Facts>
	);
}

function figures(rows: NodeRow[], module: string, which: (version: string) => boolean) {
	const all = rows.flatMap((n) => n.modules ?? []).filter((m) => m.name === module && m.version && which(m.version));
	const p95 = all.map((m) => m.p95us ?? 0).filter((v) => v > 0).sort((a, b) => a - b);
	return { calls: all.reduce((s, m) => s + (m.calls ?? 0), 0), failed: all.reduce((s, m) => s + (m.failed ?? 0), 0), p95: p95[Math.floor(p95.length / 2)] ?? 0 };
}

function percent(f: { calls: number; failed: number }): string {
	return f.calls ? `${((f.failed / f.calls) * 100).toFixed(2)} %` : "–";
}

function split(ref: string): [name: string, version: string] {
	const at = ref.indexOf("@");
	return [ref.slice(0, at), ref.slice(at + 1)];
}

function NodesOf({ r, rows }: { r: Rollout; rows: NodeRow[] }) {
	const [module] = split(r.release);
	const of = (n: NodeRow) => n.modules?.find((m) => m.name === module);
	const order = (n: NodeRow) => ["refused", "reverted", "failed", "fetching", "checking", "waiting", "running"].indexOf(of(n)?.state ?? "waiting");
	const sorted = rows.toSorted((a, b) => order(a) - order(b) || (a.node < b.node ? -1 : 1));
	return (
		<List label="Nodes of the rollout" rows={sorted} keyOf={(n) => n.node} link={(n) => to("nodes", n.node)} columns={[
			{ name: "Node", width: "minmax(8rem, 1fr)", cell: (n) => n.node },
			{ name: "Runs", width: "7rem", cell: (n) => of(n)?.version ?? "–" },
			{ name: "State", width: "6rem", cell: (n) => { const m = of(n); return m ? <State state={m.state} /> : "–"; } },
			{ name: "Health", width: "6rem", wide: true, cell: (n) => <HealthMark health={health(n)} /> },
			{ name: "Reason", width: "minmax(8rem, 2fr)", wide: true, cell: (n) => of(n)?.reason ?? "" },
		]} />
	);
}
