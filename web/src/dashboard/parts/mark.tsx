import type { Health } from "../fleet.ts";
import type { ModuleState, Phase as P } from "../hub.ts";

const phases: Record<P, string> = {
	pending: "waits", advancing: "moves", soaking: "moves", paused: "warns", completed: "good", aborted: "warns", "rolled back": "bad", superseded: "waits",
};
const states: Record<ModuleState, string> = { fetching: "moves", waiting: "waits", checking: "moves", running: "good", refused: "bad", reverted: "bad", failed: "bad" };
const healths: Record<Health, string> = { ok: "good", failing: "bad", offline: "warns", silent: "waits", revoked: "waits" };

/** A word with a colour; the colour never says anything alone. */
function Mark({ word, tone }: { word: string; tone: string }) {
	return <span class={`mark ${tone}`}>{word}</span>;
}

export function Phase({ phase }: { phase: P }) {
	return <Mark word={phase} tone={phases[phase]} />;
}

export function State({ state }: { state: ModuleState }) {
	return <Mark word={state} tone={states[state]} />;
}

export function HealthMark({ health }: { health: Health }) {
	return <Mark word={health} tone={healths[health]} />;
}
