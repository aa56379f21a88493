// The connection to the hub: NATS over WebSocket, under the node's claims, and what is fetched over it.

import { headers, type Msg, type NatsConnection, wsconnect } from "@nats-io/nats-core";

import { type Bytes } from "./bytes.js";
import { type NodeKey, sign } from "./key.js";
import { type Enrolment, header, maxChunk, subject, webSocketPath } from "./words.js";

/** How a WebSocket is made, where the platform has none (Node.js before 22) or another certificate is to be taken. */
export type WebSocketMaker = (url: string) => WebSocket;

const connectPatience = 20_000;
const answerPatience = 30_000; // the other side may have to fetch it first

/**
 * A WebSocket that has the server's nonce signed before the client sees it: WebCrypto signs when it is done, and the client
 * wants the signature at once.
 */
class SigningSocket {
  onopen: ((e: unknown) => void) | null = null;
  onmessage: ((e: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((e: unknown) => void) | null = null;
  onerror: ((e: unknown) => void) | null = null;
  private held: { data: ArrayBuffer }[] | undefined = [];

  constructor(
    private ws: WebSocket,
    signs: (nonce: string) => Promise<void>,
  ) {
    ws.binaryType = "arraybuffer";
    ws.onopen = (e) => this.onopen?.(e);
    ws.onclose = (e) => this.onclose?.(e);
    ws.onerror = (e) => this.onerror?.(e);
    ws.onmessage = (e: MessageEvent<ArrayBuffer>) => {
      if (!this.held) return this.onmessage?.(e);
      this.held.push(e);
      const all = this.held.map((m) => new TextDecoder().decode(m.data)).join("");
      const info = /^INFO (\{.*\})\s*\r\n/.exec(all);
      if (!info) {
        if (all.length > 64 << 10) ws.close(); // it is no NATS
        return;
      }
      let nonce = "";
      try {
        nonce = (JSON.parse(info[1]) as { nonce?: string }).nonce ?? "";
      } catch {
        // the client finds the same, and says so
      }
      signs(nonce).then(() => this.release(), () => ws.close());
    };
  }

  private release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const m of held) this.onmessage?.(m);
  }

  get binaryType(): BinaryType {
    return this.ws.binaryType;
  }
  set binaryType(t: BinaryType) {
    this.ws.binaryType = t;
  }
  get bufferedAmount(): number {
    return this.ws.bufferedAmount;
  }
  send(b: ArrayBuffer): void {
    this.ws.send(b);
  }
  close(): void {
    this.ws.close();
  }
}

/** Connects once; who wants to be connected again connects again. */
export async function connect(hub: string, e: Enrolment, key: NodeKey, make: WebSocketMaker = (url) => new WebSocket(url)): Promise<NatsConnection> {
  const url = hub.replace(/^http/, "ws").replace(/\/$/, "") + webSocketPath;
  let sig = "";
  return wsconnect({
    servers: url, name: e.node, inboxPrefix: `_INBOX_${e.node}`, timeout: connectPatience, reconnect: false, ignoreClusterUpdates: true,
    pingInterval: 15_000, maxPingOut: 2, noAsyncTraces: true,
    authenticator: () => ({ jwt: e.jwt, nkey: key.public, sig }),
    wsFactory: async () => {
      const socket = new SigningSocket(make(url), async (nonce) => {
        sig = nonce ? await sign(key.stored, nonce) : "";
      });
      return { socket: socket as unknown as WebSocket, encrypted: url.startsWith("wss:") };
    },
  } as Parameters<typeof wsconnect>[0]);
}

/** What the other side says it does not have. */
export class NotThere extends Error {}

/** Bytes that are not what they should be. */
export class Damaged extends Error {}

/** Where a node fetches: the hub, or an edge. Nothing that comes from it is believed before it was verified. */
export class Source {
  constructor(
    readonly nc: NatsConnection,
    private from: string,
  ) {}

  async ask(kind: string, what: string, body: Bytes = new Uint8Array(0)): Promise<Msg> {
    const msg = await this.nc.request(subject.fetch(this.from, kind, what), body, { timeout: answerPatience });
    const why = msg.headers?.get(header.error);
    if (!why) return msg;
    const [code, ...text] = why.split(" ");
    const message = `${kind} ${what.slice(0, 20)} from ${this.from}: ${text.join(" ")}`;
    throw code === "not-found" ? new NotThere(message) : new Error(message);
  }

  /** A file of signed metadata; undefined: there is none. */
  async metadata(file: string): Promise<Bytes | undefined> {
    try {
      return (await this.ask("trust", file.replaceAll(".", "_"))).data.slice() as Bytes;
    } catch (e) {
      if (e instanceof NotThere) return undefined;
      throw e;
    }
  }

  /** The bytes of a module whose size was signed. Whether they are it, their digest tells. */
  async module(digest: string, size: number, have?: { bytes: Bytes; at: number }): Promise<Bytes> {
    const to = have ?? { bytes: new Uint8Array(size), at: 0 };
    while (to.at < size) {
      const length = Math.min(maxChunk, size - to.at);
      const q = new DataView(new ArrayBuffer(12));
      q.setBigUint64(0, BigInt(to.at));
      q.setUint32(8, length);
      const msg = await this.ask("module", digest, new Uint8Array(q.buffer));
      const says = msg.headers?.get(header.size) ?? "";
      if (says !== String(size)) throw new Damaged(`${this.from} says it has ${says.slice(0, 20)} bytes, the signed list ${size}`);
      if (!msg.data.length || msg.data.length > length) throw new Damaged(`${msg.data.length} bytes came where 1 to ${length} were asked for`);
      to.bytes.set(msg.data, to.at);
      to.at += msg.data.length;
    }
    return to.bytes;
  }
}

/** Headers of an answer. Line breaks would end one. */
export function headersOf(all: Record<string, string>): ReturnType<typeof headers> {
  const h = headers();
  for (const [k, v] of Object.entries(all)) h.set(k, v.replace(/[\r\n]+/g, " "));
  return h;
}
