// isomer.ts: write a module in AssemblyScript.
//
// Use it in a module that follows docs/abi.md; never in a host. The entry file has these lines:
//
//     import { Answer, answer, ok, fail } from "./isomer";
//     export { cabi_realloc } from "./isomer";
//
//     export function total(ptr: usize, len: usize): usize { return answer(ptr, len, sum); }
//     function sum(input: Uint8Array): Answer { … }
//
// and asc is called with --use abort=isomer/abort, so that nothing of JavaScript is imported.
// AssemblyScript has no exceptions: say no with fail; a throw is a trap and costs the instance.
//
// Compatibility: v0, may change until 1.0.

// What a function answers.
export class Answer {
  constructor(public tag: u8, public body: Uint8Array) {}
}

// A picture: three bytes a pixel, red, green, blue, rows from top to bottom without gaps.
export class Image {
  constructor(public width: u32, public height: u32, public rgb: Uint8Array) {}
}

export function ok(body: Uint8Array): Answer {
  return new Answer(0, body);
}

export function okText(text: string): Answer {
  return new Answer(0, utf8(text));
}

// An application error: the module says no, with a message for people, and serves on.
export function fail(message: string): Answer {
  return new Answer(1, utf8(message));
}

// The body of an exported function of the convention bytes.
export function answer(ptr: usize, len: usize, f: (input: Uint8Array) => Answer): usize {
  return respond(f(received(ptr, len)));
}

// The body of an exported function of the convention image: (width, height, ptr, len).
export function answerImage(width: u32, height: u32, ptr: usize, len: usize, f: (image: Image) => Answer): usize {
  return respond(f(new Image(width, height, received(ptr, len))));
}

// The body of the export isomer_save: (): usize. The bytes go to the next version's isomer_restore.
export function save(state: Uint8Array): usize {
  kept = state;
  store<usize>(list, state.dataStart);
  store<usize>(list, <usize>state.length, 4);
  return list;
}

// The state that isomer_restore was given: (ptr: usize, len: usize): void.
export function restored(ptr: usize, len: usize): Uint8Array {
  return received(ptr, len);
}

// Writes one line to standard error, which the host shows or drops. It needs no permission; tell of host.ts
// gives the host a level too, and needs one.
export function log(line: string): void {
  const text = utf8(line + "\n");
  const part: usize = memory.data(8);
  store<usize>(part, text.dataStart);
  store<usize>(part, <usize>text.length, 4);
  fd_write(2, part, 1, memory.data(4));
}

// Takes the place of AssemblyScript's own abort, which needs a function of JavaScript.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = message === null ? "abort" : message;
  const where = file === null ? "" : ` at ${file}:${line.toString()}:${column.toString()}`;
  log(text + where);
  unreachable();
}

// The host's allocator. The garbage collector does not see these blocks; received frees them.
export function cabi_realloc(old: usize, oldLen: usize, align: usize, size: usize): usize {
  if (size == 0) return align;
  if (align > 16) unreachable(); // heap.alloc aligns to 16
  const block = heap.alloc(size);
  if (old != 0 && oldLen != 0) {
    memory.copy(block, old, min(oldLen, size));
    heap.free(old);
  }
  return block;
}

export function utf8(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, parts: usize, count: i32, written: usize): i32;

const result: usize = memory.data(12, 4); // result<list<u8>, string>
const list: usize = memory.data(8, 4); // list<u8>
let kept: Uint8Array = new Uint8Array(0); // the last answer, alive until the next one

// Takes over a block that the host has got from cabi_realloc and filled.
export function received(ptr: usize, len: usize): Uint8Array {
  const input = new Uint8Array(<i32>len);
  if (len != 0) {
    memory.copy(input.dataStart, ptr, len);
    heap.free(ptr);
  }
  return input;
}

function respond(a: Answer): usize {
  kept = a.body;
  store<u8>(result, a.tag);
  store<usize>(result, kept.dataStart, 4);
  store<usize>(result, <usize>kept.length, 8);
  return result;
}
