import { useEffect, useRef, useState } from "preact/hooks";
import { asPNG, type Input } from "../callers.ts";

/** InputField takes a picture, JSON or any file: dropped, chosen, pasted or typed. */
export function InputField({ image, change }: { image: boolean; change: (i: Input | null) => void }) {
	const [text, setText] = useState("{}");
	const [preview, setPreview] = useState("");
	const [over, setOver] = useState(false);
	const [problem, setProblem] = useState("");
	const file = useRef<HTMLInputElement>(null);
	useEffect(() => change(image ? null : { kind: "json", text }), [image]);
	useEffect(() => () => URL.revokeObjectURL(preview), [preview]);

	async function take(f: Blob | null | undefined) {
		setProblem("");
		if (!f) return;
		try {
			if (!image) {
				change({ kind: "bytes", bytes: f });
				setText("");
				return;
			}
			const png = await asPNG(f);
			setPreview(URL.createObjectURL(png));
			change({ kind: "image", png });
		} catch {
			setProblem("the browser cannot read this picture");
		}
	}

	return (
		<div class={`drop ${over ? "over" : ""}`}
			onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
			onDrop={(e) => { e.preventDefault(); setOver(false); void take(e.dataTransfer?.files[0]); }}
			onPaste={(e) => { const f = e.clipboardData?.files[0]; if (f) { e.preventDefault(); void take(f); } }}>
			{!image && <label class="grow">JSON or text<textarea rows={5} spellcheck={false} value={text} onInput={(e) => { setText(e.currentTarget.value); change({ kind: "json", text: e.currentTarget.value }); }} /></label>}
			{image && preview && <img src={preview} alt="The input" />}
			<p><button type="button" class="quiet" onClick={() => file.current!.click()}>{image ? "Choose a picture" : "Choose a file"}</button> <span class="quiet">or drop it here</span></p>
			<input ref={file} class="hidden" type="file" tabIndex={-1} aria-label={image ? "Picture" : "File"} accept={image ? "image/*" : undefined} onChange={(e) => void take(e.currentTarget.files?.[0])} />
			{problem && <p class="problem" role="alert">{problem}</p>}
		</div>
	);
}
