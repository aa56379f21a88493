// Makes the pictures of the README: runs the demo, opens its dashboard, and lets a page the size of a phone join as a node.
// node web/screenshots.mjs, after npm ci --ignore-scripts in web; it needs Go and Chromium.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const env = { ...process.env };
for (const screen of ["DISPLAY", "WAYLAND_DISPLAY"]) delete env[screen]; // the demo's own browser shows nothing
const demo = spawn("go", ["run", "./cmd/isomer", "demo", "--open", "--phase", "2s"], { cwd: root, env, stdio: ["ignore", "inherit", "pipe"], detached: true });
const ended = new Promise((done) => demo.on("exit", done));
try {
	const url = await new Promise((done, fail) => {
		demo.on("exit", () => fail(new Error("the demo ended early")));
		createInterface({ input: demo.stderr }).on("line", (line) => {
			console.error(line);
			const goes = /goes on until Ctrl-C; the dashboard: (\S+)/.exec(line);
			if (goes) done(goes[1]);
		});
	});
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
	const desk = await browser.newPage({ viewport: { width: 1280, height: 460 }, deviceScaleFactor: 1.5, colorScheme: "light" });
	await desk.goto(url);
	await desk.waitForSelector(".layers .card .versions a");
	await desk.goto(`${new URL(url).origin}/#/enrol`);
	await desk.fill("input[name=name]", "phone-2");
	await desk.click("text=Make a join token");
	const address = await desk.textContent(".copy code");

	const phone = await (await browser.newContext({ viewport: { width: 390, height: 760 }, deviceScaleFactor: 1.5, colorScheme: "dark", hasTouch: true, isMobile: true })).newPage();
	await phone.goto(address.replace("/node/", "/node/?frames"));
	await phone.waitForFunction(() => Number(document.getElementById("pictures")?.textContent) > 5);
	await phone.screenshot({ path: join(root, "docs", "images", "node.png") });
	await desk.goto(`${new URL(url).origin}/#/`);
	await desk.waitForFunction(() => [...document.querySelectorAll(".layers .number")].some((n) => n.textContent === "2"));
	await desk.waitForTimeout(1000);
	await desk.screenshot({ path: join(root, "docs", "images", "dashboard.png") });
	await browser.close();
} finally {
	process.kill(-demo.pid, "SIGINT");
	await ended;
}
