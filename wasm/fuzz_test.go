package wasm_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

// seedModules are whole modules: one of each kind of section, one with SIMD, one with every
// instruction, and one by Go's linker.
func seedModules(t testing.TB) [][]byte {
	t.Helper()
	seeds := [][]byte{
		scaleModule().Encode(), richModule().Encode(), everyOp().Encode(), (&wasm.Module{}).Encode(),
		nameModule(nameSec(1, 0x84, 0x80, 0, 1, 0, 1, 'f')),
		goGuestPart(t),
	}
	for _, s := range seeds {
		if _, err := wasm.Decode(s); err != nil {
			t.Fatalf("seed of %d bytes: %v", len(s), err)
		}
	}
	return seeds
}

// goGuestPart is what Go's linker wrote without most of its functions and data: the whole guest has
// 2.6 MB, too much to mutate.
func goGuestPart(t testing.TB) []byte {
	m := mustDecode(t, guest(t))
	m.Funcs, m.Data, m.Elems, m.Exports, m.Names = m.Funcs[:20], nil, nil, nil, nil
	m.Customs = nil
	return m.Encode()
}

func FuzzDecode(f *testing.F) {
	seeds := seedModules(f)
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, bin []byte) {
		sections, err := wasm.Sections(bin)
		m, decodeErr := wasm.Decode(bin)
		if decodeErr == nil && err != nil {
			t.Fatalf("decodes, but its sections do not: %v", err)
		}
		if decodeErr != nil {
			if !errors.Is(decodeErr, wasm.ErrFormat) {
				t.Fatalf("error %v of type %T", decodeErr, decodeErr)
			}
			return
		}
		again := m.Encode()
		m2, err := wasm.Decode(again)
		if err != nil {
			t.Fatalf("what Encode wrote does not decode: %v", err)
		}
		if !reflect.DeepEqual(m, m2) {
			t.Fatalf("%+v\nbecame\n%+v", m, m2)
		}
		if third := m2.Encode(); !bytes.Equal(third, again) {
			t.Fatal("encoding twice differs")
		}
		m.Features()
		if len(sections) > 0 {
			out, err := wasm.SetCustomSection(bin, "note", []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if p, ok, err := wasm.CustomSection(out, "note"); string(p) != "x" || !ok || err != nil {
				t.Fatalf("custom section %q, %v, %v", p, ok, err)
			}
		}
	})
}

func FuzzInstructions(f *testing.F) {
	seeds := 0
	for _, s := range wasm.AllOps() {
		f.Add(append(append(wasm.AppendOp(nil, s.Op), s.Immediates...), end))
		seeds++
	}
	for _, bin := range append(seedModules(f), guest(f)) {
		m := mustDecode(f, bin)
		for i := range min(len(m.Funcs), 50) {
			f.Add(m.Funcs[i].Body)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		last, failed, ops := -1, false, 0
		for in, err := range wasm.Instructions(body) {
			if failed {
				t.Fatal("goes on behind an error")
			}
			if failed = err != nil; failed {
				if !errors.Is(err, wasm.ErrFormat) {
					t.Fatalf("error %v of type %T", err, err)
				}
				continue
			}
			if in.Offset <= last || in.Offset >= len(body) {
				t.Fatalf("instruction at %d behind %d", in.Offset, last)
			}
			if !in.Op.Known() {
				t.Fatalf("unknown %v is no error", in.Op)
			}
			last = in.Offset
			ops++
		}
		if !failed && ops == 0 {
			t.Fatal("neither instructions nor an error")
		}
	})
}
