import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

const rowHeight = 40; // as style.css has it
const spare = 8; // rows above and below what is seen

interface Column<T> {
	name: string;
	cell: (row: T) => ComponentChildren;
	/** Of the grid: a track size. */
	width: string;
	numeric?: boolean;
	/** Left out on narrow screens. */
	wide?: boolean;
}

/**
 * List is a table of any length: only rows that are seen are in the document, and a row is drawn anew only when what it shows is
 * another object, or the second has passed. Arrow keys, Page Up and Down, Home and End move.
 */
export function List<T>({ label, rows, columns, keyOf, link }: { label: string; rows: T[]; columns: Column<T>[]; keyOf: (row: T) => string; link: (row: T) => string }) {
	const list = useRef<HTMLDivElement>(null), view = useRef<HTMLDivElement>(null), drawn = useRef(new Map<string, Drawn<T>>());
	const [top, setTop] = useState(0); // the first row that is seen
	const [height, setHeight] = useState(600);
	const at = useRef(-1);
	useEffect(() => {
		const v = view.current!;
		const watch = new ResizeObserver(() => setHeight(v.clientHeight));
		watch.observe(v);
		// The page's policy has no inline styles, but scripts may set them.
		list.current!.style.setProperty("--tracks", columns.map((c) => c.width).join(" "));
		list.current!.style.setProperty("--narrow", columns.filter((c) => !c.wide).map((c) => c.width).join(" "));
		return () => watch.disconnect();
	}, []);
	const first = Math.max(0, top - spare), last = Math.min(rows.length, top + Math.ceil(height / rowHeight) + spare);

	function move(e: KeyboardEvent) {
		const page = Math.max(1, Math.floor(height / rowHeight) - 1);
		const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length }[e.key];
		if (by === undefined || rows.length === 0) return;
		e.preventDefault();
		const to = (at.current = Math.min(rows.length - 1, Math.max(0, at.current + by)));
		const v = view.current!;
		if (to * rowHeight < v.scrollTop) v.scrollTop = to * rowHeight;
		else if ((to + 1) * rowHeight > v.scrollTop + height) v.scrollTop = (to + 1) * rowHeight - height;
		const focus = (tries: number) => requestAnimationFrame(() => {
			const a = v.querySelector<HTMLElement>(`[data-row="${to}"] a`);
			if (a) a.focus({ preventScroll: true });
			else if (tries > 0) focus(tries - 1); // its row is being drawn
		});
		focus(5);
	}

	const second = Math.floor(Date.now() / 1000), before = drawn.current, now = new Map<string, Drawn<T>>();
	for (let i = first; i < last; i++) {
		const row = rows[i]!, key = keyOf(row), have = before.get(key);
		now.set(key, have && have.row === row && have.index === i && have.second === second ? have : { row, index: i, second, node: draw(row, i, key) });
	}
	drawn.current = now;

	function draw(row: T, i: number, key: string): VNode {
		return (
			<div key={key} class="row" role="row" aria-rowindex={i + 2} data-row={i} ref={(e) => { if (e) e.style.top = `${i * rowHeight}px`; }}>
				{columns.map((c, j) => <span key={c.name} role="cell" class={classOf(c)}>{j === 0 ? <a href={link(row)} onFocus={() => { at.current = i; }}>{c.cell(row)}</a> : c.cell(row)}</span>)}
			</div>
		);
	}

	return (
		<div class="list" role="table" aria-label={label} aria-rowcount={rows.length + 1} ref={list}>
			<div class="head" role="row" aria-rowindex={1}>
				{columns.map((c) => <span key={c.name} role="columnheader" class={classOf(c)}>{c.name}</span>)}
			</div>
			<div class="view" role="rowgroup" ref={view} tabIndex={0} onScroll={(e) => setTop(Math.floor((e.target as HTMLElement).scrollTop / rowHeight))} onKeyDown={move}>
				<div class="all" ref={(e) => { if (e) size(e, `${rows.length * rowHeight}px`); }}>{[...now.values()].map((d) => d.node)}</div>
			</div>
		</div>
	);
}

interface Drawn<T> {
	row: T;
	index: number;
	second: number;
	node: VNode;
}

/** Makes the list as high as its rows, up to what style.css allows. */
function size(all: HTMLElement, height: string) {
	all.style.height = height;
	all.parentElement!.style.setProperty("--rows", height);
}

function classOf(c: { numeric?: boolean; wide?: boolean }): string {
	return `${c.numeric ? "number" : ""} ${c.wide ? "wide" : ""}`;
}
