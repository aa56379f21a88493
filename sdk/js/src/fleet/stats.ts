// Latencies of a release's calls, in the steps of fleet/node/stats.go: a quarter of an octave from 1 µs to 1,000 s.

import type { CallStats } from "./words.js";

const steps = 120;

export class Histogram {
  private counts = new Uint32Array(steps);
  calls = 0;
  failed = 0;

  add(ms: number, failed: boolean): void {
    this.calls++;
    if (failed) this.failed++;
    const us = ms * 1000;
    this.counts[us <= 1 ? 0 : Math.min(steps - 1, Math.floor(4 * Math.log2(us)))]++;
  }

  /** Microseconds, the middle of its step. */
  private quantile(q: number): number {
    let rank = Math.ceil(q * this.calls);
    for (const [i, n] of this.counts.entries()) {
      if (n && n >= rank) return 2 ** ((i + 0.5) / 4);
      rank -= n;
    }
    return 0;
  }

  get stats(): CallStats {
    return { calls: this.calls, failed: this.failed, p50us: this.quantile(0.5), p95us: this.quantile(0.95) };
  }
}

export const noCalls: CallStats = { calls: 0, failed: 0, p50us: 0, p95us: 0 };
