// Runs the cases of conformance/contract.json, which the Go bridge keeps too, in workers and without.
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as bridge from "../dist/index.js";
import { runCase } from "./cases.js";

const contract = JSON.parse(readFileSync(new URL("../../../conformance/contract.json", import.meta.url)));

for (const worker of [undefined, false]) {
  for (const c of contract.cases) {
    // Without a worker nothing can end a call that does not return.
    if (worker === false && c.steps?.some((s) => s.limit === "deadline")) continue;
    test(`${c.name}${worker === false ? ", in the caller's thread" : ""}`, () => runCase(bridge, contract, c, worker));
  }
}
