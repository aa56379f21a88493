package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// typedConverters are the operators of other element types than f32, or with results of another one.
var typedConverters = map[string]converter{
	"Equal": compare("eq", false), "Less": compare("lt", false), "Greater": compare("lt", true),
	"LessOrEqual": compare("le", false), "GreaterOrEqual": compare("le", true),
	"And": logic("and"), "Or": logic("or"), "Xor": logic("xor"), "Not": each1("not"),
	"BitwiseAnd": logic("and"), "BitwiseOr": logic("or"), "BitwiseXor": logic("xor"), "BitwiseNot": each1("not"),
	"BitShift": bitShift, "Mod": mod, "Where": where,
	"IsNaN": each1("isnan"), "IsInf": isInf,
	"Sin": each1("sin"), "Cos": each1("cos"), "Tan": each1("tan"), "Asin": each1("asin"), "Acos": each1("acos"), "Atan": each1("atan"),
	"Sinh": each1("sinh"), "Cosh": each1("cosh"), "Asinh": each1("asinh"), "Acosh": each1("acosh"), "Atanh": each1("atanh"),
	"ArgMax": argOf("max"), "ArgMin": argOf("min"),
	"CastLike": castLike, "Size": sizeOf, "Range": rangeOf, "EyeLike": eyeLike, "Trilu": trilu, "OneHot": oneHot,
	"TopK": topK, "CumSum": cumulate("add"), "CumProd": cumulate("mul"),
	"GatherElements": gatherElements, "GatherND": gatherND,
	"ScatterElements": scatterElements, "Scatter": scatterElements, "ScatterND": scatterND,
	"Compress": compress, "NonZero": nonZero, "Unique": unique, "TfIdfVectorizer": tfIdf, "ReverseSequence": reverseSequence,
}

func each1(fn string) converter {
	return func(c *context) []*ir.Value { return []*ir.Value{c.each(fn, c.input(0))} }
}

// compare converts the comparisons (versions 1 to 19): of a and b, or of b and a.
func compare(fn string, swap bool) converter {
	return func(c *context) []*ir.Value {
		a := c.input(0)
		b := c.legacy(a, c.input(1))
		if swap {
			a, b = b, a
		}
		return []*ir.Value{c.each(fn, a, b)}
	}
}

func logic(fn string) converter {
	return func(c *context) []*ir.Value {
		return []*ir.Value{c.each(fn, c.input(0), c.legacy(c.input(0), c.input(1)))}
	}
}

func bitShift(c *context) []*ir.Value {
	fn := map[string]string{"LEFT": "shl", "RIGHT": "shr"}[c.attrStr("direction", "")]
	if fn == "" {
		c.fail("direction %q is none of LEFT, RIGHT", c.attrStr("direction", ""))
	}
	return []*ir.Value{c.each(fn, c.input(0), c.input(1))}
}

// mod converts Mod (version 13): the sign of the divisor, or with fmod that of the dividend.
func mod(c *context) []*ir.Value {
	fn := "mod"
	if c.attrInt("fmod", 0) != 0 {
		fn = "fmod"
	}
	if fn == "mod" && c.input(0).Type.DType.Float() { // a later version: x - y·floor(x/y)
		x, y := c.input(0), c.input(1)
		r := c.each("fmod", x, y)
		differs := c.each("lt", c.binary("mul", r, y), c.number(0))
		return []*ir.Value{c.each("where", differs, c.binary("add", r, y), r)}
	}
	return []*ir.Value{c.each(fn, c.input(0), c.input(1))}
}

func where(c *context) []*ir.Value {
	return []*ir.Value{c.each("where", c.input(0), c.input(1), c.input(2))}
}

func isInf(c *context) []*ir.Value {
	p := [2]float32{float32(c.attrInt("detect_positive", 1)), float32(c.attrInt("detect_negative", 1))}
	return []*ir.Value{c.add(ir.Each{Fn: "isinf", P: p}, c.input(0))}
}

// argOf converts ArgMax and ArgMin (versions 1 to 13).
func argOf(fn string) converter {
	return func(c *context) []*ir.Value {
		x := c.input(0)
		s := x.Type.Shape
		axis := c.axis(c.attrInt("axis", 0), len(s))
		y := c.add(ir.Arg{Fn: fn, Axis: axis, Last: c.attrInt("select_last_index", 0) != 0}, x)
		if c.attrInt("keepdims", 1) == 0 && c.err == nil {
			y = c.reshape(y, without(s, []int{axis})...)
		}
		return []*ir.Value{y}
	}
}

func castLike(c *context) []*ir.Value {
	if t, ok := c.narrow[c.input(1)]; ok {
		return []*ir.Value{c.toNarrow(c.input(0), t)}
	}
	return []*ir.Value{c.cast(c.input(0), c.input(1).Type.DType)}
}

func sizeOf(c *context) []*ir.Value {
	return []*ir.Value{c.constantOf(ir.Ints([]int64{int64(c.shape(0).Elems())}))}
}

// rangeOf converts Range (version 11) of constants.
func rangeOf(c *context) []*ir.Value {
	var v [3]float64
	for i := range v {
		t := c.constant(i)
		switch {
		case c.err != nil || t == nil:
			c.fail("input %d is missing", i)
			return nil
		case t.Shape.Elems() != 1:
			c.fail("input %d is %v, wants a scalar", i, t.Type)
			return nil
		case t.DType.Float():
			v[i] = float64(t.F[0])
		default:
			v[i] = float64(t.I[0])
		}
	}
	n := math.Ceil((v[1] - v[0]) / v[2])
	if math.IsNaN(n) || n > ir.MaxElems {
		c.fail("a range from %v to %v by %v", v[0], v[1], v[2])
		return nil
	}
	y := ir.NewTensor(ir.Of(c.input(0).Type.DType, int(max(n, 0))))
	if !c.spend(max(n, 0)) {
		return nil
	}
	for i := range y.F {
		y.F[i] = float32(v[0] + float64(i)*v[2])
	}
	for i := range y.I {
		y.I[i] = int64(v[0]) + int64(i)*int64(v[2])
	}
	return []*ir.Value{c.constantOf(y)}
}

// eyeLike converts EyeLike (version 9): ones on the diagonal k of a matrix of the input's shape.
func eyeLike(c *context) []*ir.Value {
	x := c.input(0)
	s, to := x.Type.Shape, x.Type.DType
	if len(s) != 2 || !c.spend(float64(s.Elems())) {
		c.fail("input %v is no matrix", s)
		return nil
	}
	if c.Attr("dtype") != nil {
		var err error
		if to, err = castType(c.attrInt("dtype", 0)); err != nil {
			c.err = err
			return nil
		}
	}
	y, k := ir.NewTensor(ir.Type{DType: to, Shape: s}), c.attrInt("k", 0)
	for i := range s[0] {
		if j := i + k; j >= 0 && j < s[1] {
			if to.Float() {
				y.F[i*s[1]+j] = 1
			} else {
				y.I[i*s[1]+j] = 1
			}
		}
	}
	return []*ir.Value{c.constantOf(y)}
}

// trilu converts Trilu (version 14): a mask of the places on and above, or on and below, diagonal k.
func trilu(c *context) []*ir.Value {
	x, k := c.input(0), c.optional(1)
	s := x.Type.Shape
	if len(s) < 2 {
		c.fail("input %v is no matrix", s)
		return nil
	}
	if k == nil {
		k = c.constantOf(ir.Ints([]int64{0}))
	}
	h, w := s[len(s)-2], s[len(s)-1]
	if !c.spend(float64(h) * float64(w)) {
		return nil
	}
	column := ir.Ints(make([]int64, h*w), h, w) // less the row
	for i := range column.I {
		column.I[i] = int64(i%w - i/w)
	}
	at := c.constantOf(column)
	k = c.reshape(k)
	keep := c.each("le", k, at)
	if c.attrInt("upper", 1) == 0 {
		keep = c.each("le", at, k)
	}
	if x.Type.DType == ir.Bool {
		return []*ir.Value{c.each("and", keep, x)}
	}
	return []*ir.Value{c.each("where", keep, x, c.like(x, 0))}
}

// oneHot converts OneHot (version 11) with a depth that is known, or that the output's declared shape says.
func oneHot(c *context) []*ir.Value {
	idx, values := c.cast(c.input(0), ir.I64), c.input(2)
	rank := len(idx.Type.Shape) + 1
	axis := c.axis(c.attrInt("axis", -1), rank)
	depth := 0
	if said := c.declared(0); c.input(1).Const == nil && len(said) == rank {
		depth = said[axis]
	} else if c.constant(1) != nil {
		depth = toInt(int64(c.scalar(1, "", 0)))
	}
	if c.err != nil || depth < 1 || !c.spend(float64(depth)) || len(values.Type.Shape) != 1 || values.Type.Shape[0] != 2 {
		c.fail("depth %d, values %v", depth, values.Type)
		return nil
	}
	places, below := ir.Ints(make([]int64, depth), depth), ir.Ints(make([]int64, depth), depth)
	for i := range depth {
		places.I[i], below.I[i] = int64(i), int64(i-depth)
	}
	dims := slices.Repeat([]int{1}, rank)
	dims[axis] = depth
	idx = c.reshape(idx, slices.Insert(slices.Clone(idx.Type.Shape), axis, 1)...)
	hot := c.each("eq", idx, c.reshape(c.constantOf(places), dims...))
	hot = c.each("or", hot, c.each("eq", idx, c.reshape(c.constantOf(below), dims...)))
	if values.Type.DType == ir.Bool {
		on, off := c.row(values, 1), c.row(values, 0)
		return []*ir.Value{c.each("or", c.each("and", hot, on), c.each("and", c.each("not", hot), off))}
	}
	return []*ir.Value{c.each("where", hot, c.row(values, 1), c.row(values, 0))}
}

// topK converts TopK (versions 1 to 11): k as an attribute, then as an input, or as the output is declared.
func topK(c *context) []*ir.Value {
	x := c.input(0)
	axis := c.axis(c.attrInt("axis", -1), len(x.Type.Shape))
	var k []int
	if v := c.optional(1); v == nil {
		k = []int{c.attrInt("k", 0)}
	} else if said := c.declared(0); v.Const == nil && len(said) == len(x.Type.Shape) && c.err == nil {
		k = []int{said[axis]}
	} else {
		k = c.ints(1, "", nil)
	}
	if c.err != nil || len(k) != 1 {
		c.fail("k is %v", k)
		return nil
	}
	if k[0] == 0 {
		s := slices.Clone(x.Type.Shape)
		s[axis] = 0
		return []*ir.Value{c.constantOf(ir.NewTensor(ir.Type{DType: x.Type.DType, Shape: s})), c.constantOf(ir.NewTensor(ir.Type{DType: ir.I64, Shape: s}))}
	}
	return c.addAll(ir.TopK{Axis: axis, K: k[0], Smallest: c.attrInt("largest", 1) == 0}, x)
}

// cumulate converts CumSum (version 14) and CumProd (version 26). An axis that is computed while the model
// runs chooses among the sums along all.
func cumulate(fn string) converter {
	return func(c *context) []*ir.Value {
		x, at := c.input(0), c.input(1)
		rank := len(x.Type.Shape)
		along := func(axis int) *ir.Value {
			return c.add(ir.Cumulate{Fn: fn, Axis: axis, Exclusive: c.attrInt("exclusive", 0) != 0, Reverse: c.attrInt("reverse", 0) != 0}, x)
		}
		if c.err != nil || at.Type.Shape.Elems() != 1 || at.Type.DType.Float() || rank == 0 {
			c.fail("the axis is %v of %v", at.Type, x.Type)
			return nil
		}
		if at.Const != nil {
			return []*ir.Value{along(c.axis(toInt(at.Const.I[0]), rank))}
		}
		at = c.reshape(at)
		y := along(0)
		for a := 1; a < rank; a++ {
			here := c.each("or", c.each("eq", at, c.like(at, float64(a))), c.each("eq", at, c.like(at, float64(a-rank))))
			y = c.each("where", here, along(a), y)
		}
		return []*ir.Value{y}
	}
}

// within refuses indices that are known and outside the axes that they name in turn.
func (c *context) within(idx *ir.Value, extents ...int) {
	if idx.Const == nil || c.err != nil {
		return
	}
	for i, k := range idx.Const.I {
		if n := int64(extents[i%len(extents)]); k < -n || k >= n {
			c.fail("index %d is outside an axis of extent %d", k, n)
			return
		}
	}
}

// along resolves the attribute axis and checks indices along it.
func (c *context) along(x, idx *ir.Value) int {
	axis := c.axis(c.attrInt("axis", 0), len(x.Type.Shape))
	if c.err == nil {
		c.within(idx, x.Type.Shape[axis])
	}
	return axis
}

// tuples checks indices of the axes after the first batch ones.
func (c *context) tuples(x, idx *ir.Value, batch int) {
	s, is := x.Type.Shape, idx.Type.Shape
	if len(is) == 0 || batch < 0 || batch >= len(s) || is[len(is)-1] < 1 || is[len(is)-1] > len(s)-batch {
		return // Infer says so
	}
	c.within(idx, s[batch:batch+is[len(is)-1]]...)
}

func gatherElements(c *context) []*ir.Value {
	x, idx := c.input(0), c.input(1)
	return []*ir.Value{c.add(ir.GatherElements{Axis: c.along(x, idx)}, x, idx)}
}

func gatherND(c *context) []*ir.Value {
	c.tuples(c.input(0), c.input(1), c.attrInt("batch_dims", 0))
	return []*ir.Value{c.add(ir.GatherND{Batch: c.attrInt("batch_dims", 0)}, c.input(0), c.input(1))}
}

func (c *context) reduction() string {
	fn := c.attrStr("reduction", "none")
	if fn == "none" {
		return ""
	}
	return fn
}

func scatterElements(c *context) []*ir.Value {
	x, idx := c.input(0), c.input(1)
	return []*ir.Value{c.add(ir.ScatterElements{Axis: c.along(x, idx), Fn: c.reduction()}, x, idx, c.input(2))}
}

func scatterND(c *context) []*ir.Value {
	c.tuples(c.input(0), c.input(1), 0)
	return []*ir.Value{c.add(ir.ScatterND{Fn: c.reduction()}, c.input(0), c.input(1), c.input(2))}
}

// compress converts Compress (version 11) by a condition that is known, so that the shape is.
func compress(c *context) []*ir.Value {
	x, when := c.input(0), c.constant(1)
	if c.err != nil || when == nil {
		return nil
	}
	axis := 0
	if c.Attr("axis") == nil {
		x = c.reshape(x, x.Type.Shape.Elems())
	} else {
		axis = c.axis(c.attrInt("axis", 0), len(x.Type.Shape))
	}
	var idx []int64
	for i, v := range when.I {
		if v != 0 {
			idx = append(idx, int64(i))
		}
	}
	if c.err != nil || len(when.I) > x.Type.Shape[axis] {
		c.fail("a condition of %d values for axis %d of %v", len(when.I), axis, x.Type.Shape)
		return nil
	}
	return []*ir.Value{c.pick(x, axis, idx)}
}

// nonZero converts NonZero (version 13) of a constant.
func nonZero(c *context) []*ir.Value {
	x := c.constant(0)
	if c.err != nil || x == nil || !c.spend(float64(x.Shape.Elems())*float64(1+len(x.Shape))) {
		return nil
	}
	var at [][]int64
	for i := range x.Shape.Elems() {
		if x.DType.Float() && x.F[i] == 0 || !x.DType.Float() && x.I[i] == 0 {
			continue
		}
		pos, rest := make([]int64, len(x.Shape)), i
		for a := len(x.Shape) - 1; a >= 0; a-- {
			pos[a] = int64(rest % x.Shape[a])
			rest /= x.Shape[a]
		}
		at = append(at, pos)
	}
	y := ir.Ints(make([]int64, len(x.Shape)*len(at)), len(x.Shape), len(at))
	for i, pos := range at {
		for a, p := range pos {
			y.I[a*len(at)+i] = p
		}
	}
	return []*ir.Value{c.constantOf(y)}
}

// reverseSequence converts ReverseSequence (version 10): element i of a sequence of length n comes from
// n-1-i, those beyond it stay.
func reverseSequence(c *context) []*ir.Value {
	x, lens := c.input(0), c.input(1)
	s := x.Type.Shape
	batch, time := c.attrInt("batch_axis", 1), c.attrInt("time_axis", 0)
	if len(s) < 2 || batch+time != 1 || batch*time != 0 || !slices.Equal(lens.Type.Shape, ir.Shape{s[batch]}) {
		c.fail("axes %d and %d, lengths %v of %v", batch, time, lens.Type, s)
		return nil
	}
	steps := ir.Ints(make([]int64, s[time]), s[time])
	for i := range steps.I {
		steps.I[i] = int64(i)
	}
	dims := [2][]int{{1, 1}, {1, 1}}
	dims[0][time], dims[1][batch] = s[time], s[batch]
	i, n := c.reshape(c.constantOf(steps), dims[0]...), c.reshape(c.cast(lens, ir.I64), dims[1]...)
	from := c.each("where", c.each("lt", i, n), c.binary("sub", c.binary("sub", n, c.like(n, 1)), i), i)
	wide := append([]int{s[0], s[1]}, slices.Repeat([]int{1}, len(s)-2)...)
	return []*ir.Value{c.add(ir.GatherElements{Axis: time}, x, c.add(ir.Expand{Shape: s}, c.reshape(from, wide...)))}
}
