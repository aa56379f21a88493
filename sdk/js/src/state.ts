// State that goes from a module's instances to those of the next one (docs/abi.md section 6).

import type { Lane } from "./lane.js";
import type { Generation, ModuleEvent } from "./module.js";
import type { Release } from "./release.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** How long calls have to end. */
const patience = 30_000;

export interface Carried {
  /** Lanes of the old generation that serve no more. */
  held: Lane[];
  /** Why the next module cannot take over. */
  refuses?: Error;
  /** What went wrong otherwise. */
  error?: Error;
}

interface Tools {
  /** Ends the lane where its answer takes longer than ms. */
  within: <T>(ms: number, lane: Lane, answer: Promise<T>) => Promise<T>;
  /** Milliseconds for isomer_save and isomer_restore. */
  save: number;
  restore: number;
  emit: (e: Partial<ModuleEvent> & Pick<ModuleEvent, "kind">) => void;
}

const title = (r: Release): string => `${r.name}@${r.version}`;

/** Moves state from the lanes of old to those of next, where both know how. */
export async function carry(old: Generation, next: Release, lanes: Lane[], t: Tools): Promise<Carried> {
  if (!next.stateful) {
    t.emit({ kind: "state lost", error: new Error(`${title(next)} does not export both isomer_save and isomer_restore`) });
    return { held: [] };
  }
  const begin = performance.now();
  const held = await hold(old);
  const problems: string[] = [];
  if (held.length < old.lanes.length) problems.push(`calls of ${title(old.release)} did not end`);
  let bytes = 0;
  for (const lane of held) {
    let state: Bytes;
    try {
      state = (await t.within(t.save, lane, lane.ask<{ bytes: Bytes }>({ op: "save" }))).bytes;
    } catch (e) {
      problems.push(`isomer_save of ${title(old.release)}: ${(e as Error).message}`);
      continue;
    }
    const to = lanes[old.lanes.indexOf(lane)];
    bytes += state.length;
    try {
      await t.within(t.restore, to, to.ask({ op: "restore", state }));
    } catch (e) {
      return { held, refuses: new Error(`isomer_restore of ${title(next)} with ${state.length} bytes: ${(e as Error).message}`), error: e as Error };
    }
  }
  const error = problems.length ? new Error(problems.join("; ")) : undefined;
  t.emit({ kind: error ? "state lost" : "state carried", bytes, took: performance.now() - begin, error });
  return { held, error };
}

/** Waits for the calls of g, and keeps every lane from serving meanwhile. */
function hold(g: Generation): Promise<Lane[]> {
  const held = g.free.splice(0);
  if (held.length === g.lanes.length) return Promise.resolve(held);
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      g.idle = undefined;
      resolve(held);
    };
    const timer = setTimeout(done, patience);
    g.idle = (lane) => {
      held.push(lane);
      if (held.length === g.lanes.length) done();
    };
  });
}
