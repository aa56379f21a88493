// The parts of a node that need no hub; conformance/fleet_javascript_test.go and browser_node_test.go have the rest.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { FleetNode, FolderStorage, MemoryStorage, parseToken } from "../dist/fleet/index.js";

const token = (o) => `isomer-join-${Buffer.from(JSON.stringify(o)).toString("base64url")}`;
const good = { h: ["https://hub.example:8443"], s: "ab".repeat(32), c: "cd".repeat(32), r: "ef".repeat(32), t: 1 };

describe("join tokens", () => {
  it("are read", () => assert.deepEqual(parseToken(` ${token(good)}\n`), { hubs: good.h, secret: good.s, root: good.r }));
  const bad = {
    "another word": "isomer-token-abc", "cut off": token(good).slice(0, -20), "no hub": token({ ...good, h: [] }), "no list": token({ ...good, h: "https://a" }),
    "a script for a hub": token({ ...good, h: ["javascript:alert(1)"] }), "short secret": token({ ...good, s: "ab" }), "no secret": token({ ...good, s: undefined }),
    "damaged root": token({ ...good, r: "zz" }), "null": `isomer-join-${Buffer.from("null").toString("base64url")}`, "too long": `isomer-join-${"A".repeat(9000)}`,
  };
  for (const [what, t] of Object.entries(bad)) {
    it(`are refused: ${what}`, () =>
      assert.throws(() => parseToken(t), (e) => e.message.startsWith("join token: ") && !e.message.includes(good.s)));
  }
});

describe("an enrolment", () => {
  const answers = (status, body) => async () => new Response(JSON.stringify(body), { status });
  const joins = async (storage, fetch) => {
    const before = globalThis.fetch;
    globalThis.fetch = fetch;
    try {
      return await FleetNode.join(token(good), { storage });
    } finally {
      globalThis.fetch = before;
    }
  };
  it("that nobody answers is repeated with the same key", async () => {
    const storage = new MemoryStorage();
    const keys = [];
    const noting = (answer) => async (url, o) => {
      keys.push(JSON.parse(o.body).key);
      return answer();
    };
    await assert.rejects(joins(storage, noting(() => Promise.reject(new TypeError("no network")))), /nobody answers: https:\/\/hub.example:8443: no network/);
    await assert.rejects(joins(storage, noting(answers(503, { detail: "busy" }))), /503 busy/);
    await assert.rejects(joins(storage, noting(answers(403, { detail: "the token was used by another" }))), /the hub says no: the token was used by another/);
    assert.equal(new Set(keys).size, 1);
    assert.match(keys[0], /^U[A-Z2-7]{55}$/);
  });
  it("with another root than the token's is refused", async () => {
    const storage = new MemoryStorage();
    const enrolment = { node: "phone", layer: "mobile", jwt: "x", servers: [], root: Buffer.from("{}").toString("base64") };
    await assert.rejects(joins(storage, answers(200, enrolment)), /its SHA-256 is .* the join token says/);
  });
});

describe("storage", () => {
  it("in a folder gives back bytes, values and modules", async () => {
    const dir = mkdtempSync(join(tmpdir(), "isomer-node-"));
    try {
      const s = await FolderStorage.open(dir);
      const digest = "a".repeat(64);
      await s.put("identity", { key: { public: "U", stored: new Uint8Array([1, 2, 255]) }, at: 7 });
      await s.keep(digest, new Uint8Array([0, 97]));
      const again = await FolderStorage.open(dir);
      assert.deepEqual(await again.get("identity"), { key: { public: "U", stored: new Uint8Array([1, 2, 255]) }, at: 7 });
      assert.deepEqual(await again.module(digest), new Uint8Array([0, 97]));
      assert.equal(await again.get("nothing"), undefined);
      await again.put("identity", undefined);
      assert.equal(await again.get("identity"), undefined);
      await again.collect(() => false);
      assert.equal(await again.module(digest), undefined);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
