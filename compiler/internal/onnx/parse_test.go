package onnx

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestParse(t *testing.T) {
	m, err := Parse(smallModel())
	if err != nil {
		t.Fatal(err)
	}
	if m.IRVersion != 8 || m.ProducerName != "test" || m.Opsets[""] != 17 || m.Metadata["k"] != "v" {
		t.Errorf("model %+v", m)
	}
	g := m.Graph
	if g.Name != "g" || len(g.Nodes) != 2 || len(g.Initializers) != 2 || len(g.ValueInfo) != 1 || len(g.Outputs) != 1 {
		t.Fatalf("graph %+v", g)
	}
	conv := g.Nodes[0]
	if conv.OpType != "Conv" || !reflect.DeepEqual(conv.Inputs, []string{"x"}) || !reflect.DeepEqual(conv.Outputs, []string{"h"}) {
		t.Errorf("node %+v", conv)
	}
	checkAttrs(t, conv)
	if then := g.Nodes[1].Attr("then_branch"); then.G == nil || then.G.Nodes[0].OpType != "Relu" {
		t.Errorf("then_branch %+v", then)
	}
	wantShape := []Dim{{Param: "batch"}, {Value: 3, Known: true}, {}, {}}
	if x := g.Inputs[0]; x.Name != "x" || x.DType != F32 || !x.HasShape || !reflect.DeepEqual(x.Shape, wantShape) {
		t.Errorf("input %+v", x)
	}
	if s := g.SparseInitializers[0]; s.Values.Name != "s" || s.Dims[0] != 9 {
		t.Errorf("sparse %+v", s)
	}
	f := m.Functions[0]
	if f.Name != "Twice" || f.Domain != "local" || f.Nodes[0].Attr("axis").RefName != "axis" || f.Opsets[""] != 17 ||
		f.AttrDefaults[0].Type != AttrFloat { // the type is left out and follows from the field
		t.Errorf("function %+v", f)
	}
}

func checkAttrs(t *testing.T, n *Node) {
	t.Helper()
	if v, err := n.Float("alpha", 0); v != 0.5 || err != nil {
		t.Errorf("alpha = %v, %v", v, err)
	}
	if v, err := n.Int("group", 0); v != 1 || err != nil {
		t.Errorf("group = %v, %v", v, err)
	}
	if v, err := n.Str("auto_pad", ""); v != "SAME_UPPER" || err != nil {
		t.Errorf("auto_pad = %q, %v", v, err)
	}
	if v, err := n.Ints("pads", nil); !reflect.DeepEqual(v, []int64{0, -1, 1, 1}) || err != nil {
		t.Errorf("pads = %v, %v", v, err)
	}
	if v, err := n.Int("dilation", 42); v != 42 || err != nil {
		t.Errorf("absent attribute = %v, %v", v, err)
	}
	if _, err := n.Int("alpha", 0); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), `"alpha" of Conv is float, want int`) {
		t.Errorf("attribute of the wrong type: %v", err)
	}
	if a := n.Attr("scales"); !reflect.DeepEqual(a.Floats, []float32{1, 2}) {
		t.Errorf("scales %+v", a)
	}
	if a := n.Attr("keys"); len(a.Strings) != 2 || string(a.Strings[1]) != "b" {
		t.Errorf("keys %+v", a)
	}
	if v, err := n.Attr("value").T.Float32s(); err != nil || v[0] != 7 {
		t.Errorf("value %v, %v", v, err)
	}
}

func TestUnpackedFields(t *testing.T) {
	x, err := ParseTensor(pb{}.int(1, 2).int(1, 1).int(2, int64(F32)).float(4, 1.5).float(4, -2))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.Float32s(); err != nil || !reflect.DeepEqual(v, []float32{1.5, -2}) {
		t.Errorf("%v, %v", v, err)
	}
}

func TestGraphInTwoPartsIsMerged(t *testing.T) {
	b := modelPB(pb{}.msg(1, nodePB("Relu", "x", "y"))).msg(7, pb{}.msg(1, nodePB("Tanh", "y", "z")))
	m, err := Parse(b)
	if err != nil || len(m.Graph.Nodes) != 2 {
		t.Fatalf("%v, %v", m, err)
	}
}

func TestRawDataIsNotCopied(t *testing.T) {
	b := []byte(modelPB(pb{}.msg(5, tensorPB("w", F32, 1).str(9, "abcd"))))
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), "abcd")
	if raw := m.Graph.Initializers[0].Raw; &raw[0] != &b[at] {
		t.Error("raw data is a copy")
	}
}

func TestNotAModel(t *testing.T) {
	cases := map[string]string{
		"":                                                  "the file is empty",
		"\x89PNG\r\n\x1a\n\x00\x00":                         "PNG",
		"\xff\xd8\xff\xe0\x00\x10JFIF":                      "JPEG",
		"\x00asm\x01\x00\x00\x00":                           "WebAssembly",
		"PK\x03\x04\x00\x00\x08\x08":                        "zip",
		"\x1c\x00\x00\x00TFL3\x14\x00":                      "TensorFlow Lite",
		"\x80\x02\x8a\x0al\xfc\x9cF":                        "pickle",
		"hello, this is\nnot a model, grüße":                "text",
		"version https://git-lfs.github.com/":               "git lfs pull",
		"<!DOCTYPE html><html>":                             "HTML",
		"\x20\x00\x00\x00\x00\x00\x00\x00{\"__metadata__\"": "safetensors",
		"\x08\x07":                                          "no graph",
		"\xff\xff\xff\xff\xff\xff":                          "byte 0",
	}
	for in, want := range cases {
		_, err := Parse([]byte(in))
		if !errors.Is(err, ErrNotModel) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if _, err := ParseTensor([]byte("\x89PNG\r\n\x1a\n\x00\x00")); err == nil || !strings.Contains(err.Error(), "PNG") {
		t.Errorf("tensor: %v", err)
	}
}

// nested is a model with n subgraphs, one in the other.
func nested(n int) pb {
	g := pb{}.str(2, "leaf")
	for range n {
		g = pb{}.msg(1, nodePB("If", "c", "y").msg(5, pb{}.str(1, "then_branch").msg(6, g)))
	}
	return modelPB(g)
}

var hostile = []struct {
	name string
	in   pb
	want string
}{
	{"node without operator", modelPB(pb{}.msg(1, pb{}.str(1, "x"))), "node without an operator at byte 12 in graph.node[0]"},
	{"attribute without name", modelPB(pb{}.msg(1, nodePB("A", "", "")).msg(1, nodePB("B", "", "").msg(5, pb{}.int(3, 1)))),
		"attribute without a name at byte 30 in graph.node[1].attribute[0]"},
	{"attribute twice", modelPB(pb{}.msg(1, nodePB("A", "", "").msg(5, pb{}.str(1, "k")).msg(5, pb{}.str(1, "k")))), `two attributes "k"`},
	{"wrong wire type", modelPB(pb{}.int(1, 3)), "field 1 has wire type 0, want 2 at byte 10 in graph.node[0]"},
	{"wrong wire type of a number", pb{}.str(1, "eight").msg(7, pb{}), "field 1 has wire type 2, want 0 at byte 0"},
	{"length beyond the message", modelPB(pb{}.msg(1, pb("\x0a\x7fabc"))), "truncated (field 1 needs 127 bytes, 3 left) at byte 14 in graph.node[0]"},
	{"length of 2^63", pb("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "truncated (field 7 needs 9223372036854775807 bytes, 0 left) at byte 10 in graph"},
	{"varint too long", modelPB(pb("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), "at byte"},
	{"packed numbers truncated", modelPB(pb{}.msg(5, pb{}.str(4, "\x00\x00\x80\x3f\x00"))), "truncated at byte 18 in graph.initializer[0]"},
	{"tensor without type", modelPB(pb{}.msg(5, pb{}.str(8, "w"))), `tensor "w" without an element type`},
	{"tensor in segments", modelPB(pb{}.msg(5, tensorPB("w", F32).msg(3, pb{}))), "segments"},
	{"type out of range", modelPB(pb{}.msg(5, pb{}.int(2, 1<<40))), "out of range"},
	{"tensor attribute without tensor", modelPB(pb{}.msg(1, nodePB("A", "", "").msg(5, pb{}.str(1, "k").int(20, int64(AttrTensor))))), "without a value"},
	{"graph attribute without graph", modelPB(pb{}.msg(1, nodePB("A", "", "").msg(5, pb{}.str(1, "k").int(20, int64(AttrGraph))))), "without a value"},
	{"sparse without values", modelPB(pb{}.msg(15, pb{}.packedInts(3, 1))), "without values"},
	{"external without file", modelPB(pb{}.msg(5, tensorPB("w", F32).int(14, 1))), "does not say which"},
	{"external with a bad offset", modelPB(pb{}.msg(5, tensorPB("w", F32).msg(13, pb{}.str(1, "offset").str(2, "-4")))), `external_data offset is "-4"`},
	{"deep nesting", nested(200), "more than 100 nested messages"},
	{"end group without start", modelPB(protowire.AppendTag(nil, 1, protowire.EndGroupType)), "at byte"},
}

func TestHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotModel) {
				t.Errorf("%v matches no sentinel", err)
			}
		})
	}
	if _, err := Parse(nested(30)); err != nil {
		t.Errorf("30 subgraphs: %v", err)
	}
}

// Each prefix of a model is an error or a shorter model, never a panic.
func TestTruncatedEverywhere(t *testing.T) {
	b := smallModel()
	for n := range b {
		m, err := Parse(b[:n])
		if err == nil && m.Graph == nil || err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotModel) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// The largest structure for its input is a node: no input may cost more than a constant factor of its size.
func TestAllocationIsPaidFor(t *testing.T) {
	var graph pb
	for range 10_000 {
		graph = graph.msg(1, pb{}.str(4, "A"))
	}
	in := modelPB(graph)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse(in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if factor := (after.TotalAlloc - before.TotalAlloc) / uint64(len(in)); factor > 100 {
		t.Errorf("%d bytes allocated for each byte of input", factor)
	}
}

func FuzzParse(f *testing.F) {
	seeds := []pb{smallModel(), nested(3)}
	for _, c := range hostile {
		seeds = append(seeds, c.in)
	}
	if len(seeds) < 10 {
		f.Fatal("the seed corpus is gone")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	for _, b := range realSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotModel) {
				t.Errorf("%v matches no sentinel", err)
			}
			return
		}
		for _, x := range m.Graph.Initializers {
			readAll(t, x, len(b))
		}
	})
}

func FuzzTensor(f *testing.F) {
	for _, c := range tensorCases {
		f.Add([]byte(c.in))
	}
	if len(tensorCases) == 0 {
		f.Fatal("the seed corpus is gone")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := ParseTensor(b); err == nil {
			readAll(t, x, len(b))
		}
	})
}

// readAll reads the elements in each way and checks that there are no more than the input can hold.
func readAll(t *testing.T, x *Tensor, input int) {
	t.Helper()
	fs, _ := x.Float32s()
	is, _ := x.Int64s()
	ss, _ := x.StringElems()
	if n := len(fs) + len(is) + len(ss); n > 4*input { // u2: four elements in a byte
		t.Errorf("%d elements from %d bytes", n, input)
	}
}
