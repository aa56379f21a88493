// Opens a page in Chromium and prints what it found, for browser_test.go: node run.mjs SDK CHROMIUM URL.
// The page puts a promise into globalThis.done, whose value is printed as JSON with the page's own errors.
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [sdk, executablePath, url] = process.argv.slice(2);
const { chromium } = createRequire(resolve(sdk, "package.json"))("playwright-core");
// Without a sandbox of its own: tests run as root in containers, and open pages of this repository alone.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"] });
try {
  const page = await browser.newPage();
  const errors = [];
  const elsewhere = [];
  page.on("pageerror", (e) => errors.push(String(e.stack ?? e)));
  page.on("console", (m) => m.type() === "error" && errors.push(`${m.text()} (${m.location().url})`));
  page.on("request", (q) => {
    if (new URL(q.url()).host !== new URL(url).host && !/^(blob|data):/.test(q.url())) elsewhere.push(q.url());
  });
  await page.goto(url);
  const patience = setTimeout(() => {
    console.error(`the page is not done after two minutes\n${errors.join("\n")}`);
    process.exit(1); // and Chromium with it
  }, 120_000);
  const value = await page.evaluate(async () => {
    while (!globalThis.done) await new Promise((r) => setTimeout(r, 10)); // its script awaits what it fetches
    return globalThis.done;
  });
  clearTimeout(patience);
  console.log(JSON.stringify({ value, errors, elsewhere, version: browser.version() }));
} finally {
  await browser.close();
}
