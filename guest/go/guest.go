// Package guest makes Go functions callable by a host: it brings cabi_realloc, and turns ordinary
// functions into exports of the contract docs/abi.md. Use it inside a module, built with GOOS=wasip1
// GOARCH=wasm and -buildmode=c-shared; never in a host, which uses package isomer.
//
//	//go:wasmexport total
//	func total(ptr, n uint32) uint32 { return guest.AnswerJSON(ptr, n, sum) }
//
//	func sum(pulses []int64) (Energy, error) { … }
//
// The line with go:wasmexport is the whole of what has to be written by hand: Go exports only functions
// that are declared by name, so no library can make one. The functions behind them are plain Go, which
// go test runs without WebAssembly.
//
// A module serves one call at a time. A panic is a trap: it costs the call and the instance.
//
// What the host lends (Log, Now, Monotonic, Random, KV…, Fetch, Publish) is imported by a module that uses it
// and by no other, so that a host refuses only those that want what it does not grant. Outside WebAssembly the
// clock, the random source and the log are the machine's own, and the rest answers ErrNoHost.
//
// Compatibility: v0, the API may change until 1.0.
package guest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unsafe"
)

// Image is a picture as the host passes it: three bytes a pixel, red, green, blue, rows from top to bottom
// without gaps.
type Image struct {
	Width, Height int
	RGB           []byte
}

// Answer is the body of an exported function of the convention bytes: (ptr, n) -> ret. f owns its input.
// An error becomes an application error with its text as the message.
func Answer(ptr, n uint32, f func(input []byte) ([]byte, error)) uint32 {
	return respond(f(take(ptr, n)))
}

// AnswerJSON is Answer for a function of typed values, which cross as JSON. Input that does not decode
// is an application error whose message begins with "input: ".
func AnswerJSON[In, Out any](ptr, n uint32, f func(In) (Out, error)) uint32 {
	return Answer(ptr, n, func(input []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
		out, err := f(in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
}

// AnswerImage is the body of an exported function of the convention image: (width, height, ptr, n) -> ret.
// Where the manifest does not say otherwise the answer is JSON.
func AnswerImage(width, height, ptr, n uint32, f func(Image) ([]byte, error)) uint32 {
	return respond(f(Image{Width: int(width), Height: int(height), RGB: take(ptr, n)}))
}

// Save is the body of the export isomer_save: () -> ret. The bytes go to the next version's isomer_restore.
func Save(state []byte) uint32 {
	answered = state
	list.ptr, list.len = address(state), uint32(len(state))
	return uint32(uintptr(unsafe.Pointer(&list)))
}

// Restore is the body of the export isomer_restore: (ptr, n) -> (). An error is a trap, with which the
// host refuses this version.
func Restore(ptr, n uint32, f func(state []byte) error) {
	if err := f(take(ptr, n)); err != nil {
		panic(err)
	}
}

// Logf writes a line to standard error, which the host shows or drops. It needs no permission; Log gives the
// host a level too, and needs one.
func Logf(format string, args ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// What the host holds addresses of: the collector must not free it. Objects on Go's heap do not move.
var (
	inputs   = map[uint32][]byte{} // given out by cabi_realloc and not yet taken, by address
	answered []byte                // the last answer, until the next one
	result   struct {              // result<list<u8>, string>
		tag      uint8
		ptr, len uint32
	}
	list struct{ ptr, len uint32 } // list<u8>
)

//go:wasmexport cabi_realloc
func realloc(old, oldLen, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	// Words of 8 bytes: the largest alignment of the canonical ABI.
	words := make([]uint64, (uint64(size)+7)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	if before := inputs[old]; before != nil {
		copy(b, before[:min(int(oldLen), len(before))])
		delete(inputs, old)
	}
	inputs[address(b)] = b
	return address(b)
}

// take is the input that the host has written at ptr.
func take(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	b := inputs[ptr]
	if uint64(n) > uint64(len(b)) {
		panic(fmt.Sprintf("%d bytes at %#x: not from cabi_realloc", n, ptr))
	}
	clear(inputs)
	return b[:n:n]
}

func respond(output []byte, err error) uint32 {
	result.tag = 0
	if err != nil {
		result.tag = 1
		output = []byte(strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
	answered = output
	result.ptr, result.len = address(output), uint32(len(output))
	return uint32(uintptr(unsafe.Pointer(&result)))
}

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
