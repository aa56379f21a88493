import { useState } from "preact/hooks";
import { callHere, callOn, same, type Answer, type Input } from "../callers.ts";
import { drawn, layers, nodes, releases } from "../fleet.ts";
import type { Layer, Release } from "../hub.ts";
import { InputField } from "../parts/input.tsx";
import { to } from "../route.ts";
import { may } from "../session.ts";
import { count, digest } from "../words.ts";
import { Answers } from "./playground.tsx";

/** Agreement shows for each module what runs on each layer, by digest, and whether one input has one answer everywhere. */
export function Agreement() {
	void drawn.value;
	const modules = new Map<string, Map<string, Map<Layer, number>>>(); // module, digest, layer
	for (const n of nodes.values()) {
		if (n.revoked) continue;
		for (const m of n.modules ?? []) {
			if (!m.digest) continue;
			const digests = modules.get(m.name) ?? new Map<string, Map<Layer, number>>();
			const on = digests.get(m.digest) ?? new Map<Layer, number>();
			on.set(n.layer, (on.get(n.layer) ?? 0) + 1);
			digests.set(m.digest, on);
			modules.set(m.name, digests);
		}
	}
	return (
		<>
			<h1>Same binary everywhere</h1>
			{modules.size === 0 && <p class="none">No node runs a module yet.</p>}
			{[...modules].sort().map(([name, digests]) => <Binary key={name} name={name} digests={digests} />)}
		</>
	);
}

function Binary({ name, digests }: { name: string; digests: Map<string, Map<Layer, number>> }) {
	const rows = [...digests].sort(([, a], [, b]) => total(b) - total(a));
	const ref = (d: string) => [...releases.values()].find((r) => r.digest === d && r.ref.startsWith(`${name}@`));
	return (
		<section class="card" aria-labelledby={`same-${name}`}>
			<h2 id={`same-${name}`}>{name} <span class={digests.size === 1 ? "good" : "warns"}>{digests.size === 1 ? "one binary on every node" : `${digests.size} binaries`}</span></h2>
			<div class="scroll"><table>
				<thead><tr><th>SHA-256</th><th>Release</th>{layers.map((l) => <th key={l} class="number">{l}</th>)}</tr></thead>
				<tbody>{rows.map(([d, on]) => {
					const r = ref(d);
					return <tr key={d}><td><code title={d}>{digest(d)}</code></td><td>{r ? <a href={to("releases", r.ref)}>{r.ref}</a> : "no longer listed"}</td>{layers.map((l) => <td key={l} class="number">{on.get(l) ? count(on.get(l)!) : "–"}</td>)}</tr>;
				})}</tbody>
			</table></div>
			{may("deployer") && rows[0] && ref(rows[0][0]) && <Compare release={ref(rows[0][0])!} on={rows[0][1]} />}
		</section>
	);
}

function total(on: Map<Layer, number>): number {
	return [...on.values()].reduce((a, b) => a + b, 0);
}

/** One input to a node of each layer that runs the binary, and to this browser. */
function Compare({ release, on }: { release: Release; on: Map<Layer, number> }) {
	const [input, setInput] = useState<Input | null>(null);
	const [answers, setAnswers] = useState<Answer[]>([]);
	const functions = (release.manifest?.functions ?? []).filter((f) => f.convention !== "tensors" && f.convention !== "scalar");
	const [fn, setFn] = useState(functions[0]?.name ?? "call");
	const f = functions.find((x) => x.name === fn);
	const module = release.ref.slice(0, release.ref.indexOf("@"));
	async function compare(e: Event) {
		e.preventDefault();
		const one = (l: Layer) => [...nodes.values()].find((n) => n.layer === l && !n.revoked && n.modules?.some((m) => m.name === module && m.digest === release.digest))?.node;
		const asked = layers.filter((l) => on.get(l)).map((l) => ({ name: l, node: one(l) }));
		setAnswers(await Promise.all([callHere(release, fn, input!), ...asked.map((p) => callOn(p, module, fn, input!))]));
	}
	const good = answers.filter((a) => a.bytes);
	return (
		<details>
			<summary>Compare answers by layer</summary>
			<form class="wizard" onSubmit={compare}>
				<label>Function <select value={fn} onChange={(e) => { setFn(e.currentTarget.value); setAnswers([]); }}>{functions.map((x) => <option key={x.name}>{x.name}</option>)}</select></label>
				<InputField image={f?.convention.includes("image") ?? false} change={setInput} />
				<button disabled={!input}>Compare</button>
			</form>
			{good.length > 1 && good.every((a) => same(a.bytes!, good[0]!.bytes!)) && <p class="good">Each layer gives the same bytes as this browser.</p>}
			{answers.length > 0 && <Answers answers={answers} />}
		</details>
	);
}
