package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// The operators of this file are those of the domain ai.onnx.ml that are formulas over core ones.

// mlConverters are the operators of the domain ai.onnx.ml.
var mlConverters = map[string]converter{
	"TreeEnsembleClassifier": treeClassifier, "TreeEnsembleRegressor": treeRegressor, "TreeEnsemble": treeEnsemble,
	"LinearClassifier": linearClassifier, "LinearRegressor": linearRegressor, "SVMRegressor": svmRegressor, "SVMClassifier": svmClassifier,
	"Scaler": scaler, "Normalizer": normalizer, "Binarizer": binarizer,
	"FeatureVectorizer": featureVectorizer, "ArrayFeatureExtractor": arrayFeatureExtractor,
	"Imputer": imputer, "ZipMap": zipMap, "OneHotEncoder": oneHotEncoder, "LabelEncoder": labelEncoder,
}

// longs are the integers of an attribute, of any number.
func (c *context) longs(name string) []int64 {
	v, err := c.Node.Ints(name, nil)
	if err != nil {
		c.fail("%w", err)
	}
	return v
}

// tensorLongs are the integers of an attribute that is a tensor.
func (c *context) tensorLongs(name string) []int64 {
	a := c.Attr(name)
	if a == nil || a.T == nil {
		c.fail("no tensor %q", name)
		return nil
	}
	v, err := a.T.Int64s()
	if err != nil {
		c.fail("%s: %w", name, err)
	}
	return v
}

// doubles are the numbers of an attribute: a list, a tensor, or a tensor under the name with _as_tensor.
func (c *context) doubles(name string) []float64 {
	a := c.Attr(name)
	if a == nil {
		a = c.Attr(name + "_as_tensor")
	}
	switch {
	case a == nil:
		return nil
	case a.Type == onnx.AttrTensor && a.T != nil:
		v, err := a.T.Float64s()
		if err != nil {
			c.fail("%s: %w", name, err)
		}
		return v
	case a.Type != onnx.AttrFloats:
		c.fail("attribute %q is %v, want floats", name, a.Type)
	}
	v := make([]float64, len(a.Floats))
	for i, x := range a.Floats {
		v[i] = float64(x)
	}
	return v
}

// words are the strings of an attribute.
func (c *context) words(name string) []string {
	a := c.Attr(name)
	if a == nil {
		return nil
	}
	if a.Type != onnx.AttrStrings {
		c.fail("attribute %q is %v, want strings", name, a.Type)
	}
	v := make([]string, len(a.Strings))
	for i, s := range a.Strings {
		v[i] = string(s)
	}
	return v
}

// classes are the numbers by which a classifier calls its classes. A module computes no strings: those
// become 0, 1, … and the strings the labels of the module.
func (c *context) classes() []int {
	names := c.words("classlabels_strings")
	if names == nil {
		names = c.words("classlabels_strings_1")
	}
	if len(names) == 0 {
		var ids []int
		for _, v := range append(c.longs("classlabels_int64s"), c.longs("classlabels_ints")...) {
			if v < -maxInt || v >= maxInt {
				c.unsupported("class %d", v)
			}
			ids = append(ids, toInt(v))
		}
		if len(ids) == 0 {
			c.fail("it names no classes")
		}
		return ids
	}
	if c.labels != nil && !slices.Equal(c.labels, names) {
		c.unsupported("a second set of class names")
	}
	c.labels = names
	ids := make([]int, len(names))
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// postTransforms are the names of the transformations, in the order of their numbers.
var postTransforms = []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}

// transformed applies a transformation to the scores of each row.
func (c *context) transformed(x *ir.Value, name string) *ir.Value {
	switch name {
	case "NONE":
		return x
	case "SOFTMAX":
		return c.add(ir.Softmax{}, x)
	case "LOGISTIC":
		return c.unary("sigmoid", x)
	case "SOFTMAX_ZERO":
		// Scores of 0 stay, the others share what exp makes of them.
		top := c.add(ir.Reduce{Fn: "max", Axes: []int{1}}, x)
		there := c.unary("abs", c.unary("sign", x))
		e := c.binary("mul", c.unary("exp", c.binary("sub", x, top)), there)
		sum := c.add(ir.Reduce{Fn: "sum", Axes: []int{1}}, e)
		none := c.binary("sub", c.number(1), c.unary("sign", sum))
		return c.binary("div", e, c.binary("add", sum, none))
	case "PROBIT":
		return c.probit(x)
	}
	c.unsupported("post_transform %q", name)
	return x
}

// probit is √2·erf⁻¹(2x-1) by S. Winitzki's approximation, the one that ONNX Runtime has.
func (c *context) probit(x *ir.Value) *ir.Value {
	const a = 0.147
	y := c.binary("sub", c.binary("mul", x, c.number(2)), c.number(1))
	ln := c.unary("log", c.binary("mul", c.binary("sub", c.number(1), y), c.binary("add", c.number(1), y)))
	v := c.binary("add", c.number(2/(math.Pi*a)), c.binary("mul", ln, c.number(0.5)))
	v2 := c.binary("mul", ln, c.number(1/a))
	root := c.unary("sqrt", c.binary("sub", c.binary("mul", v, v), v2))
	inverse := c.binary("mul", c.unary("sign", y), c.unary("sqrt", c.binary("sub", root, v)))
	return c.binary("mul", inverse, c.number(math.Sqrt2))
}

// affine is x·coefficientsᵀ + intercepts for rows of coefficients, one for each target.
func (c *context) affine(x *ir.Value, coefficients, intercepts []float32, targets int) *ir.Value {
	x = c.matrix(x)
	if c.err != nil {
		return x
	}
	n := x.Type.Shape[1]
	if targets < 1 || len(coefficients) != targets*n || len(intercepts) > 0 && len(intercepts) != targets {
		c.fail("%d coefficients and %d intercepts for %d features and %d targets", len(coefficients), len(intercepts), n, targets)
		return x
	}
	y := c.product(x, c.transpose(c.floats(coefficients, targets, n), 1, 0))
	if len(intercepts) > 0 {
		y = c.binary("add", y, c.floats(intercepts, targets))
	}
	return y
}

func (c *context) floatList(name string) []float32 { return f32s(c.doubles(name)) }

// linearRegressor converts LinearRegressor (version 1).
func linearRegressor(c *context) []*ir.Value {
	y := c.affine(c.input(0), c.floatList("coefficients"), c.floatList("intercepts"), c.attrInt("targets", 1))
	return []*ir.Value{c.transformed(y, c.attrStr("post_transform", "NONE"))}
}

// linearClassifier converts LinearClassifier (version 1). One row of coefficients for two classes is
// for the second.
func linearClassifier(c *context) []*ir.Value {
	labels, rows, intercepts := c.classes(), c.floatList("coefficients"), c.floatList("intercepts")
	x := c.matrix(c.input(0))
	post := c.attrStr("post_transform", "NONE")
	if c.err != nil {
		return nil
	}
	targets := len(labels)
	if len(labels) == 2 && len(rows) == x.Type.Shape[1] {
		targets = 1
	}
	s := c.affine(x, rows, intercepts, targets)
	op := ir.Classify{Labels: labels}
	if targets > 1 {
		return []*ir.Value{c.add(op, s), c.transformed(s, post)}
	}
	label := c.add(op, s)
	if post == "PROBIT" {
		return []*ir.Value{label, c.probit(s)}
	}
	if post == "LOGISTIC" {
		s = c.unary("sigmoid", s)
	}
	return []*ir.Value{label, c.join(1, c.binary("sub", c.number(1), s), s)}
}

// svmRegressor converts SVMRegressor (version 1): Σ coefficient·kernel(x, support vector) + ρ.
func svmRegressor(c *context) []*ir.Value {
	vectors, coefs, rho := c.floatList("support_vectors"), c.floatList("coefficients"), c.floatList("rho")
	x := c.matrix(c.input(0))
	if c.err != nil {
		return nil
	}
	if len(rho) == 0 {
		rho = []float32{0}
	}
	n := c.attrInt("n_supports", 0)
	var y *ir.Value
	if n == 0 {
		y = c.kernel(x, coefs, 1)
		y = c.binary("add", y, c.number(rho[0]))
	} else {
		if len(coefs) != n {
			c.fail("%d coefficients for %d support vectors", len(coefs), n)
			return nil
		}
		y = c.affine(c.kernel(x, vectors, n), coefs, rho[:1], 1)
	}
	if c.attrInt("one_class", 0) != 0 {
		sign := c.unary("sign", y)
		// 0 counts as outside.
		y = c.binary("add", sign, c.binary("sub", c.unary("abs", sign), c.number(1)))
	}
	return []*ir.Value{c.transformed(y, c.attrStr("post_transform", "NONE"))}
}

// kernel is the kernel function of each row of x with each of n vectors.
func (c *context) kernel(x *ir.Value, vectors []float32, n int) *ir.Value {
	params := c.floatList("kernel_params")
	for len(params) < 3 {
		params = append(params, 0)
	}
	gamma, coef0, degree := params[0], params[1], params[2]
	dot := c.affine(x, vectors, nil, n)
	affine := func() *ir.Value {
		return c.binary("add", c.binary("mul", dot, c.number(gamma)), c.number(coef0))
	}
	switch name := c.attrStr("kernel_type", "LINEAR"); name {
	case "LINEAR":
		return dot
	case "POLY":
		return c.power(affine(), degree)
	case "SIGMOID":
		return c.unary("tanh", affine())
	case "RBF": // |x-v|² as x² - 2x·v + v²
		if c.err != nil {
			return dot
		}
		f := x.Type.Shape[1]
		squares := make([]float32, n)
		for i := range vectors {
			squares[i/f] += vectors[i] * vectors[i]
		}
		own := c.add(ir.Reduce{Fn: "sum", Axes: []int{1}}, c.binary("mul", x, x))
		far := c.binary("add", c.binary("add", c.binary("mul", dot, c.number(-2)), c.floats(squares, n)), own)
		return c.unary("exp", c.binary("mul", far, c.number(-gamma)))
	default:
		c.unsupported("kernel_type %q", name)
	}
	return dot
}

// scaler converts Scaler (version 1): (x - offset)·scale.
func scaler(c *context) []*ir.Value {
	x := c.float(c.input(0))
	for _, step := range []struct{ attr, fn string }{{"offset", "sub"}, {"scale", "mul"}} {
		if v := c.floatList(step.attr); len(v) > 0 {
			x = c.binary(step.fn, x, c.floats(v, len(v)))
		}
	}
	return []*ir.Value{x}
}

// normalizer converts Normalizer (version 1). A row of zeros stays.
func normalizer(c *context) []*ir.Value {
	x := c.float(c.input(0))
	axes := []int{len(x.Type.Shape) - 1}
	var size *ir.Value
	switch norm := c.attrStr("norm", "MAX"); norm {
	case "MAX":
		size = c.add(ir.Reduce{Fn: "max", Axes: axes}, x)
	case "L1":
		size = c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.unary("abs", x))
	case "L2":
		size = c.unary("sqrt", c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.binary("mul", x, x)))
	default:
		c.unsupported("norm %q", norm)
		return nil
	}
	zero := c.binary("sub", c.number(1), c.unary("abs", c.unary("sign", size)))
	return []*ir.Value{c.binary("div", x, c.binary("add", size, zero))}
}

// binarizer converts Binarizer (version 1): 1 above the threshold, else 0.
func binarizer(c *context) []*ir.Value {
	d := c.binary("sub", c.float(c.input(0)), c.number(c.attrFloat("threshold", 0)))
	return []*ir.Value{c.positive(c.unary("sign", d))}
}

// imputer converts Imputer (version 1): what equals the replaced value, which may be NaN, becomes that of
// its column.
func imputer(c *context) []*ir.Value {
	x := c.input(0)
	values, from := c.floatList("imputed_value_floats"), float64(c.attrFloat("replaced_value_float", 0))
	if whole := c.longs("imputed_value_int64s"); len(values) == 0 {
		values, from = numbers(&ir.Tensor{I: whole}), float64(c.attrInt("replaced_value_int64", 0))
	}
	if c.err != nil {
		return nil
	}
	if len(values) == 0 {
		c.fail("it has no values")
		return nil
	}
	v := c.floats(values, len(values))
	there := c.each("isnan", c.float(x))
	if !math.IsNaN(from) {
		there = c.each("eq", x, c.like(x, from))
	}
	return []*ir.Value{c.each("where", there, c.cast(v, x.Type.DType), x)}
}

// featureVectorizer converts FeatureVectorizer (version 1): its inputs side by side, each cut or
// filled up with zeros to the width that the model says.
func featureVectorizer(c *context) []*ir.Value {
	widths := c.attrInts("inputdimensions", nil)
	var parts []*ir.Value
	for i := range c.in {
		x := c.matrix(c.input(i))
		if c.err != nil {
			return nil
		}
		have := x.Type.Shape[1]
		if i < len(widths) && widths[i] < have {
			x = c.cut(x, 1, 0, max(widths[i], 0))
		} else if i < len(widths) && widths[i] > have {
			x = c.add(ir.Pad{Pads: []int{0, 0, 0, widths[i] - have}}, x)
		}
		parts = append(parts, x)
	}
	if len(parts) == 0 {
		c.fail("it has no input")
		return nil
	}
	return []*ir.Value{c.join(1, parts...)}
}

// arrayFeatureExtractor converts ArrayFeatureExtractor (version 1): elements of the last axis.
func arrayFeatureExtractor(c *context) []*ir.Value {
	x, at := c.input(0), c.input(1)
	s := x.Type.Shape
	if c.err == nil && len(s) == 0 {
		c.fail("input is a scalar")
	}
	if len(s) == 1 {
		x = c.reshape(x, 1, s[0])
	}
	return []*ir.Value{c.add(ir.Gather{Axis: len(x.Type.Shape) - 1}, x, c.reshape(at, at.Type.Shape.Elems()))}
}

// zipMap converts ZipMap (version 1): the tensor of scores stands for the maps, in the order of the
// classes.
func zipMap(c *context) []*ir.Value {
	c.classes()
	return []*ir.Value{c.matrix(c.input(0))}
}

// equals is 1 where x is v and 0 elsewhere.
func (c *context) equals(x, v *ir.Value) *ir.Value {
	return c.binary("sub", c.number(1), c.unary("abs", c.unary("sign", c.binary("sub", x, v))))
}

// oneHotEncoder converts OneHotEncoder (version 1) of numbers: an axis more, with 1 for the category. An
// unknown one gives zeros, also where the attribute zeros asks for a failure: a run cannot fail.
func oneHotEncoder(c *context) []*ir.Value {
	x := c.input(0)
	if c.Attr("cats_strings") != nil && len(c.words("cats_strings")) > 0 {
		c.unsupported("categories that are strings")
		return nil
	}
	cats := c.longs("cats_int64s")
	v := make([]float32, len(cats))
	for i, k := range cats {
		if v[i] = float32(k); int64(v[i]) != k {
			c.unsupported("category %d, which f32 does not hold", k)
		}
	}
	x = c.reshape(x, append(slices.Clone(x.Type.Shape), 1)...)
	return []*ir.Value{c.equals(c.float(x), c.floats(v, len(v)))}
}

// labelEncoder converts LabelEncoder (versions 2 and 4) from numbers to numbers.
func labelEncoder(c *context) []*ir.Value {
	pick := func(what string) []float32 {
		for _, kind := range []string{"floats", "int64s", "tensor"} {
			switch a := c.Attr(what + "_" + kind); {
			case a == nil:
			case kind == "floats":
				return a.Floats
			case kind == "tensor" && a.T != nil && a.T.DType != onnx.String:
				t, err := Tensor(a.T)
				if err != nil {
					c.fail("%s: %w", what, err)
					return nil
				}
				return numbers(t)
			case kind == "int64s":
				return numbers(&ir.Tensor{I: a.Ints})
			}
		}
		c.unsupported("%s that are strings", what)
		return nil
	}
	keys, values := pick("keys"), pick("values")
	if c.err == nil && len(keys) != len(values) {
		c.fail("%d keys for %d values", len(keys), len(values))
	}
	absent, whole := c.attrFloat("default_float", 0), c.Attr("values_int64s") != nil
	if whole {
		absent = float32(c.attrInt("default_int64", -1))
	}
	if a := c.Attr("default_tensor"); a != nil && a.T != nil {
		t, err := Tensor(a.T)
		if err != nil || t.Shape.Elems() != 1 {
			c.fail("default_tensor is no scalar")
			return nil
		}
		absent = numbers(t)[0]
	}
	x := c.input(0)
	if c.err != nil {
		return nil
	}
	s := x.Type.Shape
	steps := make([]float32, len(values))
	for i, v := range values {
		steps[i] = v - absent
	}
	hot := c.equals(c.float(c.reshape(x, append(slices.Clone(s), 1)...)), c.floats(keys, len(keys)))
	sum := c.add(ir.Reduce{Fn: "sum", Axes: []int{len(s)}}, c.binary("mul", hot, c.floats(steps, len(steps))))
	y := c.binary("add", c.reshape(sum, s...), c.number(absent))
	if whole {
		y = c.add(ir.Cast{To: ir.I64}, y)
	}
	return []*ir.Value{y}
}

// numbers are the elements of t as f32.
func numbers(t *ir.Tensor) []float32 {
	if t.F != nil {
		return t.F
	}
	out := make([]float32, len(t.I))
	for i, v := range t.I {
		out[i] = float32(v)
	}
	return out
}
