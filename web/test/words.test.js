import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { build } from "esbuild";

const out = await build({ entryPoints: [new URL("../src/dashboard/words.ts", import.meta.url).pathname], format: "esm", write: false });
const { answer } = await import(`data:text/javascript;base64,${Buffer.from(out.outputFiles[0].contents).toString("base64")}`);
const of = (text) => answer(new TextEncoder().encode(text));

describe("an answer in the playground", () => {
	for (const [what, text, want] of [
		["JSON, line by line", '{"a":[1,2.5]}\n', '{\n "a": [\n  1,\n  2.5\n ]\n}'],
		["text", "417.94 m³\n", "417.94 m³\n"],
		["nothing", "", ""],
		["an integer that JavaScript cannot hold", '{"total":12345678901234567890}', '{"total":12345678901234567890}'],
		["a zero that would be lost", '{"reading":1.50}', '{"reading":1.50}'],
		["two values of one name", '{"a":1,"a":2}', '{"a":1,"a":2}'],
		["a control character", "a\0", "2 bytes: 61 00"],
	]) {
		it(what, () => assert.equal(of(text), want));
	}
	it("bytes that are no text", () => assert.equal(answer(new Uint8Array(40).fill(255)), `40 bytes: ${"ff ".repeat(32)}…`));
	it("a long one, cut", () => {
		const got = of(`[${"1,".repeat(4_000_000)}1]`);
		assert.ok(got.length < 21_000 && got.endsWith("8.0 MB in all"), got.slice(-50));
	});
});
