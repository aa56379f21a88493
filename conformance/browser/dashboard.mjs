// Uses the dashboard as a person would, in Chromium, for dashboard_test.go: node dashboard.mjs, with a task as JSON on
// stdin. Prints what it saw as JSON.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const task = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(resolve(task.web, "package.json"));
const { chromium } = require("playwright-core");
const { default: decodeQR } = await import(require.resolve("qr/decode.js"));
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(task.screenshots, { recursive: true });

const errors = [];
const elsewhere = [];
const serious = [];
const seen = {};

// Without a sandbox of its own: tests run as root in containers, and open pages of this repository alone.
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"] });
setTimeout(() => {
  console.error(`not done after four minutes, at ${seen.at}\n${errors.join("\n")}`);
  process.exit(1); // and Chromium with it
}, 240_000).unref();

async function open(options) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(task.patience);
  page.on("pageerror", (e) => errors.push(String(e.stack ?? e)));
  page.on("console", (m) => m.type() === "error" && !m.text().includes("401") && errors.push(`${m.text()} (${m.location().url})`));
  page.on("request", (q) => {
    if (new URL(q.url()).host !== new URL(task.url).host && !/^(blob|data):/.test(q.url())) elsewhere.push(q.url());
  });
  return page;
}

process.on("uncaughtException", async (err) => {
  console.error(`at ${seen.at}: ${err.stack}\n${errors.join("\n")}`);
  for (const [i, p] of browser.contexts().flatMap((c) => c.pages()).entries()) {
    console.error(await p.innerText("main").catch(() => ""));
    await p.screenshot({ path: join(task.screenshots, `failed-${i}.png`) }).catch(() => {});
  }
  process.exit(1);
});

// see keeps a picture of the page and asks axe about it.
async function see(page, name) {
  seen.at = name;
  await page.screenshot({ path: join(task.screenshots, `${name}.png`) });
  const result = await page.evaluate(async () => (await globalThis.axe.run()).violations.map((v) => ({ id: v.id, impact: v.impact, on: v.nodes.map((n) => n.target.join(" ")).slice(0, 3), why: v.nodes[0]?.failureSummary })));
  for (const v of result) if (v.impact === "serious" || v.impact === "critical") serious.push(`${name}: ${v.id} at ${v.on.join(", ")}: ${v.why}`);
}

const go = async (page, hash, ready) => {
  seen.at = hash;
  await page.evaluate((h) => { location.hash = h; }, hash);
  await page.waitForSelector(ready);
};

// The policy of the page forbids inline scripts; axe comes in by the browser itself.
const page = await open({ viewport: { width: 1280, height: 860 } });
await page.addInitScript(axe);

// Login: a wrong token is told, the right one lets in.
await page.goto(task.url);
await page.fill("input[name=token]", "isomer-api-wrong");
await page.keyboard.press("Enter");
await page.waitForSelector("[role=alert]");
seen.wrong = await page.textContent("[role=alert]");
await see(page, "login");
await page.fill("input[name=token]", task.token);
await page.keyboard.press("Enter");
await page.waitForSelector(".layers .card");
await page.waitForFunction((n) => document.querySelector(".sum b")?.textContent === String(n), task.nodes);
await see(page, "overview");

// The keyboard alone: the first Tab skips to the content, the next ones reach every page.
await page.reload();
await page.waitForSelector(".layers .card");
await page.keyboard.press("Tab");
seen.skip = await page.evaluate(() => document.activeElement?.textContent);
await page.keyboard.press("Enter");
seen.skipped = await page.evaluate(() => document.activeElement?.id);
await page.focus("nav a:nth-child(2)");
await page.keyboard.press("Enter");
await page.waitForSelector(".list .row");
await page.focus(".list .view");
await page.keyboard.press("End");
await page.waitForFunction(() => document.activeElement?.closest(".row"));
seen.end = await page.evaluate(() => document.activeElement.textContent);
await see(page, "nodes");
await page.keyboard.press("Enter");
await page.waitForSelector(".log div");
seen.log = await page.textContent(".log");
await see(page, "node");
await go(page, "#/nodes", "#q");
await page.fill("#q", `layer-of-nobody`);
await page.waitForFunction(() => !document.querySelector(".list .row"));
await page.fill("#q", `${task.device} running`);
await page.waitForFunction((n) => document.querySelectorAll(".list .row").length === 1 && document.querySelector(".list .row a").textContent === n, task.device);

// A rollout by the wizard, to its end, and back.
await go(page, `#/releases/${encodeURIComponent(task.next)}`, "h2#cost");
await page.waitForSelector("caption"); // the layers, read from the module
seen.layers = await page.textContent("caption");
await see(page, "release");
await page.click("a.button:has-text('Deploy')");
await page.waitForSelector(".chips");
await page.click(".chip:has-text('layer=device')");
seen.chosen = await page.textContent("fieldset [role=status]");
await page.fill("input[name=canary]", "1");
await page.fill("input[name=waves]", "100%");
await page.fill("input[name=soak]", "0s");
await see(page, "deploy");
await page.click("form.wizard > button");
await page.waitForSelector(".waves");
await page.waitForSelector("h1 .mark:has-text('completed')");
await see(page, "rollout");
await page.click("button:has-text('Roll back')");
await page.fill(".actions input", "not wanted");
await page.click(".actions form button:has-text('Roll back')");
await page.waitForSelector("h1 .mark:has-text('rolled back')");
seen.history = await page.textContent(".history");
await go(page, "#/rollouts", ".list .row");
await see(page, "rollouts");
await go(page, "#/releases", ".list .row");
await see(page, "releases");

// One input here and on nodes: the same bytes.
await go(page, `#/playground?release=${encodeURIComponent(task.release)}`, "input[type=file]");
await page.reload(); // with the release of the address
await page.waitForSelector("input[type=file]");
await page.setInputFiles("input[type=file]", task.picture);
await page.waitForSelector(".drop img");
for (const chip of await page.$$(".chip[aria-pressed=false]")) await chip.click();
await page.click("form.wizard > button:has-text('Call')");
await page.waitForSelector("article");
seen.agree = await page.textContent("[aria-labelledby=answers] > p");
seen.answers = await page.$$eval("article", (all) => all.map((a) => ({ place: a.querySelector("h3").textContent, text: a.querySelector("pre")?.textContent, problem: a.querySelector(".problem")?.textContent })));
await see(page, "playground");
await go(page, "#/same", "details");
await page.click("summary");
await page.setInputFiles("details input[type=file]", task.picture);
await page.waitForSelector("details .drop img");
await page.click("details button:has-text('Compare')");
await page.waitForSelector("details article");
seen.same = await page.textContent("details p.good");
await see(page, "same");

// A join token as a QR code, read back from the picture of the page.
await go(page, "#/enrol", "input[name=name]");
await page.fill("input[name=name]", "phone-1");
await page.click("text=Make a join token");
const code = await page.waitForSelector(".code");
const shot = (await code.screenshot()).toString("base64");
const pixels = await page.evaluate(async (png) => {
  const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]));
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return { width: bitmap.width, height: bitmap.height, data: Array.from(context.getImageData(0, 0, bitmap.width, bitmap.height).data) };
}, shot);
seen.qr = decodeQR({ ...pixels, data: Uint8ClampedArray.from(pixels.data) });
seen.address = await page.textContent(".copy code");
await see(page, "enrol");
await go(page, "#/audit", "table tbody tr");
seen.audit = await page.textContent("tbody");
await see(page, "audit");

// A viewer sees no more than a viewer may; dark, and as wide as a phone.
const phone = await open({ viewport: { width: 360, height: 740 }, colorScheme: "dark", hasTouch: true });
await phone.addInitScript(axe);
await phone.goto(`${task.url}/#/login/${task.viewer}`);
await phone.waitForSelector(".layers .card");
await phone.waitForFunction(() => document.querySelector("nav a")); // its role is known
seen.nav = await phone.$$eval("nav a", (all) => all.map((a) => a.textContent));
seen.wide = [];
for (const [hash, ready] of [["#/", ".layers"], ["#/nodes", ".list .row"], [`#/nodes/${task.device}`, ".log"], ["#/releases", ".list .row"], [`#/releases/${encodeURIComponent(task.release)}`, "caption"], ["#/rollouts", ".list .row"], ["#/same", "table"], ["#/playground", ".drop"], ["#/enrol", "main p"]]) {
  await go(phone, hash, ready);
  const over = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) seen.wide.push(`${hash} is ${over} pixels wider than the screen`);
  await see(phone, `phone-${hash.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "") || "overview"}`);
}

await browser.close();
writeFileSync(1, JSON.stringify({ seen, errors, elsewhere, serious, version: browser.version() }));
process.exit(0);
