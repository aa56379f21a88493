/**
 * A page, a phone or a Node.js program as a node of a fleet: it joins by a token, runs what the hub wants as far as the
 * developer's signature allows, and serves calls. docs/fleet.md of the project says what nodes do.
 */
export type { WebSocketMaker } from "./link.js";
export { type Answer, FleetNode, type NodeOptions } from "./node.js";
export { PagePower, type Power } from "./power.js";
export { BrowserStorage, FolderStorage, MemoryStorage, type Storage } from "./storage.js";
export { type Records, type Target, TrustClient, TrustError, type TrustOptions, type Verdict } from "./tuf.js";
export { type CallStats, type LogLine, type ModuleReport, type ModuleState, parseToken, type Report } from "./words.js";
