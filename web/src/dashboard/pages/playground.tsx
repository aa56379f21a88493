import { useState } from "preact/hooks";
import { callHere, callOn, here, same, type Answer, type Input, type Place } from "../callers.ts";
import { drawn, layers, nodes, releases } from "../fleet.ts";
import type { Release } from "../hub.ts";
import { InputField } from "../parts/input.tsx";
import { route, to } from "../route.ts";
import { may } from "../session.ts";
import { answer, digest } from "../words.ts";

/** Playground calls a function here and on nodes, side by side. */
export function Playground() {
	void drawn.value;
	const [chosen, setChosen] = useState(route.peek().query.get("release") ?? "");
	const [fn, setFn] = useState("");
	const [input, setInput] = useState<Input | null>(null);
	const [where, setWhere] = useState<string[]>([here]);
	const [answers, setAnswers] = useState<Answer[]>([]);
	const [busy, setBusy] = useState(false);
	const known = [...releases.values()].sort((a, b) => b.published.localeCompare(a.published));
	const r = releases.get(chosen) ?? known[0];
	if (!r) return <><h1>Playground</h1><p class="none">Nothing was published yet.</p></>;
	const functions = functionsOf(r);
	const f = functions.find((x) => x.name === fn) ?? functions[0];
	const places = placesOf(r);
	const image = f?.convention.includes("image") ?? false;

	async function call(e: SubmitEvent) {
		e.preventDefault();
		if (!f || !input || !r) return;
		setBusy(true);
		const module = r.ref.slice(0, r.ref.indexOf("@"));
		const asked = [{ name: here }, ...places].filter((p) => where.includes(p.name));
		setAnswers(await Promise.all(asked.map((p) => (p.name === here ? callHere(r, f.name, input) : callOn(p, module, f.name, input)))));
		setBusy(false);
	}

	return (
		<>
			<h1>Playground</h1>
			<form class="wizard" onSubmit={call}>
				<fieldset>
					<legend>Call</legend>
					<label>Release <select name="release" value={r.ref} onChange={(e) => { setChosen(e.currentTarget.value); setAnswers([]); }}>{known.map((k) => <option key={k.ref}>{k.ref}</option>)}</select></label>
					<label>Function <select name="function" value={f?.name} onChange={(e) => { setFn(e.currentTarget.value); setAnswers([]); }}>{functions.map((x) => <option key={x.name}>{x.name}</option>)}</select></label>
				</fieldset>
				<InputField image={image} change={setInput} />
				<fieldset>
					<legend>Where</legend>
					<div class="chips">
						{[{ name: here }, ...(may("deployer") ? places : [])].map((p) => (
							<button type="button" key={p.name} class="chip" aria-pressed={where.includes(p.name)} onClick={() => setWhere(where.includes(p.name) ? where.filter((w) => w !== p.name) : [...where, p.name])}>{p.name === here ? "here, in this browser" : p.name}</button>
						))}
					</div>
				</fieldset>
				<button disabled={busy || !input || where.length === 0}>{busy ? "Calling …" : "Call"}</button>
			</form>
			{answers.length > 0 && <Answers answers={answers} />}
		</>
	);
}

function functionsOf(r: Release): { name: string; convention: string }[] {
	const all = r.manifest?.functions ?? [];
	const callable = all.filter((f) => f.convention !== "tensors" && f.convention !== "scalar");
	return callable.length ? callable : [{ name: "call", convention: "bytes" }];
}

/** A place for each layer that has the module, and each of up to 24 nodes that run it. */
export function placesOf(r: Release): Place[] {
	const module = r.ref.slice(0, r.ref.indexOf("@"));
	const on = [...nodes.values()].filter((n) => !n.revoked && n.modules?.some((m) => m.name === module && m.version));
	return [
		...layers.filter((l) => on.some((n) => n.layer === l)).map((l) => ({ name: `any of ${l}`, layer: l })),
		...on.sort((a, b) => (a.node < b.node ? -1 : 1)).slice(0, 24).map((n) => ({ name: n.node, node: n.node })),
	];
}

export function Answers({ answers }: { answers: Answer[] }) {
	const good = answers.filter((a) => a.bytes);
	const agree = good.every((a) => same(a.bytes!, good[0]!.bytes!));
	return (
		<section aria-labelledby="answers">
			<h2 id="answers">Answers</h2>
			{good.length > 1 && <p role="status" class={agree ? "good" : "bad"}>{agree ? `${good.length} answers, the same bytes` : "The answers differ"}</p>}
			<div class="answers">
				{answers.map((a) => (
					<article key={a.place} class="card">
						<h3>{a.place === here ? "This browser" : a.node ? <a href={to("nodes", a.node)}>{a.node}</a> : a.place}</h3>
						{a.error ? <p class="problem">{a.error}</p> : (
							<>
								<p class="quiet number">{a.release} <code title={a.digest}>{digest(a.digest)}</code><br />{a.took?.toFixed(2)} ms in the bridge{a.place !== here && <>, {a.total?.toFixed(1)} ms with the way</>}</p>
								<pre tabIndex={0}>{answer(a.bytes!)}</pre>
							</>
						)}
					</article>
				))}
			</div>
		</section>
	);
}
