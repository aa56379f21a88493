package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Sizes of the records that a function leaves at the address it returns.
const (
	// ResultSize is the size of result<list<u8>, string>: tag u8 @0, ptr u32 @4, len u32 @8.
	ResultSize = 12
	// ListSize is the size of list<u8>: ptr u32 @0, len u32 @4.
	ListSize = 8
	// RecordAlign is the alignment of both records.
	RecordAlign = 4
)

// Tags of result<list<u8>, string>.
const (
	TagOK  = 0
	TagErr = 1
)

// ErrViolation is what every error of this file unwraps to: the guest broke the contract.
var ErrViolation = errors.New("the module breaks the contract")

// BoundsError is a pointer or length that leaves the module's memory.
type BoundsError struct {
	What   string // what should have been there, such as "result record"
	Ptr    uint32 // address that the guest gave
	Len    uint32 // bytes needed from there
	Memory int    // size of the memory in bytes
}

func (e *BoundsError) Error() string {
	return fmt.Sprintf("%s at 0x%x, %d bytes, is outside the memory of %d bytes", e.What, e.Ptr, e.Len, e.Memory)
}

// Unwrap makes errors.Is(err, ErrViolation) true.
func (e *BoundsError) Unwrap() error { return ErrViolation }

// Span is mem[ptr:ptr+n] as a view, or a *BoundsError that names what.
func Span(mem []byte, ptr, n uint32, what string) ([]byte, error) {
	end := uint64(ptr) + uint64(n)
	if end > uint64(len(mem)) {
		return nil, &BoundsError{What: what, Ptr: ptr, Len: n, Memory: len(mem)}
	}
	return mem[ptr:end:end], nil
}

// DecodeResult reads result<list<u8>, string> at ret. The payload is a view of mem: copy it before
// the guest runs again. With isErr it is the message and valid UTF-8.
func DecodeResult(mem []byte, ret uint32) (payload []byte, isErr bool, err error) {
	rec, err := record(mem, ret, ResultSize, "result record")
	if err != nil {
		return nil, false, err
	}
	ptr, n := binary.LittleEndian.Uint32(rec[4:]), binary.LittleEndian.Uint32(rec[8:])
	switch rec[0] {
	case TagOK:
		payload, err = Span(mem, ptr, n, "output")
		return payload, false, err
	case TagErr:
		payload, err = Span(mem, ptr, n, "error message")
		if err == nil && !utf8.Valid(payload) {
			err = fmt.Errorf("%w: error message at 0x%x, %d bytes, is not valid UTF-8", ErrViolation, ptr, n)
		}
		if err != nil {
			return nil, true, err
		}
		return payload, true, nil
	}
	return nil, false, fmt.Errorf("%w: result record at 0x%x has tag %d, want 0 (ok) or 1 (err)", ErrViolation, ret, rec[0])
}

// DecodeList reads list<u8> at ret. The payload is a view of mem.
func DecodeList(mem []byte, ret uint32) ([]byte, error) {
	rec, err := record(mem, ret, ListSize, "list record")
	if err != nil {
		return nil, err
	}
	return Span(mem, binary.LittleEndian.Uint32(rec), binary.LittleEndian.Uint32(rec[4:]), "output")
}

// EncodeResult writes at ret a result<list<u8>, string> whose payload is already at ptr.
// It is the guest's side, for tools and tests.
func EncodeResult(mem []byte, ret uint32, isErr bool, ptr, n uint32) error {
	rec, err := record(mem, ret, ResultSize, "result record")
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(rec, TagOK)
	if isErr {
		binary.LittleEndian.PutUint32(rec, TagErr)
	}
	binary.LittleEndian.PutUint32(rec[4:], ptr)
	binary.LittleEndian.PutUint32(rec[8:], n)
	return nil
}

func record(mem []byte, ret, size uint32, what string) ([]byte, error) {
	if ret%RecordAlign != 0 {
		return nil, fmt.Errorf("%w: %s at 0x%x is not aligned to %d bytes", ErrViolation, what, ret, RecordAlign)
	}
	return Span(mem, ret, size, what)
}
