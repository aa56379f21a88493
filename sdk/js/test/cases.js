// The cases of conformance/contract.json, run wherever the bridge runs: in Node.js by contract.test.js, in Chromium by
// conformance/browser.

/** base64 as bytes, repeated. */
export function bytes(base64, times = 1) {
  const one = Uint8Array.from(atob(base64 ?? ""), (c) => c.charCodeAt(0));
  const out = new Uint8Array(one.length * times);
  for (let k = 0; k < times; k++) out.set(one, k * one.length);
  return out;
}

const same = (a, b) => a.length === b.length && a.every((v, k) => v === b[k]);

function check(ok, what) {
  if (!ok) throw new Error(what);
}

/** Runs case c with the bridge given, or throws an Error that says what differs. */
export async function runCase({ Module, IsomerError }, contract, c, worker) {
  const refusal = (e, step) => {
    check(e instanceof IsomerError && e.kind === "refused" && e.step === step, `want a refusal at ${step}, got ${e.stack}`);
  };
  const step = async (m, s, at) => {
    let out;
    try {
      if (s.swap) await m.swap(bytes(contract.modules[s.swap]));
      else if (s.rollback) await m.rollback();
      else if (s.width || s.height) out = await m.callImage(s.call, { width: s.width ?? 0, height: s.height ?? 0, rgb: bytes(s.input) });
      else out = await m.call(s.call, bytes(s.input, s.times));
    } catch (e) {
      check(e instanceof IsomerError, `${at}: ${e.stack}`);
      if (s.refused) return refusal(e, s.refused);
      check(e.kind === s.error && e.limit === s.limit, `${at}: want ${s.error} ${s.limit ?? ""}, got ${e.kind} ${e.limit ?? ""}: ${e.message}`);
      check(!s.message || e.message.endsWith(`: ${s.message}`), `${at}: ${e.message}`);
      return;
    }
    check(!s.error && !s.refused, `${at}: no error`);
    check(!s.call || same(out, bytes(s.output, s.times)), `${at}: got ${out}`);
  };
  const options = { worker, allow: { log: c.allow?.includes("log") ? () => {} : undefined }, watch: false };
  for (const key of ["memoryLimit", "maxOutput", "deadline"]) if (c[key]) options[key] = c[key];
  let m;
  try {
    m = await Module.open(bytes(contract.modules[c.module]), options);
  } catch (e) {
    return refusal(e, c.refused);
  }
  try {
    check(!c.refused, "it was not refused");
    for (const [k, s] of c.steps.entries()) await step(m, s, `step ${k} ${s.call ?? s.swap ?? "rollback"}`);
  } finally {
    await m.close();
  }
}
