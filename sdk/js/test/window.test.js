// Maintenance windows, with the verdicts of fleet/window_test.go.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { build } from "esbuild";

const out = await build({ entryPoints: [new URL("../src/fleet/words.ts", import.meta.url).pathname], bundle: true, format: "esm", write: false });
const { decodeDesired, isOpen } = await import(`data:text/javascript;base64,${Buffer.from(out.outputFiles[0].contents).toString("base64")}`);

// Berlin's, as a hub writes them.
const shifts = [
  { at: "2026-10-25T01:00:00Z", offset: 3600 }, { at: "2027-03-28T01:00:00Z", offset: 7200 }, { at: "2027-10-31T01:00:00Z", offset: 3600 },
];
const three = { from: "3h0m0s", for: "1h0m0s", zone: "Europe/Berlin", shifts };
const night = { ...three, from: "2h30m0s" };

describe("a maintenance window in Berlin", () => {
  for (const [what, w, at, open] of [
    ["winter, 3:00", three, "2027-03-27T02:00Z", true], ["winter, 2:59", three, "2027-03-27T01:59Z", false],
    ["the clocks go forward, 3:00", three, "2027-03-28T01:00Z", true], ["1:59", three, "2027-03-28T00:59Z", false], ["4:00", three, "2027-03-28T02:00Z", false],
    ["summer, 3:00", three, "2027-03-29T01:00Z", true], ["summer, 4:00", three, "2027-03-29T02:00Z", false],
    ["they go back, 3:00", three, "2027-10-31T02:00Z", true], ["2:59 the second time", three, "2027-10-31T01:59Z", false],
    ["2:30 is not there, 3:30 is it", night, "2027-03-28T01:30Z", true], ["3:29", night, "2027-03-28T01:29Z", false],
    ["Sunday there, Saturday in UTC", { ...three, days: [0], from: "0s" }, "2027-07-03T22:30Z", true],
    ["without a zone, UTC", { from: "3h0m0s", for: "1h0m0s" }, "2027-07-01T03:30Z", true],
  ]) {
    it(what, () => assert.equal(isOpen(w, Date.parse(at)), open));
  }
  it("has its length where 2:30 comes twice", () => {
    let minutes = 0;
    for (let t = Date.parse("2027-10-30T12:00Z"); t < Date.parse("2027-10-31T12:00Z"); t += 60_000) minutes += isOpen(night, t) ? 1 : 0;
    assert.equal(minutes, 60);
  });
});

describe("a desired state's window", () => {
  const state = (window) => new TextEncoder().encode(JSON.stringify({ node: "dev1", modules: [{ release: "m@1", digest: "0".repeat(64), size: 1, deployment: "d", window }] }));
  it("is taken as hubs write it", () => assert.equal(decodeDesired(state({ ...three, days: [0] }), "dev1").modules.length, 1));
  for (const [what, window] of [
    ["a word", "night"], ["no length", { from: "3h0m0s" }], ["a number for a time", { from: 3, for: "1h" }], ["one day", { ...three, days: 1 }],
    ["a zone alone", { ...three, shifts: undefined }], ["a shift without a time", { ...three, shifts: [{ offset: 1 }] }], ["no list of shifts", { ...three, shifts: { at: 1 } }],
  ]) {
    it(`is refused: ${what}`, () => assert.throws(() => decodeDesired(state(window), "dev1"), /window/));
  }
});
