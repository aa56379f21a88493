import { count } from "../words.ts";

/** Bar shows how a whole is divided, as a bar and in words. */
export function Bar({ label, parts }: { label: string; parts: [kind: string, n: number][] }) {
	const total = parts.reduce((sum, [, n]) => sum + n, 0);
	const shown = parts.filter(([, n]) => n > 0);
	return (
		<div class="bar">
			<svg role="img" aria-label={label} viewBox="0 0 100 4" preserveAspectRatio="none">
				<rect class="empty" x="0" y="0" width="100" height="4" />
				{shown.map(([kind, n], i) => {
					const before = shown.slice(0, i).reduce((sum, [, m]) => sum + m, 0);
					return <rect key={kind} class={kind} x={(before / total) * 100} y="0" width={(n / total) * 100} height="4" />;
				})}
			</svg>
			<ul>{shown.map(([kind, n]) => <li key={kind}><span class={`dot ${kind}`} aria-hidden="true" /> <span class="number">{count(n)}</span> {kind}</li>)}</ul>
		</div>
	);
}
