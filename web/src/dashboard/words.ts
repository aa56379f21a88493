// How figures are written.

export function bytes(n: number): string {
	if (n < 1000) return `${n} B`;
	const units = ["kB", "MB", "GB"];
	let i = -1;
	do {
		n /= 1000;
		i++;
	} while (n >= 1000 && i < units.length - 1);
	return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

/** Microseconds as people read them. */
export function latency(us?: number): string {
	if (!us) return "–";
	if (us < 1000) return `${us < 10 ? us.toFixed(1) : Math.round(us)} µs`;
	if (us < 1e6) return `${us < 1e4 ? (us / 1000).toFixed(1) : Math.round(us / 1000)} ms`;
	return `${(us / 1e6).toFixed(1)} s`;
}

export function ago(ms: number): string {
	const s = Math.max(0, ms / 1000);
	if (s < 90) return `${Math.round(s)} s`;
	if (s < 5400) return `${Math.round(s / 60)} min`;
	if (s < 129_600) return `${Math.round(s / 3600)} h`;
	return `${Math.round(s / 86_400)} d`;
}

export function plural(n: number, word: string): string {
	return n === 1 ? word : `${word}s`;
}

export function count(n: number): string {
	return n.toLocaleString("en").replaceAll(",", "\u202f");
}

export function digest(d?: string): string {
	return d ? d.slice(0, 12) : "–";
}

export function labels(l?: Record<string, string>): string {
	return Object.entries(l ?? {}).map(([k, v]) => `${k}=${v}`).join(" ");
}

export function moment(at: string): string {
	const d = new Date(at);
	return `${d.toLocaleDateString("sv")} ${d.toLocaleTimeString("sv")}`;
}
