import { render } from "preact";
import type { ComponentType } from "preact";
import { about, link, ready, refused } from "./fleet.ts";
import { Agreement } from "./pages/agreement.tsx";
import { Audit } from "./pages/audit.tsx";
import { Deploy } from "./pages/deploy.tsx";
import { Enrol } from "./pages/enrol.tsx";
import { Login } from "./pages/login.tsx";
import { NodeDetail, Nodes } from "./pages/nodes.tsx";
import { Overview } from "./pages/overview.tsx";
import { Playground } from "./pages/playground.tsx";
import { ReleaseDetail, Releases } from "./pages/releases.tsx";
import { RolloutDetail, Rollouts } from "./pages/rollouts.tsx";
import { route, to } from "./route.ts";
import { hub, logout, may, resume } from "./session.ts";
import type { Role } from "./hub.ts";

interface Page {
	path: string;
	name: string;
	needs: Role;
	page: ComponentType;
	/** Of one thing: #/nodes/dev7. */
	detail?: ComponentType<{ name: string }>;
}

const pages: Page[] = [
	{ path: "", name: "Overview", needs: "viewer", page: Overview },
	{ path: "nodes", name: "Nodes", needs: "viewer", page: Nodes, detail: NodeDetail },
	{ path: "releases", name: "Releases", needs: "viewer", page: Releases, detail: ReleaseDetail },
	{ path: "rollouts", name: "Rollouts", needs: "viewer", page: Rollouts, detail: RolloutDetail },
	{ path: "deploy", name: "Deploy", needs: "deployer", page: Deploy },
	{ path: "same", name: "Same binary", needs: "viewer", page: Agreement },
	{ path: "playground", name: "Playground", needs: "viewer", page: Playground },
	{ path: "enrol", name: "Enrol", needs: "admin", page: Enrol },
	{ path: "audit", name: "Audit", needs: "admin", page: Audit },
];

function Shell() {
	if (!hub.value) return <Login />;
	if (refused.value) return <Login why={refused.value} />;
	const [first = "", name] = route.value.path;
	const page = pages.find((p) => p.path === first);
	return (
		<div class="shell">
			<a class="skip" href="#main" onClick={skip}>Skip to content</a>
			<header>
				<a class="brand" href="#/">Isomer</a>
				<nav aria-label="Pages">
					{pages.filter((p) => may(p.needs)).map((p) => (
						<a key={p.path} href={to(...(p.path ? [p.path] : []))} aria-current={p === page ? "page" : undefined}>{p.name}</a>
					))}
				</nav>
				<Link />
			</header>
			<main id="main" tabIndex={-1}>
				{!page ? <p>There is no such page.</p> : !may(page.needs) && about.value ? <p>This page needs a token with the role {page.needs}.</p> : page.detail && name ? <page.detail name={name} /> : <page.page />}
			</main>
		</div>
	);
}

function skip(e: Event) {
	e.preventDefault();
	document.getElementById("main")?.focus();
}

/** Whether what is shown is live, and who is logged in. */
function Link() {
	const words = { connecting: "connecting", live: ready.value ? "live" : "loading", lost: "no connection to the hub; trying again" }[link.value];
	return (
		<div class="link">
			<span class={`dot ${link.value}`} aria-hidden="true" />
			<span role="status">{words}</span>
			<span class="who">{about.value && `${about.value.name} (${about.value.role})`}</span>
			<button class="quiet" onClick={logout}>Log out</button>
		</div>
	);
}

resume();
render(<Shell />, document.getElementById("app")!);
