// Addresses of pages are behind the #, so that the hub serves one page for all of them: #/nodes/dev7?layer=edge.
import { signal } from "@preact/signals";

export interface Route {
	path: string[];
	query: URLSearchParams;
}

function read(): Route {
	const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
	return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export const route = signal<Route>(read());

addEventListener("hashchange", () => {
	route.value = read();
	scrollTo(0, 0);
	document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
});

export function to(...path: string[]): string {
	return "#/" + path.map(encodeURIComponent).join("/");
}

export function go(...path: string[]): void {
	location.hash = to(...path);
}
