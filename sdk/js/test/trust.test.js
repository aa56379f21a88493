// The cases that Go's tests of fleet/trust recorded, honest and hostile, through the browser's verifier: each step has
// the verdict that it has there.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { TrustClient, TrustError } from "../dist/fleet/index.js";

const fixture = JSON.parse(readFileSync(new URL("../../../conformance/trust.json", import.meta.url), "utf8"));

const file = (name) => new Uint8Array(name.startsWith("*") ? Buffer.alloc(Number(name.slice(1)), " ") : Buffer.from(fixture.files[name], "base64"));

async function verdict(f) {
  try {
    return ["ok", await f()];
  } catch (e) {
    if (!(e instanceof TrustError)) throw e;
    return [e.verdict, e];
  }
}

class Memory {
  all = new Map();
  async load(name) {
    return this.all.get(name);
  }
  async save(name, bytes) {
    this.all.set(name, bytes);
  }
}

async function replay(c) {
  const records = new Memory();
  let now = c.steps?.[0]?.now ?? 0;
  let offers = {};
  const options = {
    records, root: file(c.root), pin: c.pin, rootStep: c.rootStep || 256, now: () => now * 1000,
    fetch: async (name) => (offers[name] ? file(offers[name]) : undefined),
  };
  const open = () => verdict(() => TrustClient.open(options));
  let [opens, client] = await open();
  assert.equal(opens, c.opens, `opens: ${client}`);
  for (const [i, s] of (c.steps ?? []).entries()) {
    now = s.now;
    let got = "ok";
    let value;
    if (s.do === "refresh") {
      offers = s.offers ?? {};
      [got, value] = await verdict(() => client.refresh());
    } else if (s.do === "target") {
      [got, value] = await verdict(() => client.target(s.ref));
      assert.equal(got === "ok" ? value.digest : "", s.digest ?? "", `step ${i}`);
    } else if (s.do === "listed") {
      [got, value] = await verdict(() => client.listed(s.ref, s.digest));
    } else if (s.do === "reopen") {
      [got, client] = await open();
    } else if (s.do === "damage") {
      records.all.set(s.record, new TextEncoder().encode("{torn"));
    } else assert.fail(s.do);
    assert.equal(got, s.verdict, `step ${i}, ${s.do} ${s.ref ?? ""}: ${value}`);
  }
}

describe("verdicts on signed lists", () => {
  assert.ok(fixture.cases.length > 100);
  for (const [i, c] of fixture.cases.entries()) it(`${i} ${c.name}`, () => replay(c));
});
