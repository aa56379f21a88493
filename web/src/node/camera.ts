// The camera's part of the page: pictures from the camera or the samples, one after the other, never faster than they are
// read, none while nobody sees the page, one a second while the battery is low.

import type { FleetNode } from "@isomer/bridge/fleet";
import { eyeOf, layout, middle, type Reading, read } from "./reader.ts";

const samples = 8;
const every = 100; // ms between pictures of the camera
const sampleEvery = 700;
const savingEvery = 1000;

/** What the page shows of a picture. */
export interface Shown {
	reading(r: Reading, pictures: number): void;
	problem(text: string): void;
	running(on: boolean): void;
}

export class Camera {
	private stream?: MediaStream;
	private frames: ImageBitmap[] = [];
	private run = 0;
	private pictures = 0;

	constructor(
		private node: FleetNode,
		private video: HTMLVideoElement,
		private canvas: HTMLCanvasElement,
		private show: Shown,
	) {}

	async useCamera(): Promise<void> {
		this.stop();
		try {
			this.stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: { ideal: "environment" } } });
		} catch (e) {
			const why = (e as Error).name === "NotAllowedError" ? "the camera was not allowed" : (e as Error).message;
			this.show.problem(`No camera: ${why}. The sample pictures work without one.`);
			return;
		}
		for (const t of this.stream.getTracks()) {
			t.addEventListener("ended", () => {
				this.stop();
				this.show.problem("The camera ended.");
			});
		}
		this.video.srcObject = this.stream;
		await this.video.play();
		await this.loop(() => [this.video, this.video.videoWidth, this.video.videoHeight], every);
	}

	async useSamples(): Promise<void> {
		this.stop();
		if (!this.frames.length) {
			const names = Array.from({ length: samples }, (_, k) => `frames/${k}.png`);
			this.frames = await Promise.all(names.map(async (n) => createImageBitmap(await (await fetch(n)).blob())));
		}
		let k = 0;
		await this.loop(() => {
			const f = this.frames[k++ % this.frames.length]!;
			return [f, f.width, f.height];
		}, sampleEvery);
	}

	stop(): void {
		this.run++;
		for (const t of this.stream?.getTracks() ?? []) t.stop();
		this.stream = undefined;
		this.video.srcObject = null;
		this.show.running(false);
	}

	private async loop(next: () => [CanvasImageSource, number, number], pause: number): Promise<void> {
		const run = ++this.run;
		this.show.running(true);
		this.show.problem("");
		while (run === this.run) {
			const began = performance.now();
			const saving = this.node.power.saving;
			if (!saving.includes("hidden")) await this.one(next());
			const wait = saving.length ? savingEvery : pause;
			await new Promise((r) => setTimeout(r, Math.max(0, wait - (performance.now() - began))));
		}
	}

	private async one([source, width, height]: [CanvasImageSource, number, number]): Promise<void> {
		if (!width || !height) return; // the camera has no picture yet
		const eye = eyeOf(this.node);
		this.draw(source, width, height, eye?.drums ?? true);
		if (!eye) return this.show.problem("No module that reads pictures is deployed to this node yet.");
		try {
			const r = await read(this.node, eye, source, width, height);
			this.show.reading(r, ++this.pictures);
			this.show.problem("");
			this.node.publish(`meters.${this.node.name}.value`, JSON.stringify({ value: r.text, probability: r.probability, release: r.release }));
		} catch (e) {
			this.show.problem((e as Error).message);
		}
	}

	private draw(source: CanvasImageSource, width: number, height: number, drums: boolean): void {
		const c = this.canvas.getContext("2d")!;
		const part = drums ? middle(width, height) : { x: 0, y: 0, width, height };
		const to = Math.round((this.canvas.width * part.height) / part.width);
		if (this.canvas.height !== to) this.canvas.height = to;
		c.drawImage(source, part.x, part.y, part.width, part.height, 0, 0, this.canvas.width, to);
		if (!drums) return;
		c.strokeStyle = "#3fd0a0";
		for (const d of layout.drums) c.strokeRect(d.x + 0.5, d.y + 0.5, d.side, d.side);
	}
}
