import { useState } from "preact/hooks";
import encodeQR from "qr";
import { layers } from "../fleet.ts";
import type { Layer } from "../hub.ts";
import { hub } from "../session.ts";
import { sha256 } from "../sha256.ts";

interface Invited {
	secret: string;
	ca: string;
	hubs: string[];
}

/** Enrol makes a join token: words for a command, and a QR code that turns a phone into a node. */
export function Enrol() {
	const [made, setMade] = useState<{ name: string; layer: Layer; token: string } | null>(null);
	const [problem, setProblem] = useState("");
	const [layer, setLayer] = useState<Layer>("mobile");
	async function submit(e: SubmitEvent) {
		e.preventDefault();
		const f = new FormData(e.target as HTMLFormElement);
		const name = String(f.get("name")).trim(), lasts = String(f.get("lasts"));
		try {
			const labels = labelsOf(String(f.get("labels")));
			const h = hub.peek()!;
			const got = await h.ask<Invited>("POST", "/v1/joins", { name, layer, labels, lasts });
			setMade({ name, layer, token: joinToken(got, await rootPin()) });
			setProblem("");
		} catch (err) {
			setProblem((err as Error).message);
		}
	}
	return (
		<>
			<h1>Enrol a node</h1>
			<form class="wizard" onSubmit={submit}>
				<fieldset>
					<legend>Node</legend>
					<label>Name <input name="name" required maxLength={63} pattern="[a-z0-9][a-z0-9_\-]*" title="lower-case letters, digits, - and _" placeholder="phone-ann" autocomplete="off" /></label>
					<label>Layer <select name="layer" value={layer} onChange={(e) => setLayer(e.currentTarget.value as Layer)}>{layers.map((l) => <option key={l}>{l}</option>)}</select></label>
					<label>Labels <input name="labels" placeholder="site=a,line=2" spellcheck={false} autocomplete="off" /></label>
					<label>The token lasts <select name="lasts"><option value="1h">an hour</option><option value="24h" selected>a day</option><option value="168h">a week</option></select></label>
				</fieldset>
				{problem && <p class="problem" role="alert">{problem}</p>}
				<button>Make a join token</button>
			</form>
			{made && <Made {...made} />}
		</>
	);
}

function Made({ name, layer, token }: { name: string; layer: Layer; token: string }) {
	const url = `${location.origin}/node/#${token}`;
	return (
		<section class="card" aria-labelledby="made">
			<h2 id="made">{name} may join once with this</h2>
			{layer === "mobile" ? (
				<div class="qr">
					<Code text={url} />
					<div>
						<p>Scan it with the phone, or open it in any browser: the page becomes the node.</p>
						<p><a href={url} target="_blank" rel="noopener">Open it here</a></p>
						<Copy text={url} label="the address" />
					</div>
				</div>
			) : null}
			<p>On a machine:</p>
			<Copy text={`isomer node --join ${token}`} label="the command" />
		</section>
	);
}

function Copy({ text, label }: { text: string; label: string }) {
	const [done, setDone] = useState(false);
	return (
		<div class="copy">
			<code class="long">{text}</code>
			<button type="button" class="quiet" aria-label={`Copy ${label}`} onClick={() => navigator.clipboard.writeText(text).then(() => setDone(true), () => setDone(false))}>{done ? "Copied" : "Copy"}</button>
		</div>
	);
}

/** A QR code as one path, dark on white in both colour schemes: cameras want it so. */
function Code({ text }: { text: string }) {
	const data = encodeQR(text, "raw", { ecc: "low", border: 4 }), size = data.length;
	let path = "";
	data.forEach((row, y) => row.forEach((dark, x) => { if (dark) path += `M${x} ${y}h1v1h-1z`; }));
	return <svg class="code" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="QR code of the address"><rect width={size} height={size} fill="#fff" /><path d={path} fill="#000" /></svg>;
}

function labelsOf(text: string): Record<string, string> {
	const out: Record<string, string> = {};
	for (const part of text.split(",").map((p) => p.trim()).filter(Boolean)) {
		const at = part.indexOf("=");
		if (at < 1) throw new Error(`label "${part}": want key=value`);
		out[part.slice(0, at)] = part.slice(at + 1);
	}
	return out;
}

/** The SHA-256 of the developer's root, as this hub has it. The command isomer enroll pins the developer's own copy, which is safer. */
async function rootPin(): Promise<string> {
	const files = await hub.peek()!.ask<Record<string, string>>("GET", "/v1/trust");
	const first = Object.keys(files).filter((n) => /^\d+\.root\.json$/.test(n)).sort((a, b) => parseInt(b) - parseInt(a))[0];
	if (!first) return "";
	return sha256(Uint8Array.from(atob(files[first]!), (c) => c.charCodeAt(0)));
}

/** The token as fleet.JoinToken writes it. */
function joinToken(i: Invited, root: string): string {
	const json = JSON.stringify({ h: i.hubs, s: i.secret, ...(i.ca && { c: i.ca }), ...(root && { r: root }), t: Math.floor(Date.now() / 1000) });
	return "isomer-join-" + btoa(json).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
