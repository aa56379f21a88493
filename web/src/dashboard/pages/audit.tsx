import { useEffect, useState } from "preact/hooks";
import { drawn } from "../fleet.ts";
import { hub } from "../session.ts";
import { moment } from "../words.ts";

interface Entry {
	at: string;
	who: string;
	from: string;
	what: string;
	on: string;
	result: "done" | "refused";
	reason?: string;
}

/** Audit is who did what, the newest first. */
export function Audit() {
	const [all, setAll] = useState<Entry[]>([]);
	const [problem, setProblem] = useState("");
	const [text, setText] = useState("");
	const [limit, setLimit] = useState(200);
	const turn = Math.floor(drawn.value / 20); // now and then
	useEffect(() => {
		hub.peek()!.ask<Entry[]>("GET", `/v1/audit?limit=${limit}`).then((e) => { setAll(e.reverse()); setProblem(""); }, (err: Error) => setProblem(err.message));
	}, [turn, limit]);
	const words = text.toLowerCase().split(/\s+/).filter(Boolean);
	const shown = all.filter((e) => words.every((w) => Object.values(e).join(" ").toLowerCase().includes(w)));
	return (
		<>
			<h1>Audit log</h1>
			<form class="filter" role="search" onSubmit={(e) => e.preventDefault()}>
				<label for="q" class="hidden">Search the log</label>
				<input id="q" type="search" placeholder="refused, deploy, ann …" value={text} onInput={(e) => setText(e.currentTarget.value)} />
			</form>
			{problem && <p class="problem" role="alert">{problem}</p>}
			<div class="scroll"><table>
				<thead><tr><th>When</th><th>Who</th><th>What</th><th>On</th><th>Result</th></tr></thead>
				<tbody>{shown.map((e, i) => <tr key={i}><td class="number">{moment(e.at)}</td><td title={e.from}>{e.who}</td><td>{e.what}</td><td class="name">{e.on}</td><td><span class={e.result === "done" ? "" : "bad"}>{e.result}</span>{e.reason && <>: {e.reason}</>}</td></tr>)}</tbody>
			</table></div>
			{all.length === limit && <p><button class="quiet" onClick={() => setLimit(Math.min(10_000, limit * 4))}>Show more</button></p>}
		</>
	);
}
