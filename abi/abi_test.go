package abi

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func fullManifest() Manifest {
	return Manifest{
		Isomer: 1, Name: "digits", Version: "1.4.0",
		Functions: []Function{
			{Name: "classify", Convention: Image, Input: ImageRGB, Output: JSON, Doc: "Class of a picture."},
			{Name: "predict", Convention: WasmtubeImage, Output: JSON},
			{Name: "run", Convention: Tensors},
			{Name: "echo", Convention: Bytes},
			{Name: "add", Convention: Scalar},
		},
		Inputs:      []TensorSpec{{Name: "input", Global: "input_0", DType: F32, Shape: []int{1, 2}}},
		Outputs:     []TensorSpec{{Name: "logits", Global: "output_0", DType: F32, Shape: []int{1}}},
		Image:       &ImageSpec{Width: 224, Height: 224, Fit: FitCover, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}, Scale: 1.0 / 255},
		Labels:      []string{"zero", "one"},
		Features:    []string{"simd128"},
		Permissions: []string{"log"},
		Memory:      &MemorySpec{MinPages: 2, MaxPages: 100},
		Golden: []Golden{
			{Function: "classify", Input: []byte{1, 2, 3}, Width: 1, Height: 1, Output: []byte(`{"class":0}`), Tolerance: 1e-4},
			{Function: "run", Input: make([]byte, 8), Output: make([]byte, 4)},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	want := fullManifest()
	enc, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseManifest(enc)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if f, ok := got.Function("run"); !ok || f.Convention != Tensors {
		t.Errorf("Function(run) = %+v, %v", f, ok)
	}
}

func TestManifestReportsEverythingAtOnce(t *testing.T) {
	m := fullManifest()
	m.Name = "../x"
	m.Version = "1 2"
	m.Functions[0].Convention = "telepathy"
	m.Functions[3].Name = "run"
	m.Functions[4].Output = "xml"
	m.Inputs[0].DType = "f8"
	m.Outputs[0].Shape = []int{1 << 20, 1 << 20}
	m.Image.Std[1] = 0
	m.Image.Fit = "squeeze"
	m.Memory.MaxPages = 1
	m.Golden[0].Function = "nobody"
	_, err := m.Encode()
	var me *ManifestError
	if !errors.As(err, &me) || !errors.Is(err, ErrManifest) {
		t.Fatalf("err = %v", err)
	}
	for _, want := range []string{"name:", "version:", "functions[0].convention", "functions[3].name", "functions[4].output",
		"inputs[0]: dtype", "outputs[0]: shape", "image.std[1]", "image.fit", "memory:", "golden[0].function"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestManifestBadInput(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "not JSON": "\x00asm", "truncated": `{"isomer":1,"name":"a"`, "array": `[]`,
		"no version": `{"name":"a"}`, "newer": `{"isomer":2,"name":"a"}`, "tail": `{"isomer":1,"name":"a"} x`,
		"base64": `{"isomer":1,"name":"a","golden":[{"function":"f","input":"%"}]}`,
	} {
		if _, err := ParseManifest([]byte(in)); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	if _, err := ParseManifest([]byte(`{"isomer":1,"name":"a","fromTheFuture":{"x":1}}`)); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestDecodeResult(t *testing.T) {
	mem := make([]byte, 64)
	copy(mem[32:], "hello")
	put := func(tag byte, ptr, n uint32) {
		mem[8] = tag
		binary.LittleEndian.PutUint32(mem[12:], ptr)
		binary.LittleEndian.PutUint32(mem[16:], n)
	}
	put(TagOK, 32, 5)
	if got, isErr, err := DecodeResult(mem, 8); err != nil || isErr || string(got) != "hello" {
		t.Errorf("ok: %q %v %v", got, isErr, err)
	}
	put(TagErr, 32, 4)
	if got, isErr, err := DecodeResult(mem, 8); err != nil || !isErr || string(got) != "hell" {
		t.Errorf("err: %q %v %v", got, isErr, err)
	}
	put(TagOK, 64, 0) // an empty list may point just behind the memory
	if got, _, err := DecodeResult(mem, 8); err != nil || len(got) != 0 {
		t.Errorf("empty: %q %v", got, err)
	}

	var be *BoundsError
	for name, c := range map[string][2]uint32{"beyond": {60, 5}, "far": {0xffff_fff0, 4}, "wraps": {0xffff_ffff, 0xffff_ffff}} {
		put(TagOK, c[0], c[1])
		_, _, err := DecodeResult(mem, 8)
		if !errors.As(err, &be) || be.Ptr != c[0] || be.Len != c[1] || be.Memory != 64 {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(2, 32, 5)
	if _, _, err := DecodeResult(mem, 8); !errors.Is(err, ErrViolation) || !strings.Contains(err.Error(), "tag 2") {
		t.Errorf("tag: %v", err)
	}
	if _, _, err := DecodeResult(mem, 9); err == nil || !strings.Contains(err.Error(), "aligned") {
		t.Errorf("alignment: %v", err)
	}
	if _, _, err := DecodeResult(mem, 56); !errors.As(err, &be) || be.What != "result record" {
		t.Errorf("record outside: %v", err)
	}
	put(TagErr, 32, 1)
	mem[32] = 0xff
	if _, _, err := DecodeResult(mem, 8); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("message that is no text: %v", err)
	}
}

func TestEncodeResultRoundTrip(t *testing.T) {
	mem := []byte("................payload.")
	if err := EncodeResult(mem, 4, false, 16, 7); err != nil {
		t.Fatal(err)
	}
	if got, isErr, err := DecodeResult(mem, 4); err != nil || isErr || string(got) != "payload" {
		t.Errorf("%q %v %v", got, isErr, err)
	}
	if err := EncodeResult(mem, 16, true, 0, 0); err == nil {
		t.Error("a record outside memory was written")
	}
}

func TestDecodeList(t *testing.T) {
	mem := []byte{8, 0, 0, 0, 2, 0, 0, 0, 'h', 'i'}
	if got, err := DecodeList(mem, 0); err != nil || string(got) != "hi" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := DecodeList(mem, 4); !errors.Is(err, ErrViolation) {
		t.Errorf("record outside: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	full, err := fullManifest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{full, []byte(`{"isomer":1,"name":"a"}`), full[:len(full)/2], []byte(`{"isomer":1,"name":"a","inputs":[{"name":"x","global":"g","dtype":"f64","shape":[65535,65535,65535]}]}`)}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseManifest(in)
		if err != nil {
			if !errors.Is(err, ErrManifest) {
				t.Fatalf("err = %v, not ErrManifest", err)
			}
			return
		}
		enc, err := m.Encode()
		if err != nil {
			t.Fatalf("parsed but does not encode: %v", err)
		}
		again, err := ParseManifest(enc)
		if err != nil {
			t.Fatalf("encoded but does not parse: %v", err)
		}
		enc2, err := again.Encode()
		if err != nil || string(enc2) != string(enc) {
			t.Fatalf("encoding is not stable: %v\n%s\n%s", err, enc, enc2)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	mem := make([]byte, 32)
	if err := EncodeResult(mem, 0, false, 12, 20); err != nil {
		f.Fatal(err)
	}
	f.Add(mem, uint32(0))
	f.Add(mem, uint32(24))
	bad := append([]byte(nil), mem...)
	binary.LittleEndian.PutUint32(bad[4:], 0xffff_ffff)
	f.Add(bad, uint32(0))
	f.Add([]byte{}, uint32(0xffff_fffc))
	f.Fuzz(func(t *testing.T, mem []byte, ret uint32) {
		got, _, err := DecodeResult(mem, ret)
		if err != nil && !errors.Is(err, ErrViolation) {
			t.Fatalf("err = %v, not ErrViolation", err)
		}
		if len(got) > len(mem) {
			t.Fatalf("%d bytes out of a memory of %d", len(got), len(mem))
		}
		_, _ = DecodeList(mem, ret)
	})
}
