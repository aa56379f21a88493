// How figures and answers are written.

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

// An answer may have megabytes, whose layout would hold the page up.
const longest = 20_000;

/** What an answer says: JSON or text, or its size and first bytes. */
export function answer(b: Uint8Array): string {
	let text: string;
	try {
		text = new TextDecoder("utf-8", { fatal: true }).decode(b);
	} catch {
		return hex(b);
	}
	if (/[\0-\x08\x0e-\x1f]/.test(text)) return hex(b);
	if (text.length <= longest) {
		try {
			// Only what comes out as it went in: an integer above 2^53 would become another one.
			const value: unknown = JSON.parse(text);
			if (JSON.stringify(value) === text.trim()) return JSON.stringify(value, null, 1);
		} catch {
			// no JSON
		}
		return text;
	}
	return `${text.slice(0, longest)}\n… ${bytes(b.length)} in all`;
}

function hex(b: Uint8Array): string {
	return `${b.length} bytes: ${Array.from(b.subarray(0, 32), (x) => x.toString(16).padStart(2, "0")).join(" ")}${b.length > 32 ? " …" : ""}`;
}
