import { useEffect, useRef, useState } from "preact/hooks";
import { drawn } from "../fleet.ts";

interface Point {
	at: number;
	value: number;
}

const shown = 5 * 60_000; // ms

/** What a figure was since the page looks at it: as it is, or by how much it grows in a second. */
export function useHistory(key: string, value: number, as: "value" | "rate"): Point[] {
	const [points, setPoints] = useState<Point[]>([]);
	const last = useRef<(Point & { key: string }) | null>(null);
	useEffect(() => {
		const at = Date.now(), before = last.current;
		if (!before || before.key !== key) {
			last.current = { at, value, key };
			setPoints(as === "value" ? [{ at, value }] : []);
			return;
		}
		if (before.value === value && at - before.at < 31_000) return;
		const next = as === "value" ? value : Math.max(0, value - before.value) / Math.max(0.001, (at - before.at) / 1000);
		last.current = { at, value, key };
		setPoints((have) => [...have.filter((p) => at - p.at < shown), { at, value: next }]);
	}, [key, value, drawn.value]);
	return points;
}

/** Spark is a line of the last minutes and its newest figure. */
export function Spark({ label, points, write }: { label: string; points: Point[]; write: (v: number) => string }) {
	const now = Date.now(), most = Math.max(...points.map((p) => p.value), 1e-9);
	const line = points.map((p) => `${100 - ((now - p.at) / shown) * 100},${30 - (p.value / most) * 28}`).join(" ");
	const newest = points.at(-1);
	return (
		<figure class="spark">
			<figcaption>{label} <b class="number">{newest ? write(newest.value) : "–"}</b></figcaption>
			<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={`${label} over the last 5 minutes`}>{points.length > 1 && <polyline points={line} />}</svg>
		</figure>
	);
}
