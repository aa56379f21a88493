// Measures the dashboard of a large fleet in Chromium, for dashboard_scale_test.go: how long the first view takes, and how
// smooth pages are while reports come in. A line of JSON for each; behind the first one, the reports begin.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const task = JSON.parse(readFileSync(0, "utf8"));
const { chromium } = createRequire(resolve(task.web, "package.json"))("playwright-core");
const say = (o) => console.log(JSON.stringify(o));
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"] });
setTimeout(() => {
  console.error("not done after four minutes");
  process.exit(1);
}, 240_000).unref();
const median = (a) => a.toSorted((x, y) => x - y)[a.length >> 1];

// From the request for the page until all nodes are counted and drawn; a new tab, nothing cached.
const first = [];
let page;
for (let i = 0; i < task.views; i++) {
  await page?.context().close();
  page = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 860 } })).newPage();
  await page.goto(`${task.url}/#/login/${task.token}`, { waitUntil: "commit" });
  first.push(await page.evaluate((n) => new Promise((done) => {
    const look = () => {
      if (document.querySelector(".sum b")?.textContent.replaceAll(/\D/g, "") === String(n)) requestAnimationFrame(() => setTimeout(() => done(performance.now())));
      else requestAnimationFrame(look);
    };
    look();
  }), task.nodes));
}
say({ first: { median: median(first), least: Math.min(...first), most: Math.max(...first) } });

// Frames of some seconds: the pace, and the longest gap between two.
const frames = (seconds, scroll) => page.evaluate(([seconds, scroll]) => new Promise((done) => {
  const view = document.querySelector(".list .view"), gaps = [], began = performance.now();
  let last = began, down = 1;
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    if (scroll) {
      if (view.scrollTop + view.clientHeight >= view.scrollHeight - 1) down = -1;
      else if (view.scrollTop === 0) down = 1;
      view.scrollTop += down * 37;
    }
    if (now - began < seconds * 1000) return requestAnimationFrame(frame);
    const worst = []; // the frames of each whole second
    let sum = 0, n = 0;
    for (const g of gaps.slice(1)) {
      sum += g;
      n++;
      if (sum >= 1000) { worst.push((n / sum) * 1000); sum = n = 0; }
    }
    done({ fps: ((gaps.length - 1) / (last - began)) * 1000, worstSecond: Math.min(...worst), longest: Math.max(...gaps.slice(1)), late: gaps.slice(1).filter((g) => g > 34).length, frames: gaps.length - 1 });
  };
  requestAnimationFrame(frame);
}), [seconds, scroll]);

await page.waitForTimeout(2000); // the reports flow
say({ page: "overview", ...(await frames(task.seconds, false)) });
await page.evaluate(() => { location.hash = "#/nodes"; });
await page.waitForSelector(".list .row");
say({ page: "nodes", ...(await frames(task.seconds, false)) });
say({ page: "nodes, scrolled", ...(await frames(task.seconds, true)) });
await page.evaluate(() => { location.hash = "#/same"; });
await page.waitForSelector("table");
say({ page: "same binary", ...(await frames(task.seconds, false)) });
say({ memory: await page.evaluate(() => performance.memory?.usedJSHeapSize / 1e6) });
await browser.close();
process.exit(0);
