import { about, byLayer, deployments, drawn, hubTime, releases, rollouts } from "../fleet.ts";
import type { LayerCount } from "../fleet.ts";
import type { Rollout } from "../hub.ts";
import { Bar } from "../parts/bar.tsx";
import { Phase } from "../parts/mark.tsx";
import { to } from "../route.ts";
import { ago, count, plural } from "../words.ts";

const names = { cloud: "Cloud", edge: "Edge", mobile: "Mobile", device: "Device" };

/** Overview is the fleet by layer, and what moves. */
export function Overview() {
	void drawn.value;
	const all = byLayer.value;
	const total = all.reduce((n, l) => n + l.nodes, 0);
	const recent = [...rollouts.values()].sort((a, b) => b.deployment.localeCompare(a.deployment)).slice(0, 8);
	return (
		<>
			<h1>Fleet</h1>
			<p class="sum">
				<b>{count(total)}</b> {plural(total, "node")} · <b>{count(releases.size)}</b> {plural(releases.size, "release")} · <b>{count(deployments.size)}</b> {plural(deployments.size, "deployment")}{about.value && <> · hub {about.value.version}</>}
			</p>
			<div class="layers">{all.map((l) => <Layer key={l.layer} l={l} />)}</div>
			<section aria-labelledby="recent">
				<h2 id="recent">Rollouts</h2>
				{recent.length === 0 ? <p class="none">Nothing was deployed yet.</p> : <ul class="rows">{recent.map((r) => <Row key={r.deployment} r={r} />)}</ul>}
			</section>
		</>
	);
}

function Layer({ l }: { l: LayerCount }) {
	const versions = [...l.versions].sort(([, a], [, b]) => b - a);
	return (
		<section class="card" aria-labelledby={`layer-${l.layer}`}>
			<h2 id={`layer-${l.layer}`}><a href={`${to("nodes")}?layer=${l.layer}`}>{names[l.layer]}</a> <span class="number">{count(l.nodes)}</span></h2>
			<Bar label={`Health of the ${l.layer} layer`} parts={[["ok", l.health.ok], ["failing", l.health.failing], ["offline", l.health.offline], ["silent", l.health.silent]]} />
			<ul class="versions">
				{versions.slice(0, 6).map(([v, n]) => (
					<li key={v}><a href={`${to("nodes")}?layer=${l.layer}&runs=${encodeURIComponent(v)}`}>{v}</a><span class="number">{count(n)}</span></li>
				))}
				{versions.length > 6 && <li>{versions.length - 6} more</li>}
				{versions.length === 0 && <li class="none">nothing runs</li>}
			</ul>
		</section>
	);
}

function Row({ r }: { r: Rollout }) {
	const d = deployments.get(r.deployment);
	return (
		<li>
			<a href={to("rollouts", r.deployment)}>{r.release}</a>
			<Phase phase={r.phase} />
			<span class="number">{count(r.updated)} of {count(r.chosen)}</span>
			<span class="quiet">{d && `${ago(hubTime() - Date.parse(d.at))} ago by ${d.by}`}</span>
		</li>
	);
}
