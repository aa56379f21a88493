import { useEffect, useState } from "preact/hooks";
import { drawn, nodes, releases, rollouts } from "../fleet.ts";
import type { Release } from "../hub.ts";
import { Fact, Facts } from "../parts/facts.tsx";
import { List } from "../parts/list.tsx";
import { Phase } from "../parts/mark.tsx";
import { to } from "../route.ts";
import { hub, may } from "../session.ts";
import { contents, type Contents } from "../wasm.ts";
import { bytes, count, digest, moment } from "../words.ts";

/** Releases are what the developer signed and published, the newest first. */
export function Releases() {
	void drawn.value;
	const runs = new Map<string, number>();
	for (const n of nodes.values()) if (!n.revoked) for (const m of n.modules ?? []) if (m.version) runs.set(`${m.name}@${m.version}`, (runs.get(`${m.name}@${m.version}`) ?? 0) + 1);
	const rows = [...releases.values()].sort((a, b) => b.published.localeCompare(a.published));
	return (
		<>
			<h1>Releases</h1>
			{rows.length === 0 && <p class="none">Nothing was published yet: <code>isomer publish digits.wasm --as digits@1.0.0</code></p>}
			<List label="Releases" rows={rows} keyOf={(r) => r.ref} link={(r) => to("releases", r.ref)} columns={[
				{ name: "Release", width: "minmax(9rem, 1fr)", cell: (r) => r.ref },
				{ name: "Runs on", width: "5rem", numeric: true, cell: (r) => count(runs.get(r.ref) ?? 0) },
				{ name: "Size", width: "5rem", numeric: true, cell: (r) => bytes(r.size) },
				{ name: "Golden cases", width: "7rem", numeric: true, wide: true, cell: (r) => r.cases },
				{ name: "Digest", width: "8rem", wide: true, cell: (r) => <code>{digest(r.digest)}</code> },
				{ name: "Published", width: "11rem", wide: true, cell: (r) => moment(r.published) },
				{ name: "By", width: "minmax(5rem, .5fr)", wide: true, cell: (r) => r.by },
			]} />
		</>
	);
}

/** ReleaseDetail is one release: what it is, who signed it, what it can and may do, and what it costs. */
export function ReleaseDetail({ name }: { name: string }) {
	void drawn.value;
	const r = releases.get(name);
	if (!r) return <><h1>{name}</h1><p>The signed list has no such release.</p></>;
	const m = r.manifest;
	const on = [...nodes.values()].filter((n) => n.modules?.some((have) => `${have.name}@${have.version}` === r.ref));
	const moves = [...rollouts.values()].filter((o) => o.release === r.ref).sort((a, b) => b.deployment.localeCompare(a.deployment));
	return (
		<>
			<p class="up"><a href={to("releases")}>Releases</a></p>
			<h1>{r.ref}</h1>
			<Facts>
				<Fact name="Size">{bytes(r.size)}</Fact>
				<Fact name="Published">{moment(r.published)} by {r.by}</Fact>
				<Fact name="Golden cases">{r.cases}</Fact>
				<Fact name="Runs on"><a href={`${to("nodes")}?runs=${encodeURIComponent(r.ref)}`}>{count(on.length)} nodes</a></Fact>
				<Fact name="SHA-256"><code class="long">{r.digest}</code></Fact>
				<Fact name="Signed by">{r.signedBy.map((k) => <code key={k} class="long">{k.slice(0, 16)} </code>)}</Fact>
			</Facts>
			<p>
				{may("deployer") && <a class="button" href={`${to("deploy")}?release=${encodeURIComponent(r.ref)}`}>Deploy</a>}{" "}
				<a class="button quiet" href={`${to("playground")}?release=${encodeURIComponent(r.ref)}`}>Try it here</a>
			</p>
			{moves.length > 0 && (
				<section aria-labelledby="moves">
					<h2 id="moves">Rollouts</h2>
					<ul class="rows">{moves.map((o) => <li key={o.deployment}><a href={to("rollouts", o.deployment)}>{o.deployment}</a><Phase phase={o.phase} /><span class="number">{count(o.updated)} of {count(o.chosen)}</span></li>)}</ul>
				</section>
			)}
			{m && <Abilities r={r} />}
			<Cost r={r} />
		</>
	);
}

function Abilities({ r }: { r: Release }) {
	const m = r.manifest!;
	return (
		<section aria-labelledby="manifest">
			<h2 id="manifest">Manifest</h2>
			<Facts>
				<Fact name="Module">{m.name} {m.version}</Fact>
				<Fact name="Permissions">{m.permissions?.join(", ") || "none"}</Fact>
				<Fact name="WebAssembly">{m.features?.join(", ") || "1.0"}</Fact>
				{m.image && <Fact name="Picture">{m.image.width}×{m.image.height}</Fact>}
				{m.labels && <Fact name="Labels">{m.labels.length > 12 ? `${m.labels.length}: ${m.labels.slice(0, 12).join(", ")} …` : m.labels.join(", ")}</Fact>}
				{m.memory?.maxPages && <Fact name="Memory">at most {bytes(m.memory.maxPages * 65536)}</Fact>}
			</Facts>
			{m.functions && (
				<div class="scroll"><table>
					<thead><tr><th>Function</th><th>Convention</th><th>In</th><th>Out</th><th>For</th></tr></thead>
					<tbody>{m.functions.map((f) => <tr key={f.name}><td><code>{f.name}</code></td><td>{f.convention}</td><td>{f.input ?? ""}</td><td>{f.output ?? ""}</td><td>{f.doc}</td></tr>)}</tbody>
				</table></div>
			)}
			{(m.inputs || m.outputs) && (
				<div class="scroll"><table>
					<thead><tr><th>Tensor</th><th>Type</th><th>Shape</th></tr></thead>
					<tbody>{[...(m.inputs ?? []), ...(m.outputs ?? [])].map((t) => <tr key={t.name}><td><code>{t.name}</code></td><td>{t.dtype}</td><td class="number">{t.shape.join("×")}</td></tr>)}</tbody>
				</table></div>
			)}
		</section>
	);
}

/** What the module is made of, read from the file itself: sections, and the layers that the compiler wrote down. */
function Cost({ r }: { r: Release }) {
	const [got, setGot] = useState<Contents | null>(null);
	const [problem, setProblem] = useState("");
	async function load() {
		setProblem("");
		try {
			const body = await (await hub.peek()!.fetch(`/v1/modules/${r.digest}`)).arrayBuffer();
			setGot(contents(new Uint8Array(body)));
		} catch (err) {
			setProblem((err as Error).message);
		}
	}
	useEffect(() => {
		setGot(null);
		if (r.size < 32e6) void load();
	}, [r.digest]);
	return (
		<section aria-labelledby="cost">
			<h2 id="cost">Contents and cost</h2>
			{problem && <p class="problem" role="alert">{problem}</p>}
			{!got && !problem && (r.size < 32e6 ? <p class="none">reading the module …</p> : <button onClick={load}>Read the module, {bytes(r.size)}</button>)}
			{got && (
				<Facts>{got.sections.map((s, i) => <Fact key={i} name={s.name}>{bytes(s.size)}</Fact>)}</Facts>
			)}
			{got?.layers && <Layers layers={got.layers} />}
		</section>
	);
}

function Layers({ layers }: { layers: NonNullable<Contents["layers"]> }) {
	const all = layers.reduce((sum, l) => sum + l.macs, 0) || 1;
	return (
		<div class="scroll"><table>
			<caption>{layers.length} layers, {count(all)} multiply-adds</caption>
			<thead><tr><th>Layer</th><th>Operation</th><th class="number">Multiply-adds</th><th class="number">Share</th><th /></tr></thead>
			<tbody>{layers.map((l, i) => (
				<tr key={i}><td class="name">{l.name}</td><td>{l.op}</td><td class="number">{l.macs ? count(l.macs) : ""}</td><td class="number">{l.macs ? `${((l.macs / all) * 100).toFixed(1)} %` : ""}</td>
					<td class="share"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width={(l.macs / all) * 100} height="8" /></svg></td></tr>
			))}</tbody>
		</table></div>
	);
}
