import { useState } from "preact/hooks";
import { Hub, HubError } from "../hub.ts";
import { login } from "../session.ts";

/** Login asks for a token of the hub. */
export function Login({ why = "" }: { why?: string }) {
	const [problem, setProblem] = useState(why);
	const [busy, setBusy] = useState(false);
	async function submit(e: SubmitEvent) {
		e.preventDefault();
		const token = new FormData(e.target as HTMLFormElement).get("token")!.toString().trim();
		setBusy(true);
		try {
			await new Hub(token).ask("GET", "/v1/rollouts");
			login(token);
		} catch (err) {
			setProblem(err instanceof HubError ? err.message : "the hub cannot be reached");
		} finally {
			setBusy(false);
		}
	}
	return (
		<main class="login">
			<h1>Isomer</h1>
			<form onSubmit={submit}>
				<label for="token">Token of the hub</label>
				<input id="token" name="token" type="password" autocomplete="current-password" required autofocus spellcheck={false} aria-describedby="hint" />
				<p id="hint" class="hint">The first one is in <code>isomer-hub/admin.json</code>; others come from <code>isomer tokens create NAME --role viewer</code>.</p>
				{problem && <p class="problem" role="alert">{problem}</p>}
				<button disabled={busy}>Log in</button>
			</form>
		</main>
	);
}
