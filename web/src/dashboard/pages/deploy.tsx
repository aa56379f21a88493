import { useMemo, useState } from "preact/hooks";
import { drawn, health, layers, nodes, releases } from "../fleet.ts";
import type { Deployment } from "../hub.ts";
import { HealthMark } from "../parts/mark.tsx";
import { go, route, to } from "../route.ts";
import { chooses, parse } from "../selector.ts";
import { hub } from "../session.ts";
import { count } from "../words.ts";

/** Deploy asks what, where and how, and shows beforehand whom it reaches. */
export function Deploy() {
	void drawn.value;
	const [release, setRelease] = useState(route.peek().query.get("release") ?? "");
	const [selector, setSelector] = useState("");
	const [canary, setCanary] = useState("10%");
	const [waves, setWaves] = useState("30%, 100%");
	const [soak, setSoak] = useState("10m");
	const [concurrency, setConcurrency] = useState("");
	const [problem, setProblem] = useState("");
	const [busy, setBusy] = useState(false);
	const known = [...releases.values()].sort((a, b) => b.published.localeCompare(a.published));
	const { chosen, wrong } = choose(selector);
	const plan = [canary, ...waves.split(",")].map((s) => s.trim()).filter(Boolean);

	async function submit(e: SubmitEvent) {
		e.preventDefault();
		setBusy(true);
		setProblem("");
		try {
			const d = await hub.peek()!.ask<Deployment>("POST", "/v1/deployments", {
				release, to: selector.trim(),
				plan: { waves: plan, ...(soak.trim() && { soak: soak.trim() }), ...(concurrency && { concurrency: Number(concurrency) }) },
			});
			go("rollouts", d.id);
		} catch (err) {
			setProblem((err as Error).message);
			setBusy(false);
		}
	}

	return (
		<>
			<h1>Deploy</h1>
			<form class="wizard" onSubmit={submit}>
				<fieldset>
					<legend>What</legend>
					<label>Release
						<select required value={release} onChange={(e) => setRelease(e.currentTarget.value)} name="release">
							<option value="">choose one</option>
							{known.map((r) => <option key={r.ref}>{r.ref}</option>)}
						</select>
					</label>
				</fieldset>
				<fieldset>
					<legend>Where</legend>
					<Suggestions selector={selector} choose={setSelector} />
					<label>Selector
						<input required name="selector" value={selector} onInput={(e) => setSelector(e.currentTarget.value)} spellcheck={false} placeholder="layer=device,site=a|b, or all" aria-invalid={wrong !== "" && selector !== ""} />
					</label>
					{selector !== "" && (wrong ? <p class="problem" role="status">{wrong}</p> : <p role="status"><b class="number">{count(chosen.length)}</b> {chosen.length === 1 ? "node is" : "nodes are"} chosen{chosen.length > 0 && <>: {chosen.slice(0, 6).map((n) => <span key={n.node}><a href={to("nodes", n.node)}>{n.node}</a> {health(n) !== "ok" && <HealthMark health={health(n)} />} </span>)}{chosen.length > 6 && `and ${count(chosen.length - 6)} more`}</>}. Nodes that join later and fit get it too.</p>)}
				</fieldset>
				<fieldset>
					<legend>How</legend>
					<label>Canary <input name="canary" value={canary} onInput={(e) => setCanary(e.currentTarget.value)} placeholder="10% or 3; empty: none" /></label>
					<label>Waves <input name="waves" value={waves} onInput={(e) => setWaves(e.currentTarget.value)} placeholder="30%, 100%" /></label>
					<label>Soak of each wave <input name="soak" value={soak} onInput={(e) => setSoak(e.currentTarget.value)} placeholder="10m" /></label>
					<label>At once, at most <input name="concurrency" type="number" min="1" value={concurrency} onInput={(e) => setConcurrency(e.currentTarget.value)} placeholder="a whole wave" /></label>
					{!wrong && chosen.length > 0 && <p class="quiet">{preview(plan, chosen.length)}</p>}
				</fieldset>
				{problem && <p class="problem" role="alert">{problem}</p>}
				<button disabled={busy || wrong !== "" || release === ""}>Deploy{release && !wrong && ` ${release} to ${count(chosen.length)} ${chosen.length === 1 ? "node" : "nodes"}`}</button>
			</form>
		</>
	);
}

function choose(selector: string) {
	try {
		const sel = parse(selector);
		return { chosen: [...nodes.values()].filter((n) => !n.revoked && chooses(sel, n)).sort((a, b) => (a.node < b.node ? -1 : 1)), wrong: "" };
	} catch (err) {
		return { chosen: [], wrong: (err as Error).message };
	}
}

function preview(plan: string[], all: number): string {
	const of = (s: string) => (s.endsWith("%") ? Math.min(all, Math.ceil((parseFloat(s) / 100) * all - 1e-9)) : Math.min(all, Number(s)));
	const steps = [...plan, ...(plan.at(-1) === "100%" ? [] : ["100%"])].map(of);
	return steps.some(Number.isNaN) ? "" : `${steps.filter((n, i) => n > (steps[i - 1] ?? 0)).map(count).join(" → ")} ${all === 1 ? "node" : "nodes"}; a wave that refuses it, fails more or is slower takes it back`;
}

/** Layers and labels that the fleet has, to click together. */
function Suggestions({ selector, choose }: { selector: string; choose: (s: string) => void }) {
	const pairs = useMemo(() => {
		const seen = new Map<string, number>();
		for (const n of nodes.values()) if (!n.revoked) for (const [k, v] of Object.entries(n.labels ?? {})) seen.set(`${k}=${v}`, (seen.get(`${k}=${v}`) ?? 0) + 1);
		return [...seen].sort(([, a], [, b]) => b - a).slice(0, 20).map(([p]) => p);
	}, [nodes.size]);
	const parts = selector === "" || selector === "all" ? [] : selector.split(",");
	function toggle(pair: string) {
		if (parts.includes(pair)) return choose(parts.filter((p) => p !== pair).join(","));
		const key = pair.slice(0, pair.indexOf("=") + 1);
		choose([...parts.filter((p) => !p.startsWith(key)), pair].join(","));
	}
	return (
		<div class="chips" role="group" aria-label="Layers and labels">
			<button type="button" class="chip" aria-pressed={selector === "all"} onClick={() => choose("all")}>all</button>
			{[...layers.map((l) => `layer=${l}`), ...pairs].map((p) => <button type="button" key={p} class="chip" aria-pressed={parts.includes(p)} onClick={() => toggle(p)}>{p}</button>)}
		</div>
	);
}
