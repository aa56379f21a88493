/** The SHA-256 of bytes, in hex as releases and tokens have it. */
export async function sha256(b: BufferSource): Promise<string> {
	const sum = await crypto.subtle.digest("SHA-256", b);
	return Array.from(new Uint8Array(sum), (x) => x.toString(16).padStart(2, "0")).join("");
}
