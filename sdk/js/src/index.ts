/**
 * The bridge between a page, a phone or a Node.js program and WebAssembly modules: it opens a module, calls it, and
 * replaces it while calls run. The contract is docs/abi.md of the project; the Go bridge keeps the same one.
 */
export { type ErrorDetails, type ErrorKind, IsomerError, type Limit, type Step } from "./errors.js";
export type { LogLevel } from "./host.js";
export { fromRGBA, type ImageSource, type Picture, toPicture } from "./image.js";
export type { WorkerSource } from "./lane.js";
export type { Convention, DType, Encoding, FunctionSpec, Golden, ImageSpec, Manifest, TensorSpec } from "./manifest.js";
export { type Allow, type Answer, type CallOptions, type Contract, type EventKind, Module, type ModuleEvent, type Options, type Stats, type Tensor, type Tensors } from "./module.js";
export type { Source } from "./source.js";
