// What a module's file is made of, for people: its sections, and the layers and golden cases that the compiler wrote into
// them. A file that is none, or cut off, is an error and never a wrong number.

export interface Contents {
	sections: { name: string; size: number }[];
	layers?: { name: string; op: string; macs: number; output?: number[] }[];
	golden: { function: string; width?: number; height?: number }[];
}

const names = ["custom", "types", "imports", "functions", "tables", "memory", "globals", "exports", "start", "elements", "code", "data", "data count"];

export function contents(bytes: Uint8Array): Contents {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	if (bytes.length < 8 || view.getUint32(0) !== 0x0061736d) throw new Error("the file is no WebAssembly module");
	const out: Contents = { sections: [], golden: [] };
	let at = 8;
	const u32 = (): number => {
		let n = 0;
		for (let shift = 0; shift < 35; shift += 7) {
			const b = bytes[at++];
			if (b === undefined) throw new Error("the module is cut off");
			n += (b & 0x7f) * 2 ** shift;
			if (b < 0x80) return n;
		}
		throw new Error(`the module has a malformed number at byte ${at}`);
	};
	while (at < bytes.length) {
		const id = bytes[at++]!, size = u32(), end = at + size;
		if (end > bytes.length) throw new Error("the module is cut off");
		let name = names[id] ?? `section ${id}`;
		if (id === 0) {
			const length = u32(), from = at;
			at += length;
			if (at > end) throw new Error("the module has a malformed custom section");
			name = new TextDecoder().decode(bytes.subarray(from, at));
			const json = (): unknown => JSON.parse(new TextDecoder().decode(bytes.subarray(at, end)));
			if (name === "isomer.layers") out.layers = layersOf(json());
			else if (name === "isomer.manifest") out.golden = (json() as { golden?: Contents["golden"] }).golden ?? [];
		}
		out.sections.push({ name, size });
		at = end;
	}
	return out;
}

function layersOf(json: unknown): NonNullable<Contents["layers"]> {
	if (!Array.isArray(json)) return [];
	return json.map((l: Record<string, unknown>) => ({ name: String(l["name"] ?? ""), op: String(l["op"] ?? ""), macs: Math.max(0, Number(l["macs"] ?? 0)) || 0, output: Array.isArray(l["output"]) ? (l["output"] as number[]) : undefined }));
}
