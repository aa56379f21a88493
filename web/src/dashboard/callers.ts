// One call in several places: here, by the bridge in this tab, and on nodes, by the hub. A picture is decoded once and
// goes to all of them as the same PNG, so that what they compute may be compared byte by byte.
import { Module, toPicture } from "@isomer/bridge";
import type { Layer, Release } from "./hub.ts";
import { hub } from "./session.ts";
import { sha256 } from "./sha256.ts";

export type Input = { kind: "image"; png: Blob } | { kind: "json"; text: string } | { kind: "bytes"; bytes: Blob };

export interface Place {
	name: string;
	node?: string;
	layer?: Layer;
}

export interface Answer {
	place: string;
	node?: string;
	release?: string;
	digest?: string;
	/** In the module, ms. */
	took?: number;
	/** With the way there and back, ms. */
	total?: number;
	bytes?: Uint8Array;
	error?: string;
}

export const here = "here";

/** A module opened in this tab; the last one stays open. */
let open: { digest: string; module: Module } | null = null;

async function opened(r: Release): Promise<Module> {
	if (open?.digest === r.digest) return open.module;
	const body = await (await hub.peek()!.fetch(`/v1/modules/${r.digest}`)).arrayBuffer();
	if ((await sha256(body)) !== r.digest) throw new Error(`the hub sent other bytes than ${r.ref} has`);
	const module = await Module.open(body, { watch: false });
	void open?.module.close();
	open = { digest: r.digest, module };
	return module;
}

/** Calls the release's function in this tab. */
export async function callHere(r: Release, fn: string, input: Input): Promise<Answer> {
	try {
		const module = await opened(r);
		const picture = input.kind === "image" ? await toPicture(input.png) : null;
		const data = input.kind === "json" ? input.text : input.kind === "bytes" ? new Uint8Array(await input.bytes.arrayBuffer()) : "";
		const began = performance.now();
		const bytes = picture ? await module.callImage(fn, picture) : await module.call(fn, data);
		const took = performance.now() - began;
		return { place: here, release: r.ref, digest: r.digest, took, total: took, bytes };
	} catch (err) {
		return { place: here, release: r.ref, error: (err as Error).message };
	}
}

/** Calls what a node, or any node of a layer, runs of the module. */
export async function callOn(place: Place, module: string, fn: string, input: Input): Promise<Answer> {
	const query = place.node ? `node=${encodeURIComponent(place.node)}` : `layer=${place.layer}`;
	const [type, body] = input.kind === "image" ? ["image/png", input.png] : input.kind === "json" ? ["application/json", input.text] : ["application/octet-stream", input.bytes];
	const began = performance.now();
	try {
		const r = await hub.peek()!.fetch(`/v1/call/${module}/${fn}?${query}`, { method: "POST", body }, { "Content-Type": type });
		const bytes = new Uint8Array(await r.arrayBuffer());
		const h = (k: string) => r.headers.get(k) ?? undefined;
		return { place: place.name, node: h("Isomer-Node"), release: h("Isomer-Release"), digest: h("Isomer-Digest"), took: duration(h("Isomer-Took")), total: performance.now() - began, bytes };
	} catch (err) {
		return { place: place.name, error: (err as Error).message };
	}
}

/** Milliseconds of what Go writes: 1.8ms, 350µs, 1m2.5s. */
export function duration(s?: string): number | undefined {
	if (!s) return undefined;
	const unit: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, "µs": 1e-3, us: 1e-3, ns: 1e-6 };
	let all = 0;
	for (const [, n, u] of s.matchAll(/([\d.]+)(h|ms|m|s|µs|us|ns)/g)) all += Number(n) * unit[u!]!;
	return all;
}

/** The picture as a PNG, which every place decodes to the same pixels. */
export async function asPNG(file: Blob): Promise<Blob> {
	const bitmap = await createImageBitmap(file, { premultiplyAlpha: "none" });
	const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
	canvas.getContext("2d", { alpha: false })!.drawImage(bitmap, 0, 0);
	bitmap.close();
	return canvas.convertToBlob({ type: "image/png" });
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
	return a.length === b.length && a.every((x, i) => x === b[i]);
}
