// The page /node/: a phone that opens it with a join token becomes a node of the fleet, runs what is deployed to it, and
// reads what its camera sees.

import { FleetNode, type ModuleReport } from "@isomer/bridge/fleet";
import { Camera } from "./camera.ts";

declare const VERSION: string;

const $ = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
const set = (id: string, text: string): void => {
	const e = $(id);
	if (e.textContent !== text) e.textContent = text;
};

const wrong = { page: "", node: "" };

function problem(text: string, of: keyof typeof wrong = "page"): void {
	wrong[of] = text;
	const all = [wrong.page, wrong.node].filter(Boolean).join("\n");
	set("problem", all);
	$("problem").hidden = !all;
}

let node: FleetNode | undefined;
let drawing = false;

/** Draws the node once in a frame, however much changes. */
function changed(): void {
	if (drawing) return;
	drawing = true;
	// A hidden page has no frames, and shows nothing.
	requestAnimationFrame(() => {
		drawing = false;
		if (node) draw(node);
	});
}

function draw(n: FleetNode): void {
	const r = n.describe();
	set("name", r.node);
	document.title = `${r.node} – Isomer node`;
	set("link", [n.connected ? "connected" : "no connection", r.layer, ...(r.saving ?? [])].join(" · "));
	$("link").classList.toggle("live", n.connected);
	problem((r.problems ?? []).join("\n"), "node");
	$("list").replaceChildren(...(r.modules.length ? r.modules.map(row) : [text("li", "Nothing is deployed to this node yet.")]));
	const lines = n.logs.slice(-50).map((l) => text("li", `${l.at.slice(11, 19)} ${l.module ? `${l.module}: ` : ""}${l.message}`, l.level));
	$("log").replaceChildren(...lines);
}

function text(tag: string, content: string, name = ""): HTMLElement {
	const e = document.createElement(tag);
	e.textContent = content;
	if (name) e.className = name;
	return e;
}

function row(m: ModuleReport): HTMLElement {
	const li = document.createElement("li");
	li.append(text("span", m.state, `state ${m.state}`), text("strong", m.release || m.name));
	if (m.desired && m.desired !== m.release) li.append(text("span", ` → ${m.desired}`));
	const facts = [m.digest?.slice(0, 12), m.stats.calls ? `${m.stats.calls} calls, half below ${(m.stats.p50us / 1000).toFixed(1)} ms` : ""].filter(Boolean).join(" · ");
	if (facts) li.append(text("p", facts, "hint"));
	if (m.reason) li.append(text("p", m.reason, "problem"));
	return li;
}

const options = { hub: location.origin, version: VERSION, worker: new URL("worker.js", document.baseURI), onChange: changed };

/** The token of a scanned code: it is in the address, behind #, which no server sees. It leaves the address at once. */
function takeToken(): string {
	let token = location.hash.slice(1);
	try {
		token = decodeURIComponent(token);
	} catch {
		// What a camera misread is refused as a token is.
	}
	if (token) history.replaceState(null, "", location.pathname + location.search);
	return token;
}

async function become(token: string): Promise<void> {
	problem("");
	try {
		node = token ? await FleetNode.join(token, options) : await FleetNode.open(options);
	} catch (e) {
		problem((e as Error).message);
		node = token ? await FleetNode.open(options).catch(() => undefined) : undefined; // who this page was before
	}
	$("join").hidden = node !== undefined;
	if (!node) {
		set("link", "not a node yet");
		return;
	}
	for (const id of ["camera", "modules", "more"]) $(id).hidden = false;
	node.start();
	changed();
	watchCamera(node);
}

function watchCamera(n: FleetNode): void {
	const camera = new Camera(n, $("video"), $("frame"), {
		reading(r, pictures) {
			set("reading", r.text);
			set("release", `${r.release} (${r.digest.slice(0, 8)})`);
			set("latency", `${r.took.toFixed(1)} ms`);
			set("certain", r.probability === undefined ? "–" : `${(100 * r.probability).toFixed(0)} %`);
			set("pictures", String(pictures));
			changed();
		},
		problem: (text) => problem(text),
		running(on) {
			$("stop").hidden = !on;
			for (const id of ["use-camera", "use-frames"]) $(id).hidden = on;
		},
	});
	$("use-camera").addEventListener("click", () => void camera.useCamera());
	$("use-frames").addEventListener("click", () => void camera.useSamples());
	$("stop").addEventListener("click", () => camera.stop());
	if (new URLSearchParams(location.search).has("frames")) void camera.useSamples(); // a page that nobody has to click
}

function forgetting(): void {
	let sure = false;
	$("forget").addEventListener("click", async () => {
		if (!sure) {
			sure = true;
			$("forget-hint").hidden = false;
			return;
		}
		await node?.stop();
		await FleetNode.forget();
		location.reload();
	});
}

/** One page of a browser is the node: a second one would speak under the same name. */
async function alone(): Promise<void> {
	const held = new Promise<boolean>((resolve) => {
		void navigator.locks.request("isomer-node", { ifAvailable: true }, (lock) => {
			resolve(lock !== null);
			return lock ? new Promise(() => {}) : undefined;
		});
	});
	if (await held) return;
	set("link", "waiting");
	problem("This node runs in another tab. It goes on here when that one is closed.");
	await new Promise<void>((resolve) => {
		void navigator.locks.request("isomer-node", () => {
			resolve();
			return new Promise(() => {});
		});
	});
	problem("");
}

/** Has a newer build of this page take over, where one is there: true, and the page is loaded anew. */
async function renewed(): Promise<boolean> {
	const waiting = (await navigator.serviceWorker?.getRegistration())?.waiting;
	if (!waiting || !navigator.serviceWorker.controller) return false;
	navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
	waiting.postMessage("take over");
	return true;
}

async function main(): Promise<void> {
	if (await renewed()) return; // the token is still in the address
	const token = takeToken();
	if (!globalThis.isSecureContext) {
		set("link", "not possible here");
		problem("A node needs a secure page: open it by https with a certificate that this browser trusts, or from localhost.");
		return;
	}
	navigator.serviceWorker?.register("sw.js").catch((e: Error) => console.warn(`without a network this page will not open: ${e.message}`));
	$("join").addEventListener("submit", (e) => {
		e.preventDefault();
		void become($<HTMLInputElement>("token").value);
	});
	addEventListener("hashchange", () => {
		const next = takeToken();
		if (next && !node) void become(next);
	});
	forgetting();
	await alone();
	await become(token);
}

void main();
