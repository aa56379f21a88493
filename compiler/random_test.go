package compiler

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// operatorNames are all operators of docs/operators.md, which a test in load holds to what is registered.
func operatorNames(t testing.TB) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "operators.md"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.Contains(line, "operator |") {
			names = append(names, regexp.MustCompile(`([a-z]+\.)*[A-Z]\w+`).FindAllString(cells[1], -1)...)
		}
	}
	if len(names) < 150 {
		t.Fatalf("%d operators are documented", len(names))
	}
	return names
}

// The attributes of all operators, by type.
var (
	intAttributes = strings.Fields(`axis to p kv_num_heads q_num_heads keepdims group onesided n_targets layout k hidden_size ceil_mode blocksize
		batch_dims align_corners upper training_mode time_axis storage_order start sorted size select_last_index sampling_ratio rotary_embedding_dim
		reverse periodic output_width output_height offset_group num_outputs num_heads num_groups noop_with_empty_axes largest linear_before_reset
		is_causal inverse interleaved ignore_index fmod exclusive exclude_outside end dtype detect_positive count_include_pad channels_last
		center_point_box broadcast batch_axis antialias allowzero one_class num_scan_inputs max_gram_length min_gram_length value_int`)
	listAttributes   = strings.Fields(`axes strides pads dilations kernel_shape perm output_padding output_shape pooled_shape split sizes starts ends value_ints`)
	floatAttributes  = strings.Fields(`alpha beta epsilon scale bias spatial_scale threshold gamma lambd clip cubic_coeff_a extrapolation_value value_float`)
	stringAttributes = map[string][]string{
		"mode":                           {"constant", "reflect", "edge", "wrap", "linear", "nearest", "cubic", "DCR", "CRD", "bilinear", "avg", "max"},
		"auto_pad":                       {"SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"},
		"direction":                      {"LEFT", "RIGHT", "forward", "reverse", "bidirectional"},
		"reduction":                      {"none", "add", "mul", "max", "mean", "sum"},
		"coordinate_transformation_mode": {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_crop_and_resize"},
		"nearest_mode":                   {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"},
		"padding_mode":                   {"zeros", "border", "reflection"},
		"equation":                       {"ij,jk->ik", "...i->i", "ii->i", "ij", "i,i->", "->", "ijk,ikl->ijl"},
		"approximate":                    {"tanh", "none"},
		"post_transform":                 {"SOFTMAX", "LOGISTIC", "NONE", "PROBIT", "SOFTMAX_ZERO"},
		"norm":                           {"MAX", "L1", "L2"},
	}
	randomTypes = []onnx.DType{onnx.F32, onnx.F32, onnx.F32, onnx.I64, onnx.I64, onnx.I32, onnx.Bool, onnx.U8, onnx.I8, onnx.F16, onnx.U16, onnx.F64}
)

// randomNet is a graph that may make sense: a few operators over values of all types, shapes that often fit
// each other, attributes that some operator has.
func randomNet(r *rand.Rand, operators []string) net {
	extent := func() int64 {
		if r.IntN(12) == 0 {
			return odd[r.IntN(len(odd))]
		}
		return int64(1 + r.IntN(5))
	}
	common := []int64{1, 4, 4, 3, 2}
	shape := func() []int64 {
		dims := make([]int64, []int{0, 1, 1, 2, 2, 3, 4, 4, 5}[r.IntN(9)])
		for i := range dims {
			if dims[i] = common[i]; r.IntN(4) == 0 {
				dims[i] = extent()
			}
		}
		return dims
	}
	n := newNet(shape()...)
	n.Opsets[""] = []int64{7, 9, 11, 13, 17, 18, 21}[r.IntN(7)]
	n.Opsets["ai.onnx.ml"], n.Opsets["com.microsoft"] = 3, 1
	n.Graph.Inputs[0].DType = randomTypes[r.IntN(len(randomTypes))]
	values := []string{"x", "x"}
	for i := range r.IntN(5) {
		name, typ := fmt.Sprint("w", i), randomTypes[r.IntN(len(randomTypes))]
		dims := shape()
		if typ == onnx.I64 { // a list of axes, pads or extents
			dims = []int64{int64(1 + r.IntN(4))}
		}
		count := int64(1)
		for _, d := range dims {
			if d < 0 || d > 64 {
				d = 1 // the data does not fit the shape
			}
			count *= d
		}
		raw := make([]byte, count*int64(typ.Bits()/8))
		for k := range count {
			v := int64(r.IntN(5)) - 1
			switch typ {
			case onnx.F32:
				binary.LittleEndian.PutUint32(raw[4*k:], math.Float32bits(r.Float32()))
			case onnx.I64:
				if r.IntN(20) == 0 {
					v = odd[r.IntN(len(odd))]
				}
				binary.LittleEndian.PutUint64(raw[8*k:], uint64(v))
			default:
				raw[k*int64(typ.Bits()/8)] = byte(v)
			}
		}
		n.Graph.Initializers = append(n.Graph.Initializers, &onnx.Tensor{Name: name, DType: typ, Dims: dims, Raw: raw})
		values = append(values, name)
	}
	last := "x"
	for i := range 1 + r.IntN(3) {
		op := operators[r.IntN(len(operators))]
		node := &onnx.Node{Name: fmt.Sprint("n", i), OpType: op}
		if at := strings.LastIndex(op, "."); at > 0 {
			node.Domain, node.OpType = op[:at], op[at+1:]
		}
		for k := range r.IntN(5) {
			v := values[r.IntN(len(values))]
			if k == 0 {
				v = last
			} else if r.IntN(10) == 0 {
				v = ""
			}
			node.Inputs = append(node.Inputs, v)
		}
		for k := range 1 + r.IntN(2)*r.IntN(3) {
			node.Outputs = append(node.Outputs, fmt.Sprint("v", i, ".", k))
		}
		for range r.IntN(5) {
			node.Attrs = append(node.Attrs, randomAttribute(r, extent))
		}
		last = node.Outputs[0]
		values = append(values, node.Outputs...)
		n.Graph.Nodes = append(n.Graph.Nodes, node)
	}
	n.Graph.Outputs[0].Name = last
	return n
}

func randomAttribute(r *rand.Rand, extent func() int64) *onnx.Attribute {
	switch r.IntN(5) {
	case 0, 1:
		return integer(intAttributes[r.IntN(len(intAttributes))], extent()-int64(r.IntN(3)))
	case 2:
		v := make([]int64, 1+r.IntN(5))
		for i := range v {
			v[i] = extent() - int64(r.IntN(3))
		}
		return ints(listAttributes[r.IntN(len(listAttributes))], v...)
	case 3:
		f := []float32{0, 1, -1, 0.5, 2, float32(math.NaN()), float32(math.Inf(1)), 1e38}[r.IntN(8)]
		return &onnx.Attribute{Name: floatAttributes[r.IntN(len(floatAttributes))], Type: onnx.AttrFloat, F: f}
	}
	for name, values := range stringAttributes {
		if r.IntN(3) == 0 {
			return text(name, values[r.IntN(len(values))])
		}
	}
	return text("mode", "")
}

// finite reports whether all attributes of n are.
func finite(n net) bool {
	for _, node := range n.Graph.Nodes {
		for _, a := range node.Attrs {
			if f := float64(a.F); math.IsNaN(f) || math.IsInf(f, 0) {
				return false
			}
		}
	}
	return true
}

// compileAny compiles what may be wrong in any way: an error is fine, a panic is not.
func compileAny(t *testing.T, m *onnx.Model) (mod *Module) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	mod, err := Compile(encode(m), Options{})
	if err != nil {
		return nil
	}
	return mod
}

// TestRandomGraphs compiles operators with inputs and attributes at random. Those that compile agree with
// the reference and stay in their arena.
func TestRandomGraphs(t *testing.T) {
	count := uint64(20_000)
	if testing.Short() {
		count = 2_000
	}
	operators := operatorNames(t)
	sound := map[string]bool{}
	for seed := range count {
		n := randomNet(rand.New(rand.NewPCG(seed, 6)), operators)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			mod := compileAny(t, n.Model)
			if mod == nil || mod.Stats.MACs > 1e6 || mod.Stats.Arena > 1<<20 || len(mod.Bytes) > 1<<20 {
				return
			}
			for _, node := range n.Graph.Nodes {
				sound[node.OpType] = true
			}
			m, err := onnx.Parse(encode(n.Model))
			if err != nil {
				t.Fatal(err)
			}
			ref, in, want := reference(t, m, Options{})
			if want == nil { // an index of the seeded input is outside its axis: the module traps
				return
			}
			checkArena(t, mod, in, ref.Out)
			if !finite(n) {
				return // ∞·0 is what each makes of it
			}
			got := instantiate(t, mod.Bytes).infer(in, ref.Out)
			for i := range want {
				same(t, ref.Out[i].Name, got[i], want[i], 1e-3)
			}
		})
	}
	t.Logf("%d of %d operators are in graphs that compile", len(sound), len(operators))
}
