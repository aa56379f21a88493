// Drives one page in Chromium by lines of JSON, for browser_node_test.go: node drive.mjs SDK CHROMIUM FOLDER PIN VIDEO
// Each line of the input is {"do": …}; each is answered by {"value": …} or {"error": …}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const [sdk, executablePath, folder, pin, video] = process.argv.slice(2);
const { chromium } = createRequire(resolve(sdk, "package.json"))("playwright-core");
const patience = 60_000;
// Without a sandbox of its own: tests run as root in containers, and open pages of this repository alone. The pin makes the
// hub's certificate one that the browser trusts, as it would one of a public authority.
const browser = await chromium.launchPersistentContext(folder, {
  executablePath, permissions: ["camera"], viewport: { width: 390, height: 844 },
  args: [
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", `--ignore-certificate-errors-spki-list=${pin}`,
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${video}`,
  ],
});
const page = browser.pages()[0] ?? (await browser.newPage());
page.setDefaultTimeout(patience);
const errors = [];
let devtools;
const hosts = new Set();
page.on("pageerror", (e) => errors.push(String(e.stack ?? e)));
page.on("console", (m) => m.type() === "error" && errors.push(`${m.text()} (${m.location().url})`));
browser.on("request", (q) => /^(blob|data):/.test(q.url()) || hosts.add(new URL(q.url()).host));
page.on("websocket", (w) => hosts.add(new URL(w.url()).host));

const commands = {
  open: ({ url }) => page.goto(url).then(() => undefined),
  reload: () => page.reload().then(() => undefined),
  click: ({ at }) => page.click(at),
  /** Waits until the text of an element holds what is wanted. */
  text: async ({ at, has }) => {
    try {
      await page.waitForFunction(([at, has]) => document.querySelector(at)?.textContent?.includes(has), [at, has]);
    } catch {
      throw new Error(`${at} does not say ${JSON.stringify(has)}; the page says:\n${(await page.innerText("body")).slice(0, 3000)}\n${errors.join("\n")}`);
    }
    return page.textContent(at);
  },
  size: ({ width, height }) => page.setViewportSize({ width, height }),
  run: ({ code }) => page.evaluate(code),
  shot: ({ file, dark }) => page.emulateMedia({ colorScheme: dark ? "dark" : "light" }).then(() => page.screenshot({ path: file, fullPage: true })).then(() => undefined),
  axe: async ({ file }) => {
    await page.evaluate(readFileSync(file, "utf8"));
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    return violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}: ${v.nodes[0]?.failureSummary}`);
  },
  /** What the page may store, in bytes; empty: what it could before. */
  quota: async ({ bytes }) => {
    devtools ??= await browser.newCDPSession(page); // its end would be the quota's
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, ...(bytes && { quotaSize: Number(bytes) }) });
  },
  errors: () => errors.splice(0),
  hosts: () => [...hosts],
  version: () => browser.browser()?.version() ?? "",
};
for await (const line of createInterface({ input: process.stdin })) {
  const q = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[q.do](q)) ?? null }));
  } catch (e) {
    console.log(JSON.stringify({ error: String(e.message ?? e) }));
  }
}
await browser.close();
