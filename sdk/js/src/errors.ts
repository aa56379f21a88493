// The errors of a call and of a module, in the words of docs/abi.md section 5. They cross from a worker as plain
// objects (Wire), because structured clones lose the class.

/** What a limit is about. */
export type Limit = "deadline" | "canceled" | "memory" | "stack" | "output";

/** A part of a module's way into service. */
export type Step = "read" | "manifest" | "compile" | "permissions" | "gate" | "instantiate" | "carry state";

/** The kinds of errors. */
export type ErrorKind =
  | "app" // the function says no; the instance serves on
  | "trap" // the guest died, or broke the contract; the instance was replaced
  | "limit" // deadline, cancelled, memory, stack or output
  | "argument" // input that does not fit the function
  | "result" // a result that the encoding cannot hold, such as NaN in JSON
  | "function" // no such function
  | "refused" // a module that did not get into service
  | "busy" // the queue is full
  | "closed"
  | "previous"; // a rollback with nothing to return to

/** Details of an IsomerError; which are there depends on the kind. */
export interface ErrorDetails {
  /** name@version */
  module?: string;
  function?: string;
  limit?: Limit;
  step?: Step;
  /** SHA-256 of a refused module, in hexadecimal. */
  digest?: string;
  /** The end of what a trapped call wrote to standard error. */
  stderr?: string;
}

/** Every error of the bridge. `kind` says which. */
export class IsomerError extends Error {
  readonly kind: ErrorKind;
  declare readonly module?: string;
  declare readonly function?: string;
  declare readonly limit?: Limit;
  declare readonly step?: Step;
  declare readonly digest?: string;
  declare readonly stderr?: string;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "IsomerError";
    this.kind = kind;
    Object.assign(this, details);
  }
}

/** An IsomerError on its way between threads. */
export interface Wire {
  kind: ErrorKind;
  message: string;
  details: ErrorDetails;
}

export function toWire(e: unknown): Wire {
  if (e instanceof IsomerError) {
    return { kind: e.kind, message: e.message, details: { ...e } };
  }
  return { kind: "trap", message: e instanceof Error ? e.message : String(e), details: {} };
}

export function fromWire(w: Wire): IsomerError {
  return new IsomerError(w.kind, w.message, w.details);
}

/** A file of the bridge's own that comes when needed. Where it does not come that says nothing of the module: it may be tried again. */
export const part = <T>(file: Promise<T>): Promise<T> =>
  file.catch((e) => {
    throw new IsomerError("closed", `a part of the bridge cannot be loaded: ${(e as Error).message}`);
  });
