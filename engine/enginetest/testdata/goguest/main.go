// A guest in Go, built by tests: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared.
package main

import (
	"encoding/json"
	"fmt"
	"unsafe"
)

func main() {}

// kept keeps what the host holds addresses of from being collected.
var kept = map[uint32][]byte{}

//go:wasmexport cabi_realloc
func realloc(old, oldLen, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	b := make([]byte, size)
	p := uint32(uintptr(unsafe.Pointer(&b[0])))
	kept[p] = b
	return p
}

// result is result<list<u8>, string>.
type result struct {
	tag      uint8
	ptr, len uint32
}

var (
	answer  result
	payload []byte
)

func respond(tag uint8, b []byte) uint32 {
	payload = b
	answer = result{tag: tag, len: uint32(len(b))}
	if len(b) > 0 {
		answer.ptr = uint32(uintptr(unsafe.Pointer(&b[0])))
	}
	return uint32(uintptr(unsafe.Pointer(&answer)))
}

func take(ptr, n uint32) []byte {
	b := kept[ptr]
	delete(kept, ptr)
	if n == 0 {
		return nil
	}
	return b[:n]
}

//go:wasmexport area
func area(ptr, n uint32) uint32 {
	var in struct{ W, H float64 }
	if err := json.Unmarshal(take(ptr, n), &in); err != nil {
		return respond(1, []byte(err.Error()))
	}
	fmt.Println("area of", in.W, in.H)
	out, _ := json.Marshal(map[string]float64{"area": in.W * in.H})
	return respond(0, out)
}

//go:wasmexport cabi_post_area
func postArea(uint32) { payload = nil }

//go:wasmexport explode
func explode(ptr, n uint32) uint32 {
	b := take(ptr, n)
	return respond(0, b[n+1:])
}

//go:wasmexport add
func add(a, b int64) int64 { return a + b }
