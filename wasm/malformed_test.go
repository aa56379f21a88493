package wasm_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

var magic = []byte("\x00asm\x01\x00\x00\x00")

// sec is a section with this payload.
func sec(id wasm.SectionID, payload ...byte) []byte {
	return append([]byte{byte(id), byte(len(payload))}, payload...)
}

func binary(sections ...[]byte) []byte { return slices.Concat(append([][]byte{magic}, sections...)...) }

const end = byte(wasm.End)

var (
	oneType = sec(wasm.SectionType, 1, 0x60, 0, 0)       // () -> ()
	intType = sec(wasm.SectionType, 1, 0x60, 1, 0x7F, 0) // (i32) -> ()
	oneFunc = sec(wasm.SectionFunction, 1, 0)
	oneBody = sec(wasm.SectionCode, 1, 2, 0, end)
)

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		bin     []byte
		section string
		offset  int
		reason  string
	}{
		{nil, "", 0, "not a wasm binary"},
		{[]byte("\x00as"), "", 0, "not a wasm binary"},
		{[]byte("\x7fELF\x01\x00\x00\x00"), "", 0, "not a wasm binary"},
		{[]byte("\x00asm\x0d\x00\x01\x00"), "", 4, "version 0d000100"},
		{binary([]byte{1}), "", 9, "ends inside the size"},
		{binary([]byte{1, 5, 0}), "", 10, "type section of 5 bytes, 1 are left"},
		{binary([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0}), "", 9, "longer than 5 bytes"},
		{binary([]byte{1, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F}), "", 9, "out of range for 32 bits"},
		{binary(sec(13)), "", 8, "unknown section number 13"},
		{binary(oneType, oneType), "", 14, "second type section"},
		{binary(sec(wasm.SectionMemory, 0), sec(wasm.SectionTable, 0)), "", 11, "table section behind the memory section"},
		{binary(oneType, oneFunc, oneBody, sec(wasm.SectionDataCount, 0)), "", 24, "data count section behind the code section"},
		{binary(sec(0, 3, 'a')), "custom", 11, "the name of a custom section of 3 bytes, 1 are left"},
		{binary(sec(0, 1, 0xFF)), "custom", 11, "is not UTF-8"},

		{binary(sec(wasm.SectionType, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F)), "type", 10, "4294967295 types in 0 bytes"},
		{binary(sec(wasm.SectionType, 1, 0x5F, 0, 0)), "type", 11, "form 0x5f"},
		{binary(sec(wasm.SectionType, 1, 0x60, 1, 0x40, 0)), "type", 13, "0x40 is not a value type"},
		{binary(sec(wasm.SectionType, 1, 0x60, 0, 0, 0)), "type", 14, "1 bytes behind the last entry"},
		{binary(sec(wasm.SectionType, 0x81, 0x80, 0x80, 0x80, 0x80, 0)), "type", 10, "longer than 5 bytes"},

		{binary(sec(wasm.SectionImport, 1, 1, 'm', 1, 'f', 0, 0)), "import", 16, "type 0 of 0"},
		{binary(sec(wasm.SectionImport, 1, 1, 'm', 1, 'f', 4, 0)), "import", 15, "import m.f has kind 4"},
		{binary(sec(wasm.SectionImport, 1, 1, 'm', 1, 'g', 3, 0x7F, 2)), "import", 17, "mutability 2"},
		{binary(sec(wasm.SectionImport, 1, 1, 0xC0, 1, 'g', 0)), "import", 12, "is not UTF-8"},
		{binary(oneType, sec(wasm.SectionFunction, 1, 1)), "function", 17, "type 1 of 1"},
		{binary(oneType, oneFunc), "function", 18, "1 functions without a code section"},
		{binary(oneType, sec(wasm.SectionCode, 1, 2, 0, end)), "code", 16, "1 bodies for 0 functions"},

		{binary(sec(wasm.SectionTable, 1, 0x7F, 0, 0)), "table", 11, "0x7f is not a reference type"},
		{binary(sec(wasm.SectionTable, 1, 0x70, 1, 3, 2)), "table", 12, "table of 3 to 2"},
		{binary(sec(wasm.SectionMemory, 1, 4, 1)), "memory", 11, "flags 0x04"},
		{binary(sec(wasm.SectionMemory, 1, 2, 1)), "memory", 11, "shared memory without a largest size"},
		{binary(sec(wasm.SectionMemory, 1, 0, 0x81, 0x80, 4)), "memory", 11, "more than 65536 pages"},

		{binary(sec(wasm.SectionGlobal, 1, 0x7F, 0, byte(wasm.I32Const), 0)), "global", 15, "ends inside an instruction"},
		{binary(sec(wasm.SectionGlobal, 1, 0x7F, 0, byte(wasm.Nop), end)), "global", 13, "nop is not allowed in a constant"},
		{binary(sec(wasm.SectionGlobal, 1, 0x7F, 0, byte(wasm.GlobalGet), 0, end)), "global", 13, "global 0 of 0"},
		{binary(sec(wasm.SectionGlobal, 2, 0x7F, 1, byte(wasm.I32Const), 0, end, 0x7F, 0, byte(wasm.GlobalGet), 0, end)), "global", 18, "reads mutable global 0"},
		{binary(sec(wasm.SectionGlobal, 1, 0x70, 0, byte(wasm.RefFunc), 0, end)), "global", 13, "function 0 of 0"},
		{binary(sec(wasm.SectionGlobal, 1, 0x7F, 0, byte(wasm.I32Const), 0x80, 0x80, 0x80, 0x80, 0x10, end)), "global", 14, "out of range for 32 bits"},

		{binary(sec(wasm.SectionExport, 1, 1, 'f', 0, 0)), "export", 14, `export "f" is func 0 of 0`},
		{binary(sec(wasm.SectionExport, 1, 1, 'f', 9, 0)), "export", 13, `export "f" has kind 9`},
		{binary(sec(wasm.SectionMemory, 1, 0, 1), sec(wasm.SectionExport, 2, 1, 'm', 2, 0, 1, 'm', 2, 0)), "export", 20, `second export named "m"`},
		{binary(intType, oneFunc, sec(wasm.SectionStart, 0), oneBody), "start", 21, "start function 0 has type (i32) -> ()"},
		{binary(oneType, oneFunc, sec(wasm.SectionStart, 1), oneBody), "start", 20, "function 1 of 1"},
		{binary(sec(wasm.SectionElement, 1, 8, 0, 0)), "element", 11, "flags 0x8"},
		{binary(sec(wasm.SectionElement, 1, 0, byte(wasm.I32Const), 0, end, 0)), "element", 12, "table 0 of 0"},
		{binary(sec(wasm.SectionElement, 1, 1, 0, 1, 0)), "element", 14, "function 0 of 0"},
		{binary(sec(wasm.SectionElement, 1, 1, 5, 0)), "element", 12, "unknown element kind"},

		{binary(oneType, oneFunc, sec(wasm.SectionCode, 1, 9, 0, end)), "code", 22, "function body of 9 bytes"},
		{binary(oneType, oneFunc, sec(wasm.SectionCode, 1, 2, 0, byte(wasm.Nop))), "code", 24, "does not end with end"},
		{binary(oneType, oneFunc, sec(wasm.SectionCode, 1, 14, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x7F, 1, 0x7F, end, 0, 0, 0, 0)), "code", 29, "more than 2^32-1 locals"},
		{binary(oneType, oneFunc, sec(wasm.SectionCode, 1, 4, 0x7F, end, end, end)), "code", 22, "127 groups of locals in 3 bytes"},
		{binary(sec(wasm.SectionData, 1, 3, 0)), "data", 11, "flags 0x3"},
		{binary(sec(wasm.SectionData, 1, 0, byte(wasm.I32Const), 0, end, 0)), "data", 12, "memory 0 of 0"},
		{binary(sec(wasm.SectionData, 1, 1, 9, 0)), "data", 13, "data segment of 9 bytes, 1 are left"},
		{binary(sec(wasm.SectionDataCount, 2), sec(wasm.SectionData, 1, 1, 0)), "data count", 16, "2 data segments announced, 1 found"},
	} {
		_, err := wasm.Decode(tc.bin)
		var fe *wasm.FormatError
		if !errors.As(err, &fe) || !errors.Is(err, wasm.ErrFormat) {
			t.Errorf("%x: error %v, want %q", tc.bin, err, tc.reason)
			continue
		}
		if fe.Section != tc.section || fe.Offset != tc.offset || !strings.Contains(fe.Reason, tc.reason) {
			t.Errorf("%x:\n got %v section, offset %d: %s\nwant %v section, offset %d: %s",
				tc.bin, fe.Section, fe.Offset, fe.Reason, tc.section, tc.offset, tc.reason)
		}
	}
}

func TestInstructionsRefuses(t *testing.T) {
	for _, tc := range []struct {
		body   []byte
		reason string
	}{
		{nil, "ends inside an instruction"},
		{[]byte{byte(wasm.Nop)}, "ends inside an instruction"},
		{[]byte{end, end}, "1 bytes behind the final end"},
		{[]byte{0x06, end}, "unknown instruction op(0x06)"},
		{[]byte{0xFD, 0x9A, 1, end}, "unknown instruction op(0xfd 0x9a)"},
		{[]byte{0xFC, 0x80, 0x80, 4, end}, "unknown instruction 0xfc 0x10000"},
		{[]byte{0xFB, 0, end}, "unknown instruction op(0xfb)"},
		{[]byte{byte(wasm.Else), end}, "else outside of an if"},
		{[]byte{byte(wasm.If), 0x40, byte(wasm.Else), byte(wasm.Else), end, end}, "else outside of an if"},
		{[]byte{byte(wasm.Block), 0x40, end}, "ends inside an instruction"},
		{[]byte{byte(wasm.Block), 0x41, end, end}, "block type -63"},
		{[]byte{byte(wasm.Br), 1, end}, "branch to label 1 inside 1 blocks"},
		{[]byte{byte(wasm.BrTable), 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, end}, "4294967295 labels in 2 bytes"},
		{[]byte{byte(wasm.BrTable), 1, 0, 7, end}, "branch to label 7"},
		{[]byte{byte(wasm.I32Load), 3, 0, end}, "i32.load aligned to 2^3"},
		{[]byte{byte(wasm.I32Load), 2, 0xFF, 0xFF, 0xFF, 0xFF, 0x10, end}, "out of range"},
		{[]byte{0xFD, 0x0C, 1, 2, 3, end}, "v128 constant of 16 bytes"},
		{append(append([]byte{0xFD, 0x0D}, make([]byte, 15)...), 32, end), "shuffle of lane 32"},
		{[]byte{0xFD, 0x1B, 4, end}, "lane 4 of i32x4.extract_lane"},
		{[]byte{0xFE, 0x03, 1, end}, "is not 0"},
		{[]byte{byte(wasm.RefNull), 0x7F, end}, "not a reference type"},
		{[]byte{byte(wasm.SelectT), 1, 0, end}, "not a value type"},
		{[]byte{byte(wasm.I64Const), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02, end}, "out of range for 64 bits"},
	} {
		var err error
		for _, e := range wasm.Instructions(tc.body) {
			err = e
		}
		if !errors.Is(err, wasm.ErrFormat) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%x: error %v, want %q", tc.body, err, tc.reason)
		}
	}
}

// TestHostileCounts: a vector that announces more than the input can hold costs nothing.
func TestHostileCounts(t *testing.T) {
	for id := wasm.SectionType; id <= wasm.SectionData; id++ {
		if id == wasm.SectionStart {
			continue
		}
		bin := binary(sec(id, 0xFF, 0xFF, 0xFF, 0xFF, 0x07))
		if n := allocated(func() {
			if _, err := wasm.Decode(bin); err == nil {
				t.Errorf("%v section with 2^31-1 entries decodes", id)
			}
		}); n > 100_000 {
			t.Errorf("%v section of 5 bytes: %d bytes allocated", id, n)
		}
	}
}

// allocated counts the bytes that f allocates, with those that other goroutines allocate meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
