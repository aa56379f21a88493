package wasm_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

func TestSections(t *testing.T) {
	bin := richModule().Encode()
	sections, err := wasm.Sections(bin)
	if err != nil {
		t.Fatal(err)
	}
	at := 8
	var titles []string
	for _, s := range sections {
		if s.Offset != at {
			t.Errorf("%s starts at %d, the one before ends at %d", s.Title(), s.Offset, at)
		}
		at += s.Size
		titles = append(titles, s.Title())
	}
	if at != len(bin) {
		t.Errorf("sections end at %d of %d", at, len(bin))
	}
	want := []string{`custom "first"`, "type", "import", "function", "table", "memory", "global", "export", `custom "middle"`,
		"start", "element", "data count", "code", "data", `custom "name"`, `custom "last"`}
	if !slices.Equal(titles, want) {
		t.Errorf("got  %q\nwant %q", titles, want)
	}
}

func TestCustomSection(t *testing.T) {
	bin := richModule().Encode()
	if p, ok, err := wasm.CustomSection(bin, "first"); string(p) != "\x01\x02\x03" || !ok || err != nil {
		t.Errorf("first: %q, %v, %v", p, ok, err)
	}
	if p, ok, err := wasm.CustomSection(bin, "none"); p != nil || ok || err != nil {
		t.Errorf("none: %q, %v, %v", p, ok, err)
	}
	for _, cut := range []int{0, 7, 9, len(bin) - 1} {
		if _, ok, err := wasm.CustomSection(bin[:cut], "first"); ok || !errors.Is(err, wasm.ErrFormat) {
			t.Errorf("cut to %d bytes: %v, %v", cut, ok, err)
		}
	}
}

func TestSetCustomSection(t *testing.T) {
	bin := richModule().Encode()
	payload := bytes.Repeat([]byte("manifest "), 100)
	added, err := wasm.SetCustomSection(bin, "isomer.manifest", payload)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(added, bin) {
		t.Error("adding a section changes others")
	}
	if p, ok, err := wasm.CustomSection(added, "isomer.manifest"); !bytes.Equal(p, payload) || !ok || err != nil {
		t.Errorf("%q, %v, %v", p, ok, err)
	}
	replaced, err := wasm.SetCustomSection(added, "isomer.manifest", []byte("short"))
	if err != nil {
		t.Fatal(err)
	}
	same, err := wasm.SetCustomSection(replaced, "isomer.manifest", payload)
	if err != nil || !bytes.Equal(same, added) {
		t.Errorf("replacing twice does not restore the binary: %v", err)
	}

	// Of several sections with the name the first place stays.
	twice, err := wasm.SetCustomSection(slices.Concat(added, sec(wasm.SectionCustom, 5, 'f', 'i', 'r', 's', 't', 9)), "first", []byte{4})
	if err != nil {
		t.Fatal(err)
	}
	m := mustDecode(t, twice)
	var names []string
	for _, c := range m.Customs {
		names = append(names, c.Name)
	}
	if want := []string{"first", "middle", "name", "last", "isomer.manifest"}; !slices.Equal(names, want) {
		t.Errorf("custom sections %q, want %q", names, want)
	}
	if p, _ := m.Custom("first"); string(p) != "\x04" {
		t.Errorf("payload %q", p)
	}

	for _, bad := range []struct {
		bin  []byte
		name string
	}{{nil, "x"}, {bin[:len(bin)-1], "x"}, {bin, "\xFF"}} {
		if out, err := wasm.SetCustomSection(bad.bin, bad.name, nil); err == nil || out != nil {
			t.Errorf("%d bytes, name %q: %v", len(bad.bin), bad.name, err)
		}
	}
}

// nameModule has one function, so that the name section can be about something, and these custom sections.
func nameModule(customs ...[]byte) []byte {
	return slices.Concat(binary(oneType, oneFunc, oneBody), slices.Concat(customs...))
}

func nameSec(payload ...byte) []byte {
	return sec(wasm.SectionCustom, append([]byte{4, 'n', 'a', 'm', 'e'}, payload...)...)
}

func TestNamesKeepUnknownSubsections(t *testing.T) {
	bin := nameModule(nameSec(1, 4, 1, 0, 1, 'f', 7, 2, 0xAA, 0xBB, 9, 0))
	m := mustDecode(t, bin)
	want := &wasm.Names{
		Funcs: []wasm.Name{{Index: 0, Name: "f"}},
		Rest:  []wasm.NameSubsection{{ID: 7, Payload: []byte{0xAA, 0xBB}}, {ID: 9, Payload: []byte{}}},
	}
	if !reflect.DeepEqual(m.Names, want) {
		t.Fatalf("names %+v", m.Names)
	}
	m.SetName("m")
	changed := m.Encode()
	if want := nameModule(nameSec(0, 2, 1, 'm', 1, 4, 1, 0, 1, 'f', 7, 2, 0xAA, 0xBB, 9, 0)); !bytes.Equal(changed, want) {
		t.Errorf("got  %x\nwant %x", changed, want)
	}
	m.Names = &wasm.Names{}
	if want := nameModule(nameSec()); !bytes.Equal(m.Encode(), want) {
		t.Errorf("without names %x, want %x", m.Encode(), want)
	}
}

// TestNamesKeepEncoding: a name section that a linker wrote with padded sizes stays so until it is changed.
func TestNamesKeepEncoding(t *testing.T) {
	padded := nameModule(nameSec(1, 0x84, 0x80, 0, 1, 0, 1, 'f'))
	m := mustDecode(t, padded)
	if m.Names.FuncName(0) != "f" || !bytes.Equal(m.Encode(), padded) {
		t.Errorf("%q, %x", m.Names.FuncName(0), m.Encode())
	}
}

// TestMalformedNames: a damaged name section is carried along and does not spoil the module.
func TestMalformedNames(t *testing.T) {
	for _, payload := range [][]byte{
		{1}, {1, 9}, {1, 1, 5}, {0, 2, 1, 0xFF}, {1, 2, 0, 0}, {0, 3, 1, 'm', 0},
		{1, 7, 2, 1, 1, 'a', 0, 1, 'b'}, // indices fall
		{1, 1, 0, 0, 1, 0},              // subsections out of order
		{2, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0},
		{1, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F},
		{2, 6, 1, 0, 0xFF, 0xFF, 0xFF, 0x0F},
	} {
		bin := nameModule(nameSec(payload...))
		m := mustDecode(t, bin)
		if m.Names != nil {
			t.Errorf("%x reads as %+v", payload, m.Names)
		}
		if !bytes.Equal(m.Encode(), bin) {
			t.Errorf("%x became %x", bin, m.Encode())
		}
	}
}
