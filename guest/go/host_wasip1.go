package guest

import (
	"errors"
	"unsafe"
)

// The functions of guest/wit, as the canonical ABI lowers them. Go's linker imports those that are reached.

//go:wasmimport isomer:host/log log
func importLog(level uint32, message string)

//go:wasmimport isomer:host/clock now
func importNow() uint64

//go:wasmimport isomer:host/clock monotonic
func importMonotonic() uint64

//go:wasmimport isomer:host/random bytes
func importRandom(n uint32, ret unsafe.Pointer)

//go:wasmimport isomer:host/kv get
func importGet(key string, ret unsafe.Pointer)

//go:wasmimport isomer:host/kv set
func importSet(key string, value unsafe.Pointer, n uint32, ret unsafe.Pointer)

//go:wasmimport isomer:host/kv delete
func importDelete(key string, ret unsafe.Pointer)

//go:wasmimport isomer:host/kv keys
func importKeys(prefix string, ret unsafe.Pointer)

//go:wasmimport isomer:host/http fetch
func importFetch(method, url string, headers unsafe.Pointer, headersLen uint32, body unsafe.Pointer, bodyLen uint32, ret unsafe.Pointer)

//go:wasmimport isomer:host/publish publish
func importPublish(subject string, payload unsafe.Pointer, n uint32, ret unsafe.Pointer)

// lent is where host functions leave their results. It is no local variable: the host may call cabi_realloc
// before it writes, and a goroutine's stack may move while that runs.
var lent [6]uint32

// held keeps the texts of a request's headers where they are: on a goroutine's stack they could move, and what
// stands in a list of numbers the collector does not see.
var held []Header

func lentAt() unsafe.Pointer { return unsafe.Pointer(&lent) }

// tag is the byte at the beginning of a word; what lies beside it is left as it was.
func tag(word int) byte { return byte(lent[word]) }

// received is memory that the host has got from cabi_realloc and filled.
func received(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	b := inputs[ptr]
	delete(inputs, ptr)
	return b[:n:n]
}

// failed is the error of a result whose message stands in the words from at.
func failed(at int) error {
	if tag(0) == 0 {
		return nil
	}
	return errors.New(string(received(lent[at], lent[at+1])))
}

func hostLog(level Level, message string) { importLog(uint32(level), message) }
func hostNow() uint64                     { return importNow() }
func hostMonotonic() uint64               { return importMonotonic() }

func hostRandom(n int) []byte {
	importRandom(uint32(n), lentAt())
	return received(lent[0], lent[1])
}

func hostGet(key string) ([]byte, bool, error) {
	importGet(key, lentAt())
	if tag(0) != 0 {
		return nil, false, failed(1)
	}
	if tag(1) == 0 {
		return nil, false, nil
	}
	return received(lent[2], lent[3]), true, nil
}

func hostSet(key string, value []byte) error {
	importSet(key, unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), lentAt())
	return failed(1)
}

func hostDelete(key string) error {
	importDelete(key, lentAt())
	return failed(1)
}

func hostKeys(prefix string) ([]string, error) {
	importKeys(prefix, lentAt())
	if tag(0) != 0 {
		return nil, failed(1)
	}
	list := words(lent[1], lent[2]*2)
	keys := make([]string, len(list)/2)
	for k := range keys {
		keys[k] = string(received(list[2*k], list[2*k+1]))
	}
	return keys, nil
}

func hostFetch(r Request) (Response, error) {
	held = r.Headers
	defer func() { held = nil }()
	headers := make([]uint32, 0, 4*len(r.Headers))
	for _, h := range r.Headers {
		headers = append(headers, text(h.Name), uint32(len(h.Name)), text(h.Value), uint32(len(h.Value)))
	}
	importFetch(r.Method, r.URL, unsafe.Pointer(unsafe.SliceData(headers)), uint32(len(r.Headers)),
		unsafe.Pointer(unsafe.SliceData(r.Body)), uint32(len(r.Body)), lentAt())
	if tag(0) != 0 {
		return Response{}, failed(1)
	}
	// A copy: lent serves one result at a time.
	out := Response{Status: int(uint16(lent[1])), Body: received(lent[4], lent[5])}
	list := words(lent[2], lent[3]*4)
	for k := 0; k < len(list); k += 4 {
		out.Headers = append(out.Headers, Header{string(received(list[k], list[k+1])), string(received(list[k+2], list[k+3]))})
	}
	return out, nil
}

func hostPublish(subject string, payload []byte) error {
	importPublish(subject, unsafe.Pointer(unsafe.SliceData(payload)), uint32(len(payload)), lentAt())
	return failed(1)
}

// words is received memory as n numbers; cabi_realloc aligns to 8.
func words(ptr, n uint32) []uint32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(received(ptr, n*4)))), n)
}

// text is the address of a string that the caller keeps.
func text(s string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }
