// Clocks and randomness that are the same in each instance (docs/abi.md section 9), and the real random bytes.

/** SplitMix64: the bytes that a module without real randomness gets (docs/abi.md section 9). */
export function fixedRandom(): (into: Uint8Array) => void {
  let state = 42n;
  let word = 0n;
  let left = 0;
  const mask = (1n << 64n) - 1n;
  return (into) => {
    for (let k = 0; k < into.length; k++) {
      if (!left) {
        state = (state + 0x9e3779b97f4a7c15n) & mask;
        let z = state;
        z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
        z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
        word = z ^ (z >> 31n);
        left = 8;
      }
      into[k] = Number(word & 0xffn);
      word >>= 8n;
      left--;
    }
  };
}

/** Real random bytes; the source gives 64 KiB at a time. */
export function realRandom(into: Uint8Array<ArrayBuffer>): void {
  for (let at = 0; at < into.length; at += 65536) crypto.getRandomValues(into.subarray(at, at + 65536));
}

/** When clocks begin that are not the machine's: 2022-01-01 00:00 UTC, in nanoseconds. */
export const firstWall = 1640995200n * 1000000000n;
export const tick = 1000000n;
