// Reads a counter from pictures with the module that the fleet deployed: a call for each drum, as examples/meter does, or
// one for the whole picture where the module reads something else.

import type { FleetNode } from "@isomer/bridge/fleet";

/** The counter of examples/meter/frames: where its drums are in a picture of so many pixels. */
export const layout = {
	width: 240, height: 96, decimals: 2, unit: "m³",
	drums: [18, 52, 86, 120, 154, 188].map((x, k) => ({ x, y: [29, 30, 30, 31, 32, 33][k]!, side: 36 })),
};

export interface Reading {
	text: string;
	/** Of the least certain drum, 0 to 1; undefined where the module does not say. */
	probability?: number;
	release: string;
	/** Milliseconds of the module's calls. */
	took: number;
	digest: string;
}

/** A module that takes pictures, and its function. */
export interface Eye {
	module: string;
	fn: string;
	drums: boolean;
}

/** The first module of the node that takes pictures. */
export function eyeOf(node: FleetNode): Eye | undefined {
	for (const r of node.describe().modules) {
		const m = node.module(r.name);
		const f = m?.functions.find((one) => one.convention === "image" || one.convention === "wasmtube-image");
		const labels = (m?.manifest as { labels?: string[] } | undefined)?.labels;
		if (m && f) return { module: r.name, fn: f.name, drums: labels?.join("") === "0123456789" || r.name === "digits" };
	}
	return undefined;
}

/** Where a picture's counter is: the largest middle part that has the layout's shape. */
export function middle(width: number, height: number): { x: number; y: number; width: number; height: number } {
	const scale = Math.min(width / layout.width, height / layout.height);
	const w = layout.width * scale;
	const h = layout.height * scale;
	return { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h };
}

interface Top {
	top?: { label?: string; probability?: number }[];
}

/** Cuts the drums out of what the source shows and has the module read them. */
export async function read(node: FleetNode, eye: Eye, source: CanvasImageSource, width: number, height: number): Promise<Reading> {
	const part = middle(width, height);
	const scale = part.width / layout.width;
	const cuts = eye.drums
		? layout.drums.map((d) => ({ x: part.x + d.x * scale, y: part.y + d.y * scale, side: d.side * scale }))
		: [];
	const answers = cuts.length
		? await Promise.all(cuts.map((c) => node.callImage(eye.module, eye.fn, cut(source, c.x, c.y, c.side, c.side))))
		: [await node.callImage(eye.module, eye.fn, cut(source, 0, 0, width, height))];
	const last = answers.at(-1)!;
	const took = answers.reduce((n, a) => n + a.took, 0);
	const tops = answers.map((a) => (a.encoding === "application/json" ? (JSON.parse(new TextDecoder().decode(a.body)) as Top) : {}).top?.[0]);
	const probability = tops.every((t) => t?.probability !== undefined) ? Math.min(...tops.map((t) => t!.probability!)) : undefined;
	const about = { probability, release: last.release, digest: last.digest, took };
	if (!cuts.length) return { ...about, text: tops[0]?.label ?? new TextDecoder().decode(last.body).slice(0, 200) };
	const digits = tops.map((t) => t?.label ?? "?").join("");
	const whole = digits.slice(0, -layout.decimals).replace(/^0+(?=.)/, "");
	return { ...about, text: `${whole}.${digits.slice(-layout.decimals)} ${layout.unit}` };
}

/** A part of the source in its own pixels: the module resizes, so that each layer gives it the same. */
function cut(source: CanvasImageSource, x: number, y: number, w: number, h: number): ImageData {
	const width = Math.max(1, Math.round(w));
	const height = Math.max(1, Math.round(h));
	const c = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
	c.drawImage(source, Math.round(x), Math.round(y), width, height, 0, 0, width, height);
	return c.getImageData(0, 0, width, height);
}
