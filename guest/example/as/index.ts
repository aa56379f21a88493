// A module that adds up the energy of a meter's pulses.
import { Answer, answer, fail, okText } from "./isomer";
export { cabi_realloc } from "./isomer";

const pulsesPerKWh: f64 = 1000;

export function total(ptr: usize, len: usize): usize {
  return answer(ptr, len, sum);
}

// AssemblyScript's library has no JSON; a list of counts needs none.
function sum(input: Uint8Array): Answer {
  const text = String.UTF8.decodeUnsafe(input.dataStart, input.length).trim();
  const want = "input: want a JSON list of pulse counts, such as [250, 750]";
  if (!text.startsWith("[") || !text.endsWith("]") || text.length < 2) return fail(want);
  const inner = text.substring(1, text.length - 1).trim();
  let all: u64 = 0;
  if (inner.length > 0) {
    const parts = inner.split(",");
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i].trim();
      if (part.startsWith("-")) return fail("a pulse count is below 0");
      if (part.length == 0 || part.length > 15) return fail(want);
      for (let k = 0; k < part.length; k++) {
        const digit = part.charCodeAt(k) - 48;
        if (digit < 0 || digit > 9) return fail(want);
      }
      all += U64.parseInt(part);
    }
  }
  const kWh = (<f64>all / pulsesPerKWh).toString();
  return okText(`{"kWh":${kWh.endsWith(".0") ? kWh.substring(0, kWh.length - 2) : kWh}}`);
}
