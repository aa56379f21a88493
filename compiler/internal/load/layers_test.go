package load

import (
	"math"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// of puts a node in a domain.
func of(domain string, n *onnx.Node) *onnx.Node {
	n.Domain = domain
	return n
}

// many is an attribute of a list.
func many(name string, v any) *onnx.Attribute {
	a := &onnx.Attribute{Name: name}
	switch v := v.(type) {
	case []float32:
		a.Type, a.Floats = onnx.AttrFloats, v
	case []int64:
		a.Type, a.Ints = onnx.AttrInts, v
	case []string:
		a.Type = onnx.AttrStrings
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	}
	return a
}

// scalar is a constant without axes.
func scalar(name string, v float32) *onnx.Tensor { return floats(name, []float32{v}, []int64{}...) }

func byteTensor(name string, t onnx.DType, v ...int8) *onnx.Tensor {
	x := &onnx.Tensor{Name: name, DType: t, Dims: []int64{int64(len(v))}, Raw: []byte{}}
	if len(v) == 1 {
		x.Dims = nil
	}
	for _, b := range v {
		x.Raw = append(x.Raw, byte(b))
	}
	return x
}

// layer is one node over x = 1, 2, 3, … of the given extents and what it computes, by ONNX Runtime 1.23
// or, where they are whole, by hand.
type layer struct {
	x      []any
	consts []*onnx.Tensor
	node   *onnx.Node
	want   []float32
}

// stump is a tree of two leaves: x[feature] against value, weights for what holds and what does not.
func stump(prefix, ids, mode string, value float32, yes, no float32, more ...*onnx.Attribute) []*onnx.Attribute {
	return append(more,
		many("nodes_treeids", []int64{0, 0, 0}), many("nodes_nodeids", []int64{0, 1, 2}), many("nodes_featureids", []int64{0, 0, 0}),
		many("nodes_values", []float32{value, 0, 0}), many("nodes_modes", []string{mode, "LEAF", "LEAF"}),
		many("nodes_truenodeids", []int64{1, 0, 0}), many("nodes_falsenodeids", []int64{2, 0, 0}),
		many(prefix+"_treeids", []int64{0, 0}), many(prefix+"_nodeids", []int64{1, 2}), many(prefix+"_"+ids, []int64{0, 0}),
		many(prefix+"_weights", []float32{yes, no}))
}

func TestLayersOfModels(t *testing.T) {
	const ml, ms = "ai.onnx.ml", "com.microsoft"
	three := []any{3, 1, 1}
	threeClasses := []*onnx.Attribute{many("coefficients", []float32{1, -1, 1, 1, 1, -3}), many("support_vectors", []float32{1, 2, 1}),
		many("vectors_per_class", []int64{1, 1, 1}), many("rho", []float32{0, 0, 5}), many("classlabels_ints", []int64{0, 1, 2})}
	gru := consts(floats("w", []float32{.1, .2, .3}, 1, 3, 1), floats("r", []float32{.5, .4, .3}, 1, 3, 1), floats("b", []float32{.1, .2, .3, .3, .2, .1}, 1, 6))
	rnn := consts(floats("w", []float32{1, 1}, 2, 1, 1), floats("r", []float32{1, 1}, 2, 1, 1))
	relu := many("activations", []string{"Relu", "Relu"})
	grid := consts(scalar("s", 0.5), byteTensor("z", onnx.U8, 3))
	for name, c := range map[string]layer{
		"LSTM": {three, consts(floats("w", []float32{.1, .2, .3, .4}, 1, 4, 1), floats("r", []float32{.5, .4, .3, .2}, 1, 4, 1),
			floats("b", []float32{.1, .2, .3, .4, .4, .3, .2, .1}, 1, 8), floats("h", []float32{.5}, 1, 1, 1), floats("c", []float32{.25}, 1, 1, 1),
			floats("p", []float32{.3, .2, .1}, 1, 3)),
			node("LSTM", "x w r b - h c p", "y"), []float32{0.4595803, 0.6696972, 0.8076118}},
		"LSTM, last cell": {three, consts(floats("w", []float32{.1, .2, .3, .4}, 1, 4, 1), floats("r", []float32{.5, .4, .3, .2}, 1, 4, 1),
			floats("b", []float32{.1, .2, .3, .4, .4, .3, .2, .1}, 1, 8), floats("h", []float32{.5}, 1, 1, 1), floats("c", []float32{.25}, 1, 1, 1),
			floats("p", []float32{.3, .2, .1}, 1, 3)),
			node("LSTM", "x w r b - h c p", "a b1 y"), []float32{1.8332403}},
		"GRU":                    {three, gru, node("GRU", "x w r b", "y"), []float32{0.22817345, 0.40996423, 0.54649615}},
		"GRU, linear, reverse":   {three, gru, node("GRU", "x w r b", "y", attr("linear_before_reset", 1), attr("direction", "reverse")), []float32{0.5070277, 0.44203535, 0.28357908}},
		"RNN, both ways":         {three, rnn, node("RNN", "x w r", "y", attr("direction", "bidirectional"), relu), []float32{1, 6, 3, 5, 6, 3}},
		"RNN, batch first, last": {[]any{1, 3, 1}, rnn, node("RNN", "x w r", "a y", attr("direction", "bidirectional"), attr("layout", 1), relu), []float32{6, 6}},
		"RNN, two steps": {three, append(consts(&onnx.Tensor{Name: "l", DType: onnx.I32, Dims: []int64{1}, Raw: []byte{2, 0, 0, 0}}), rnn...),
			node("RNN", "x w r - l", "y", attr("direction", "bidirectional"), relu), []float32{1, 3, 3, 2, 0, 0}},

		"TreeEnsembleRegressor": {[]any{3, 1}, nil, of(ml, node("TreeEnsembleRegressor", "x", "y",
			stump("target", "ids", "BRANCH_LEQ", 2, 10, 20, many("base_values", []float32{1}))...)), []float32{11, 11, 21}},
		"TreeEnsembleRegressor, greater, mean": {[]any{3, 1}, nil, of(ml, node("TreeEnsembleRegressor", "x", "y",
			stump("target", "ids", "BRANCH_GT", 2, 10, 20, attr("aggregate_function", "AVERAGE"))...)), []float32{20, 20, 10}},
		"TreeEnsembleClassifier, scores of two": {[]any{3, 1}, nil, of(ml, node("TreeEnsembleClassifier", "x", "l y",
			stump("class", "ids", "BRANCH_LT", 2, 0.25, 0.75, many("classlabels_int64s", []int64{4, 7}))...)), []float32{.75, .25, .25, .75, .25, .75}},
		"TreeEnsembleClassifier, classes": {[]any{3, 1}, nil, of(ml, node("TreeEnsembleClassifier", "x", "y p",
			stump("class", "ids", "BRANCH_LT", 2, 0.25, 0.75, many("classlabels_int64s", []int64{4, 7}))...)), []float32{4, 7, 7}},
		"LinearClassifier": {[]any{2, 1}, nil, of(ml, node("LinearClassifier", "x", "y p", many("coefficients", []float32{2}), many("intercepts", []float32{-3}),
			many("classlabels_strings", []string{"no", "yes"}))), []float32{0, 1}},
		"LinearRegressor": {[]any{2, 2}, nil, of(ml, node("LinearRegressor", "x", "y", many("coefficients", []float32{1, 2, 3, 4}),
			many("intercepts", []float32{1, -1}), attr("targets", 2))), []float32{6, 10, 12, 24}},
		"SVMRegressor": {[]any{1, 2}, nil, of(ml, node("SVMRegressor", "x", "y", many("coefficients", []float32{2, -1}), many("support_vectors", []float32{1, 1, 2, 0}),
			many("rho", []float32{5}), attr("n_supports", 2), attr("kernel_type", "POLY"), many("kernel_params", []float32{1, 1, 2}))), []float32{2*16 - 9 + 5}},
		// The score is 3x - x - 3, above 0 for the first class.
		"SVMClassifier": {[]any{3, 1}, nil, of(ml, node("SVMClassifier", "x", "y s", many("coefficients", []float32{-1, 1}), many("support_vectors", []float32{1, 3}),
			many("vectors_per_class", []int64{1, 1}), many("rho", []float32{-3}), many("classlabels_ints", []int64{5, 8}))), []float32{8, 5, 5}},
		"SVMClassifier, scores of two": {[]any{3, 1}, nil, of(ml, node("SVMClassifier", "x", "l y", many("coefficients", []float32{-1, 1}), many("support_vectors", []float32{1, 3}),
			many("vectors_per_class", []int64{1, 1}), many("rho", []float32{-3}), many("classlabels_ints", []int64{5, 8}))), []float32{1, -1, -1, 1, -3, 3}},
		"SVMClassifier, scores of pairs": {[]any{2, 1}, nil, of(ml, node("SVMClassifier", "x", "l y", threeClasses...)), []float32{-1, 2, 4, -2, 4, 3}},
		"SVMClassifier, most votes":      {[]any{2, 1}, nil, of(ml, node("SVMClassifier", "x", "y s", threeClasses...)), []float32{1, 1}},
		"SVMClassifier, probabilities": {[]any{2, 1}, nil, of(ml, node("SVMClassifier", "x", "l y", append(threeClasses,
			many("prob_a", []float32{-1, -1, -1}), many("prob_b", []float32{0, 0, 0}))...)), []float32{0.2591147, 0.71783847, 0.02304676, 0.11693298, 0.8607714, 0.0222956}},
		"Scaler":     {[]any{1, 2}, nil, of(ml, node("Scaler", "x", "y", many("offset", []float32{1, 1}), many("scale", []float32{2, 3}))), []float32{0, 3}},
		"Normalizer": {[]any{1, 2}, nil, of(ml, node("Normalizer", "x", "y", attr("norm", "L1"))), []float32{1. / 3, 2. / 3}},
		"Binarizer":  {[]any{3}, nil, of(ml, node("Binarizer", "x", "y", attr("threshold", 2.))), []float32{0, 0, 1}},
		"Imputer": {[]any{2, 2}, nil, of(ml, node("Imputer", "x", "y", many("imputed_value_floats", []float32{8, 9}), attr("replaced_value_float", 2.))),
			[]float32{1, 9, 3, 4}},
		"FeatureVectorizer": {[]any{2, 2}, nil, of(ml, node("FeatureVectorizer", "x x", "y", many("inputdimensions", []int64{1, 3}))),
			[]float32{1, 1, 2, 0, 3, 3, 4, 0}},
		"ArrayFeatureExtractor": {[]any{2, 2}, consts(ints("i", 1, 0)), of(ml, node("ArrayFeatureExtractor", "x i", "y")), []float32{2, 1, 4, 3}},
		"OneHotEncoder":         {[]any{3}, nil, of(ml, node("OneHotEncoder", "x", "y", many("cats_int64s", []int64{3, 1}))), []float32{0, 1, 0, 0, 1, 0}},
		"LabelEncoder": {[]any{3}, nil, of(ml, node("LabelEncoder", "x", "y", many("keys_floats", []float32{1, 3}), many("values_int64s", []int64{5, 6}),
			attr("default_int64", 9))), []float32{5, 9, 6}},
		"ZipMap": {[]any{1, 2}, nil, of(ml, node("ZipMap", "x", "y", many("classlabels_int64s", []int64{0, 1}))), []float32{1, 2}},

		"QuantizeLinear":        {[]any{4}, grid, node("QuantizeLinear", "x s z", "y"), []float32{5, 7, 9, 11}},
		"DynamicQuantizeLinear": {[]any{3}, nil, node("DynamicQuantizeLinear", "x", "y s z"), []float32{85, 170, 255}},
		"FusedMatMul":           {[]any{2, 2}, consts(floats("b", []float32{1, 0, 0, 1}, 2, 2)), of(ms, node("FusedMatMul", "x b", "y", attr("transA", 1), attr("alpha", 2.))), []float32{2, 6, 4, 8}},
		"FusedConv": {[]any{1, 1, 1, 3}, consts(floats("w", []float32{2}, 1, 1, 1, 1), floats("b", []float32{-3}), floats("z", []float32{0, 0, -9}, 1, 1, 1, 3)),
			of(ms, node("FusedConv", "x w b z", "y", attr("activation", "Relu"))), []float32{0, 1, 0}},
		"SkipLayerNormalization": {[]any{1, 2}, consts(floats("s", []float32{0, 2}, 1, 2), floats("g", []float32{1, 1})),
			of(ms, node("SkipLayerNormalization", "x s g", "y")), []float32{-1, 1}},
		"QuickGelu": {[]any{1}, nil, of(ms, node("QuickGelu", "x", "y", attr("alpha", 1.))), []float32{0.7310586}},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(17, in(input("x", c.x...)), c.consts, c.node)
			m.Opsets[ml], m.Opsets[ms] = 3, 1
			r, err := Model(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			x := ir.NewTensor(r.Graph.In[0].Type)
			for i := range x.F {
				x.F[i] = float32(i + 1)
			}
			y, err := r.Graph.Eval(x)
			if err != nil {
				t.Fatal(err)
			}
			got := numbers(y[0])
			if !slices.EqualFunc(got, c.want, func(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-6 }) {
				t.Errorf("is %v, want %v", got, c.want)
			}
			if c.node.OpType == "LinearClassifier" && !slices.Equal(r.Labels, []string{"no", "yes"}) {
				t.Errorf("labels are %v", r.Labels)
			}
		})
	}
}

// A threshold that f32 does not hold divides the f32 numbers as it stands.
func TestTreeThresholdsRoundToTheSafeSide(t *testing.T) {
	third := 1. / 3 // f32(1/3) is greater
	for i, mode := range treeModes[:4] {
		n := treeNode{value: third, outcomes: treeOutcomes[i]}
		for _, x := range []float32{float32(third), math.Nextafter32(float32(third), 0)} {
			v := n.split(false)
			holds := [...]bool{float64(x) <= third, float64(x) < third, float64(x) >= third, float64(x) > third}[i]
			if got := [...]bool{x <= v, x < v, x >= v, x > v}[i]; got != holds {
				t.Errorf("%s: %v against %v is %v, want %v", mode, x, third, got, holds)
			}
		}
	}
}

// Trees that share a node, lead nowhere, or give weights to what is not there are refused.
func TestBrokenTreesAreRefused(t *testing.T) {
	for name, breakIt := range map[string]func(a map[string]*onnx.Attribute){
		"a node is its own child": func(a map[string]*onnx.Attribute) { a["nodes_truenodeids"].Ints[0] = 0 },
		"a child is missing":      func(a map[string]*onnx.Attribute) { a["nodes_falsenodeids"].Ints[0] = 9 },
		"a feature is missing":    func(a map[string]*onnx.Attribute) { a["nodes_featureids"].Ints[0] = 5 },
		"a target is missing":     func(a map[string]*onnx.Attribute) { a["target_ids"].Ints[0] = 5 },
		"a weight of no leaf":     func(a map[string]*onnx.Attribute) { a["target_nodeids"].Ints[0] = 0 },
		"a list is short":         func(a map[string]*onnx.Attribute) { a["nodes_values"].Floats = nil },
		"a mode is none":          func(a map[string]*onnx.Attribute) { a["nodes_modes"].Strings[0] = []byte("BRANCH") },
	} {
		attrs := stump("target", "ids", "BRANCH_LEQ", 2, 10, 20)
		byName := map[string]*onnx.Attribute{}
		for _, a := range attrs {
			byName[a.Name] = a
		}
		breakIt(byName)
		m := model(17, in(input("x", 3, 1)), nil, of("ai.onnx.ml", node("TreeEnsembleRegressor", "x", "y", attrs...)))
		if _, err := Model(m, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
