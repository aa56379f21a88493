package compiler

import (
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/wasm"
)

// pb writes protobuf messages; field numbers are those of onnx.proto.
type pb []byte

func (p pb) int(num protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(p, num, protowire.VarintType), uint64(v))
}

func (p pb) bytes(num protowire.Number, v []byte) pb {
	return protowire.AppendBytes(protowire.AppendTag(p, num, protowire.BytesType), v)
}

func (p pb) str(num protowire.Number, v string) pb { return p.bytes(num, []byte(v)) }

// encode is m as a file: what the tests' models have, no more.
func encode(m *onnx.Model) []byte {
	var g pb
	for _, n := range m.Graph.Nodes {
		g = g.bytes(1, encodeNode(n))
	}
	g = g.str(2, m.Graph.Name)
	for _, t := range m.Graph.Initializers {
		g = g.bytes(5, encodeTensor(t))
	}
	for _, v := range m.Graph.Inputs {
		g = g.bytes(11, encodeValue(v))
	}
	for _, v := range m.Graph.Outputs {
		g = g.bytes(12, encodeValue(v))
	}
	p := pb{}.int(1, m.IRVersion).bytes(7, g)
	for domain, version := range m.Opsets {
		p = p.bytes(8, pb{}.str(1, domain).int(2, version))
	}
	return p
}

func encodeNode(n *onnx.Node) pb {
	var p pb
	for _, in := range n.Inputs {
		p = p.str(1, in)
	}
	for _, out := range n.Outputs {
		p = p.str(2, out)
	}
	p = p.str(3, n.Name).str(4, n.OpType).str(7, n.Domain)
	for _, a := range n.Attrs {
		v := pb{}.str(1, a.Name).int(20, int64(a.Type))
		switch a.Type {
		case onnx.AttrFloat:
			v = protowire.AppendFixed32(protowire.AppendTag(v, 2, protowire.Fixed32Type), math.Float32bits(a.F))
		case onnx.AttrInt:
			v = v.int(3, a.I)
		case onnx.AttrString:
			v = v.bytes(4, a.S)
		case onnx.AttrTensor:
			v = v.bytes(5, encodeTensor(a.T))
		case onnx.AttrInts:
			for _, i := range a.Ints {
				v = v.int(8, i)
			}
		}
		p = p.bytes(5, v)
	}
	return p
}

func encodeTensor(t *onnx.Tensor) pb {
	var p pb
	for _, d := range t.Dims {
		p = p.int(1, d)
	}
	return p.int(2, int64(t.DType)).str(8, t.Name).bytes(9, t.Raw)
}

func encodeValue(v *onnx.ValueInfo) pb {
	var shape pb
	for _, d := range v.Shape {
		if d.Known {
			shape = shape.bytes(1, pb{}.int(1, d.Value))
		} else {
			shape = shape.bytes(1, pb{}.str(2, d.Param))
		}
	}
	tensor := pb{}.int(1, int64(v.DType))
	if v.HasShape {
		tensor = tensor.bytes(2, shape)
	}
	return pb{}.str(1, v.Name).bytes(2, pb{}.bytes(1, tensor))
}

// soundNets are small models that compile, one for each kind of operator.
func soundNets() map[string]net {
	nets := typedNets()
	maps.Copy(nets, map[string]net{
		"conv": newNet(1, 2, 6, 6).weights("w", 4, 2, 3, 3).op("Conv x w > c", ints("pads", 1, 1, 1, 1)).op("Relu c > r").
			weights("d", 4, 1, 3, 3).op("Conv r d > e", ints("pads", 1, 1, 1, 1), integer("group", 4)).op("Add e c > y"),
		"classifier": newNet(1, 3, 8, 8).weights("w", 5, 3, 3, 3).op("Conv x w > c", ints("strides", 2, 2), text("auto_pad", "SAME_UPPER")).
			op("HardSwish c > h").op("GlobalAveragePool h > p").op("Flatten p > f").weights("m", 5, 4).op("Gemm f m > g").op("Softmax g > y"),
		"pool":      newNet(1, 2, 6, 6).op("MaxPool x > m", ints("kernel_shape", 2, 2), ints("strides", 2, 2)).op("AveragePool m > y", ints("kernel_shape", 2, 2), integer("ceil_mode", 1)),
		"movement":  newNet(1, 4, 2, 3).op("Transpose x > t", ints("perm", 0, 2, 3, 1)).op("Concat t t > c", integer("axis", 3)).list("p", 0, 1, 0, 0, 0, 0, 1, 0).op("Pad c p > d").op("Flatten d > y"),
		"slices":    newNet(2, 6).list("s", 5).list("e", -7).list("a", 1).list("k", -2).op("Slice x s e a k > v").list("i", 0, -1).op("Gather v i > g", integer("axis", 1)).op("Exp g > y"),
		"split":     newNet(2, 6).op("Split x > a b", integer("axis", 1)).op("Sub a b > d").op("ReduceMean d > y", ints("axes", 1)),
		"batchnorm": newNet(1, 3, 4).weights("s", 3).op("BatchNormalization x s s s s > b").op("LeakyRelu b > y"),
		"resize":    newNet(1, 2, 3, 3).list("e").list("s", 1, 2, 6, 5).op("Resize x e e s > y", text("mode", "linear"), text("coordinate_transformation_mode", "align_corners")),
		"upconv":    newNet(1, 2, 3, 3).weights("w", 2, 3, 2, 2).op("ConvTranspose x w > y", ints("strides", 2, 2), ints("output_padding", 1, 0)),
		"norms":     newNet(2, 4, 5).weights("w", 5).op("LayerNormalization x w > l").op("LRN l > n", integer("size", 3)).op("LogSoftmax n > y"),
		"shapes":    newNet(2, 3, 4).op("Shape x > s").list("z", 0).op("Gather s z > n").list("m", -1).op("Concat n m > t", integer("axis", 0)).op("Reshape x t > y"),
		"curves":    newNet(2, 3, 4).op("Mish x > a").op("Gelu a > b").op("Selu b > c").op("Softplus c > d").weights("k", 4).op("PRelu d k > e").op("Mean e x > y"),
		"blocks":    newNet(1, 8, 2, 4).op("DepthToSpace x > a", integer("blocksize", 2)).op("SpaceToDepth a > b", integer("blocksize", 2)).op("InstanceNormalization b s s > y").weights("s", 8),
		"copies":    newNet(2, 3).list("r", 2, 1).op("Tile x r > a").list("t", 2, 4, 3).op("Expand a t > b").list("p", 0, 1, 2, 1, 0, 0).op("Pad b p > y", text("mode", "reflect")),
		"sums":      newNet(2, 3, 4).op("ReduceL2 x > a", ints("axes", 1)).op("ReduceLogSum x > b", ints("axes", -1)).op("Mul a b > c").op("ReduceMin c > d", ints("axes", 0)).op("Clip d > y"),
		"dynamic":   dynamicNet(),
		"attention": newNet(2, 3, 4).op("Transpose x > t", ints("perm", 0, 2, 1)).op("MatMul x t > s").op("Softmax s > p").op("MatMul p x > y"),
	})
	return nets
}

// TestSoundNetsCompile keeps the fuzzer's seeds alive: each is read back from its bytes and agrees with the
// reference.
func TestSoundNetsCompile(t *testing.T) {
	for name, n := range soundNets() {
		t.Run(name, func(t *testing.T) {
			m, err := onnx.Parse(encode(n.Model))
			if err != nil {
				t.Fatal(err)
			}
			checkModel(t, m, Options{}, 1e-4)
		})
	}
}

// Every beginning of a model is refused, never a panic, and most with a word about where it ends.
func TestTruncatedModels(t *testing.T) {
	whole := digits(t, "1")
	for n := 0; n < len(whole); n += 1 + n/16 {
		_, err := Compile(whole[:n], Options{})
		if err == nil {
			t.Errorf("the first %d bytes of %d compile", n, len(whole))
		}
	}
	for _, c := range []struct {
		model string
		want  string
	}{
		{"", "not an ONNX model"},
		{"\x89PNG\r\n\x1a\n....", "PNG picture"},
		{"labels:\n- one\n", "text"},
	} {
		if _, err := Compile([]byte(c.model), Options{}); !errors.Is(err, ErrNotModel) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.model, err, c.want)
		}
	}
}

// FuzzCompile: any bytes give a module that validates or an error, and never more work than the
// model's size allows.
func FuzzCompile(f *testing.F) {
	seeds := 0
	add := func(b []byte) {
		if len(b) > 0 {
			f.Add(b)
			seeds++
		}
	}
	add(digits(f, "1"))
	for _, n := range soundNets() {
		add(encode(n.Model))
	}
	for _, c := range hostileModels {
		if len(c.net.Graph.Nodes) < 1000 {
			add(encode(c.net.Model))
		}
	}
	for _, name := range []string{"net.f32", "net.int8", "parts.f32", "parts.int8", "beyond"} {
		add(tfliteFile(f, name+".tflite"))
	}
	if seeds < 50 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, model []byte) {
		if len(model) > 1<<17 {
			return
		}
		mod, err := Compile(model, Options{})
		if err != nil {
			if len(err.Error()) > 100*len(model)+1000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			return
		}
		if len(mod.Bytes) > 8<<20 {
			return // validating what a few hundred large kernels are takes too long here
		}
		m, err := wasm.Decode(mod.Bytes)
		if err == nil {
			err = m.Check()
		}
		if err != nil {
			t.Errorf("the module is not valid: %v", err)
		}
	})
}
