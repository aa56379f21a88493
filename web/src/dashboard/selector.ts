// Selectors as the hub reads them: layer=device,site=a|b. All requirements hold, each with one of its values.
import type { NodeRow, Requirement } from "./hub.ts";

export function chooses(to: Requirement[] | null | undefined, n: NodeRow): boolean {
	return (to ?? []).every((r) => {
		const own = r.key === "layer" ? n.layer : r.key === "name" ? n.node : n.labels?.[r.key];
		return r.values.includes(own ?? "");
	});
}

export function write(to: Requirement[] | null | undefined): string {
	return (to ?? []).map((r) => `${r.key}=${r.values.join("|")}`).join(",") || "all";
}

/** Reads a selector; its error is for the person who types. */
export function parse(text: string): Requirement[] {
	const s = text.trim();
	if (s === "all") return [];
	if (s === "") throw new Error("choose some nodes, or all");
	const out: Requirement[] = [];
	for (const part of s.split(",")) {
		const at = part.indexOf("=");
		if (at < 1) throw new Error(`"${part}": want key=value or key=value|value`);
		const key = part.slice(0, at);
		if (out.some((r) => r.key === key)) throw new Error(`${key} is required twice; alternatives are written ${key}=a|b`);
		out.push({ key, values: part.slice(at + 1).split("|") });
	}
	return out;
}
