package onnx

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var tensorCases = []struct {
	name   string
	in     pb
	floats []float32
	ints   []int64
	err    string // of the accessor that fits the type
}{
	{name: "f32 raw", in: tensorPB("x", F32, 2).str(9, "\x00\x00\x80\x3f\x00\x00\x00\xc0"), floats: []float32{1, -2}},
	{name: "f32 scalar", in: tensorPB("x", F32).packedFloats(4, 3), floats: []float32{3}},
	{name: "f32 empty", in: tensorPB("x", F32, 0, 3), floats: []float32{}},
	{name: "f32 empty raw", in: tensorPB("x", F32, 0).str(9, ""), floats: []float32{}},
	{name: "f64 raw", in: tensorPB("x", F64, 1).str(9, "\x00\x00\x00\x00\x00\x00\xf0\x3f"), floats: []float32{1}},
	{name: "f64 list", in: tensorPB("x", F64, 1).double(10, 0.1), floats: []float32{0.1}},
	{name: "f16 raw", in: tensorPB("x", F16, 6).str(9, "\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\xfc\x00\x80"),
		floats: []float32{1, -2, 1.0 / (1 << 24), 65504, float32(math.Inf(-1)), float32(math.Copysign(0, -1))}},
	{name: "f16 list", in: tensorPB("x", F16, 1).packedInts(5, 0x3c00), floats: []float32{1}},
	{name: "bf16 raw", in: tensorPB("x", BF16, 2).str(9, "\x80\x3f\x00\xc0"), floats: []float32{1, -2}},
	{name: "bf16 list", in: tensorPB("x", BF16, 1).packedInts(5, 0x3f80), floats: []float32{1}},
	{name: "i64 raw", in: tensorPB("x", I64, 1).str(9, "\xfe\xff\xff\xff\xff\xff\xff\xff"), ints: []int64{-2}},
	{name: "i64 list", in: tensorPB("x", I64, 3).packedInts(7, math.MinInt64, 0, 1), ints: []int64{math.MinInt64, 0, 1}},
	{name: "i32 raw", in: tensorPB("x", I32, 1).str(9, "\xfe\xff\xff\xff"), ints: []int64{-2}},
	{name: "i32 list", in: tensorPB("x", I32, 2).packedInts(5, -2, 7), ints: []int64{-2, 7}},
	{name: "u32 raw", in: tensorPB("x", U32, 1).str(9, "\xff\xff\xff\xff"), ints: []int64{1<<32 - 1}},
	{name: "u32 list", in: tensorPB("x", U32, 1).packedInts(11, 1<<32-1), ints: []int64{1<<32 - 1}},
	{name: "u64 beyond int64", in: tensorPB("x", U64, 1).packedInts(11, -1), ints: []int64{-1}},
	{name: "i16 raw", in: tensorPB("x", I16, 1).str(9, "\x00\x80"), ints: []int64{-32768}},
	{name: "u16 list", in: tensorPB("x", U16, 1).packedInts(5, 65535), ints: []int64{65535}},
	{name: "i8 raw", in: tensorPB("x", I8, 2).str(9, "\x80\x7f"), ints: []int64{-128, 127}},
	{name: "u8 raw", in: tensorPB("x", U8, 1).str(9, "\x80"), ints: []int64{128}},
	{name: "i8 list", in: tensorPB("x", I8, 1).packedInts(5, -128), ints: []int64{-128}},
	{name: "bool raw", in: tensorPB("x", Bool, 3).str(9, "\x00\x01\x02"), ints: []int64{0, 1, 1}},
	{name: "i4 raw", in: tensorPB("x", I4, 3).str(9, "\x7f\x08"), ints: []int64{-1, 7, -8}},
	{name: "u4 list", in: tensorPB("x", U4, 3).packedInts(5, 0xf1, 2), ints: []int64{1, 15, 2}},
	{name: "u2 raw", in: tensorPB("x", U2, 5).str(9, "\xe4\x01"), ints: []int64{0, 1, 2, 3, 1}},

	{name: "raw too short", in: tensorPB("w", F32, 2).str(9, "1234567"), err: `tensor "w" (f32 [2]): 7 bytes of data, the shape needs 8`},
	{name: "raw too long", in: tensorPB("w", U8, 2).str(9, "123"), err: "3 bytes of data, the shape needs 2"},
	{name: "list too short", in: tensorPB("w", F32, 2).packedFloats(4, 1), err: "1 values, the shape needs 2"},
	{name: "list too long", in: tensorPB("w", I4, 2).packedInts(5, 1, 2), err: "2 values, the shape needs 1"},
	{name: "no data", in: tensorPB("w", I32, 2), err: "0 values, the shape needs 2"},
	{name: "negative dimension", in: tensorPB("w", F32, -2), err: "negative dimension"},
	{name: "overflow", in: tensorPB("w", F32, 1<<32, 1<<32), err: "shape too large"},
	{name: "overflow to zero", in: tensorPB("w", F32, 1<<62, 4), err: "shape too large"},
	{name: "overflow and zero", in: tensorPB("w", F32, 0, 1<<62, 1<<62), err: "shape too large"},
	{name: "unread file", in: tensorPB("w", F32, 1).int(14, 1).msg(13, pb{}.str(1, "location").str(2, "w.bin")), err: `file "w.bin", which was not read`},
}

func TestTensor(t *testing.T) {
	for _, c := range tensorCases {
		t.Run(c.name, func(t *testing.T) {
			x, err := ParseTensor(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if x.DType == F32 || x.DType == F64 || x.DType == F16 || x.DType == BF16 {
				fs, err := x.Float32s()
				checkErr(t, err, c.err)
				if c.err == "" && !sameBits(fs, c.floats) {
					t.Errorf("%v, want %v", fs, c.floats)
				}
				return
			}
			is, err := x.Int64s()
			checkErr(t, err, c.err)
			if c.err == "" && !reflect.DeepEqual(is, c.ints) {
				t.Errorf("%v, want %v", is, c.ints)
			}
		})
	}
}

func checkErr(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (!errors.Is(err, ErrData) || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want %q", err, want)
	}
}

func sameBits(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

func TestAccessorOfAnotherType(t *testing.T) {
	x, err := ParseTensor(tensorPB("x", String, 1).str(6, "hi"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := x.StringElems(); err != nil || string(s[0]) != "hi" {
		t.Errorf("%q, %v", s, err)
	}
	_, err = x.Float32s()
	checkErr(t, err, "not a float tensor")
	_, err = x.Int64s()
	checkErr(t, err, "not an integer tensor")
}

// external is a model whose one weight, f32 [2], stands in another file.
func external(location string, more ...string) pb {
	w := tensorPB("w", F32, 2).int(14, 1).msg(13, pb{}.str(1, "location").str(2, location))
	for i := 0; i+1 < len(more); i += 2 {
		w = w.msg(13, pb{}.str(1, more[i]).str(2, more[i+1]))
	}
	return modelPB(pb{}.msg(1, nodePB("Relu", "w", "y")).msg(5, w))
}

func TestExternalData(t *testing.T) {
	data := "skip\x00\x00\x80\x3f\x00\x00\x00\xc0"
	cases := []struct {
		name string
		in   pb
		err  string
	}{
		{"offset and length", external("w.bin", "offset", "4", "length", "8"), ""},
		{"offset to the end", external("w.bin", "offset", "4"), ""},
		{"in a folder", external("weights/w.bin", "offset", "4", "checksum", "ignored"), ""},
		{"up and back", external("weights/../w.bin", "offset", "4"), ""},
		{"parent", external("../w.bin", "offset", "4"), "escapes"},
		{"absolute", external("/etc/passwd"), "escapes"},
		{"link out", external("link"), "escapes"},
		{"missing", external("v.bin"), "no such file"},
		{"folder", external("weights"), "not a regular file"},
		{"offset beyond the end", external("w.bin", "offset", "13"), `byte 13 is beyond the end of file "w.bin" of 12 bytes`},
		{"length beyond the end", external("w.bin", "offset", "5", "length", "8"), `8 bytes from byte 5 are beyond the end`},
		{"overflowing range", external("w.bin", "offset", "8", "length", "9223372036854775807"), "beyond the end"},
		{"empty location", external(""), "does not say which"},
		{"wrong size", external("w.bin", "offset", "8"), "4 bytes of data, the shape needs 8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "model")
			write(t, filepath.Join(top, "w.bin"), data)
			write(t, filepath.Join(dir, "w.bin"), data)
			write(t, filepath.Join(dir, "weights", "w.bin"), data)
			if err := os.Symlink(filepath.Join(top, "w.bin"), filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "model.onnx")
			write(t, path, string(c.in))
			m, err := ReadFile(path)
			var fs []float32
			if err == nil {
				fs, err = m.Graph.Initializers[0].Float32s()
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !sameBits(fs, []float32{1, -2}) {
				t.Fatalf("%v, %v", fs, err)
			}
		})
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDTypeNames(t *testing.T) {
	for d := F32; d <= I2; d++ {
		if d.String() == "" || strings.HasPrefix(d.String(), "dtype(") {
			t.Errorf("type %d has no name", d)
		}
	}
	if DType(99).String() != "dtype(99)" || DType(-1).Bits() != 0 {
		t.Error("unknown type")
	}
}
