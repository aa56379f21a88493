// Who looks. The token stays in this tab: sessionStorage is gone when it is closed, and no cookie is sent by itself, so
// that no other page can act with it.
import { signal } from "@preact/signals";
import { about, follow, refused } from "./fleet.ts";
import { Hub, type Role } from "./hub.ts";

const stored = "isomer-token";

/** The hub with the token of the person; null: nobody is logged in. */
export const hub = signal<Hub | null>(null);

let end: AbortController | null = null;

export function login(token: string): void {
	sessionStorage.setItem(stored, token);
	end?.abort();
	end = new AbortController();
	refused.value = "";
	const h = new Hub(token);
	hub.value = h;
	void follow(h, end.signal);
}

export function logout(): void {
	sessionStorage.removeItem(stored);
	end?.abort();
	location.assign("/"); // and forget the fleet
}

/** Logs in with what the address has (#/login/TOKEN, as the command prints it) or the tab remembers. */
export function resume(): void {
	const given = /^#\/login\/([\w.-]+)$/.exec(location.hash)?.[1];
	if (given) location.replace("#/");
	const token = given ?? sessionStorage.getItem(stored);
	if (token) login(token);
}

const order: Role[] = ["viewer", "deployer", "admin"];

/** Whether the token may do what the role may. The hub decides; pages only leave out what would be refused. */
export function may(role: Role): boolean {
	const own = about.value?.role;
	return own !== undefined && order.indexOf(own) >= order.indexOf(role);
}
