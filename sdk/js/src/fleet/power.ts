// When a node does less: while nobody sees its page, and while the battery is low.

/** Why a node saves; empty: it need not. */
export interface Power {
  readonly saving: string[];
  /** Told of changes, until the answer is called. */
  watch(changed: () => void): () => void;
}

interface Battery extends EventTarget {
  charging: boolean;
  level: number;
}

/** Below it, and without a charger, a node saves. */
const lowBattery = 0.2;

/** The page's visibility, and the battery where the browser tells of it (Chromium does). */
export class PagePower implements Power {
  private battery?: Battery;
  private watchers = new Set<() => void>();

  constructor() {
    if (typeof document === "undefined") return;
    const changed = (): void => {
      for (const w of this.watchers) w();
    };
    document.addEventListener("visibilitychange", changed);
    const n = navigator as { getBattery?: () => Promise<Battery> };
    void n.getBattery?.().then((b) => {
      this.battery = b;
      for (const e of ["chargingchange", "levelchange"]) b.addEventListener(e, changed);
      changed();
    }, () => undefined);
  }

  get saving(): string[] {
    const why: string[] = [];
    if (typeof document !== "undefined" && document.hidden) why.push("hidden");
    if (this.battery && !this.battery.charging && this.battery.level < lowBattery) why.push("battery");
    return why;
  }

  watch(changed: () => void): () => void {
    this.watchers.add(changed);
    return () => void this.watchers.delete(changed);
  }
}
