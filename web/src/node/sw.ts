// The service worker of /node/: the page opens without a network after its first load. What it has is one set of files of
// one build; another build brings another worker, and the set before goes when that one takes over.

declare const FILES: string[]; // of this build, and its name
declare const BUILD: string;

interface Extendable extends Event {
	waitUntil(p: Promise<unknown>): void;
}
interface Fetching extends Extendable {
	request: Request;
	respondWith(r: Promise<Response>): void;
}
const sw = self as unknown as {
	addEventListener(e: "install" | "activate", f: (e: Extendable) => void): void;
	addEventListener(e: "fetch", f: (e: Fetching) => void): void;
	addEventListener(e: "message", f: (e: MessageEvent) => void): void;
	skipWaiting(): Promise<void>;
	clients: { claim(): Promise<void> };
	registration: { scope: string };
};

const prefix = "isomer-page-";
const own = prefix + BUILD;
const at = (file: string): string => new URL(file, sw.registration.scope).href;

sw.addEventListener("install", (e) => {
	e.waitUntil(
		caches.open(own).then(async (c) => {
			// Past the browser's own cache: its files may be another build's.
			await c.addAll(FILES.map((f) => new Request(at(f), { cache: "reload" })));
		}),
	);
});

// A page that runs keeps its own build's files: the next one that is opened has this worker take over first.
sw.addEventListener("message", (e) => {
	if (e.data === "take over") void sw.skipWaiting();
});

sw.addEventListener("activate", (e) => {
	e.waitUntil(
		caches.keys().then(async (all) => {
			await Promise.all(all.filter((n) => n.startsWith(prefix) && n !== own).map((n) => caches.delete(n)));
			await sw.clients.claim();
		}),
	);
});

const files = new Set(FILES.map(at));

sw.addEventListener("fetch", (e) => {
	const { method, url } = e.request;
	const name = url.split(/[?#]/, 1)[0]!;
	if (method !== "GET" || !files.has(name)) return;
	e.respondWith(caches.open(own).then(async (c) => (await c.match(name)) ?? fetch(e.request)));
});
