// A node of a fleet in Node.js, for fleet_javascript_test.go: node fleetnode.mjs BRIDGE FOLDER FUNCTION [TOKEN]
// It says what serves before it connects, calls its function all the time, and tells at the end of its input how that went.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, , bridge, folder, fn, token] = process.argv;
const { FleetNode, FolderStorage } = await import(pathToFileURL(bridge));
const storage = await FolderStorage.open(folder);
let problems = "";
const onChange = () => {
  const now = JSON.stringify(node?.describe().problems ?? []);
  if (problems && problems !== now) say({ problems: JSON.parse(now) });
  problems = now;
};
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);
let node;
node = token ? await FleetNode.join(token, { storage, onChange, version: "test" }) : await FleetNode.open({ storage, onChange, version: "test" });
const counts = { calls: 0, failed: [], answers: [] };
async function self(fn) {
  if (!node.module("meter")) return;
  try {
    counts.calls++;
    const text = new TextDecoder().decode((await node.call("meter", fn, "")).body);
    if (counts.answers.at(-1) !== text) counts.answers.push(text);
  } catch (e) {
    if (counts.failed.length < 20) counts.failed.push(e.message);
  }
}
await self("version");
say({ node: node.name, answers: counts.answers });
node.start();
if (process.env.ISOMER_TEST_LOG) setInterval(() => console.error(JSON.stringify(node.describe()), JSON.stringify(node.logs.slice(-3))), 1000);
let on = true;
createInterface({ input: process.stdin }).once("close", async () => {
  on = false;
  await node.stop();
  say(counts);
  process.exit(0);
});
while (on) {
  await self(fn);
  await new Promise((r) => setTimeout(r, 3));
}
