package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
)

func TestTensorsJSON(t *testing.T) {
	cases := []struct {
		dtype abi.DType
		body  string
		want  string
	}{
		{abi.F32, "\x00\x00\x80\x3f\xcd\xcc\xcc\x3d", "[1,0.1]"},
		{abi.F32, "\x00\x00\x80\x7f\x00\x00\xc0\x7f", `["+Inf","NaN"]`},
		{abi.F64, "\x9a\x99\x99\x99\x99\x99\xb9\x3f\x00\x00\x00\x00\x00\x00\xf0\xff", `[0.1,"-Inf"]`},
		{abi.I8, "\xff\x7f", "[-1,127]"},
		{abi.U8, "\xff\x7f", "[255,127]"},
		{abi.I16, "\xff\xff\x01\x00", "[-1,1]"},
		{abi.U16, "\xff\xff\x01\x00", "[65535,1]"},
		{abi.I32, "\xff\xff\xff\xff\x01\x00\x00\x00", "[-1,1]"},
		{abi.U32, "\xff\xff\xff\xff\x01\x00\x00\x00", "[4294967295,1]"},
		{abi.I64, "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00", "[-1,1]"},
		{abi.U64, "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00", "[18446744073709551615,1]"},
		{abi.Bool, "\x00\x01", "[false,true]"},
	}
	for _, c := range cases {
		got, err := tensorsJSON([]byte(c.body), []abi.TensorSpec{{Name: "y", DType: c.dtype, Shape: []int{2}}})
		want := `{"outputs":[{"name":"y","dtype":"` + string(c.dtype) + `","shape":[2],"data":` + c.want + `}]}`
		if err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	two := []abi.TensorSpec{{Name: "a", DType: abi.U8}, {Name: "b", DType: abi.U8, Shape: []int{2}}}
	got, err := tensorsJSON([]byte{1, 2, 3}, two)
	if want := `{"outputs":[{"name":"a","dtype":"u8","shape":[],"data":[1]},{"name":"b","dtype":"u8","shape":[2],"data":[2,3]}]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if _, err := tensorsJSON([]byte{1, 2}, two); err == nil || !strings.Contains(err.Error(), `"b": 1 bytes, want 2`) {
		t.Errorf("%v", err)
	}
	if _, err := tensorsJSON([]byte{1, 2}, []abi.TensorSpec{{Name: "h", DType: abi.F16}}); err == nil || !strings.Contains(err.Error(), "f16") {
		t.Errorf("%v", err)
	}
}

func TestAnswerOfUndeclaredEncoding(t *testing.T) {
	cases := []struct {
		a    answer
		want string
	}{
		{answer{body: []byte(`{"a":1}`), encoding: abi.Raw}, `{"a":1}`},
		{answer{body: []byte(`{"a":`), encoding: abi.Raw}, `{"base64":"eyJhIjo="}`},
		{answer{body: nil, encoding: abi.Raw}, `{"base64":""}`},
		{answer{body: []byte("12"), encoding: abi.Raw, declared: true}, `{"base64":"MTI="}`},
	}
	for _, c := range cases {
		if got, err := c.a.json(); err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
	}
}

func TestAnswerOnTerminal(t *testing.T) {
	cases := []struct{ body, want, err string }{
		{`{"alarm":true}`, "{\"alarm\":true}\n", ""},
		{"two\nlines\n", "two\nlines\n", ""},
		{"\x1b[2J", "", "not text"},
		{"\xff\xd8", "", "not text"},
	}
	for _, c := range cases {
		var out bytes.Buffer
		err := new(callFlags).write(t.Context(), streams{out: &out, outTerminal: true}, answer{body: []byte(c.body), encoding: abi.Raw})
		if out.String() != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: wrote %q, %v", c.body, &out, err)
		}
	}
}
