// The node's key: Ed25519 by WebCrypto, as NATS writes keys (nkeys). Where the storage can hold a key as such, which
// IndexedDB does, its private half cannot be read, not even by this page.

import { type Bytes, toBase64URL, utf8 } from "./bytes.js";

/** What the storage keeps of a key. */
export type StoredKey = CryptoKey | Bytes;

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const user = 20 << 3; // "U", the kind of key

function crc16(b: Uint8Array): number {
  let crc = 0;
  for (const v of b) {
    crc ^= v << 8;
    for (let i = 0; i < 8; i++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/** The public key as NATS writes it: kind, key and CRC-16, in base32 without padding. */
export function nkey(raw: Uint8Array): string {
  const b = new Uint8Array(35);
  b[0] = user;
  b.set(raw, 1);
  const crc = crc16(b.subarray(0, 33));
  b[33] = crc & 255;
  b[34] = crc >> 8;
  let out = "";
  for (let bit = 0; bit < 280; bit += 5) {
    const pair = (b[bit >> 3] << 8) | (b[(bit >> 3) + 1] ?? 0);
    out += alphabet[(pair >> (11 - (bit & 7))) & 31];
  }
  return out;
}

export interface NodeKey {
  public: string;
  stored: StoredKey;
}

export async function makeKey(readable: boolean): Promise<NodeKey> {
  if (!globalThis.crypto?.subtle) throw new Error("a node's key needs a secure context: open the page by https, or from localhost");
  let pair: CryptoKeyPair;
  try {
    pair = (await crypto.subtle.generateKey("Ed25519", readable, ["sign", "verify"])) as CryptoKeyPair;
  } catch (e) {
    throw new Error(`this browser cannot make Ed25519 keys (Chrome 137, Firefox 130 and Safari 17 can): ${(e as Error).message}`);
  }
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const stored = readable ? new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)) : pair.privateKey;
  return { public: nkey(raw), stored };
}

/** Signs what a server asks to be signed; base64 of URLs, as NATS wants it. */
export async function sign(key: StoredKey, nonce: string): Promise<string> {
  const k = key instanceof Uint8Array ? await crypto.subtle.importKey("pkcs8", key, "Ed25519", false, ["sign"]) : key;
  return toBase64URL(new Uint8Array(await crypto.subtle.sign("Ed25519", k, utf8(nonce))));
}
