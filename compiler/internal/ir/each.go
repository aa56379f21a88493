package ir

import (
	"fmt"
	"math"
	"slices"
)

// Each applies a function to each position of its operands, broadcast as in numpy. It has what
// [Unary] and [Binary] have not: other element types for results than for operands, three operands,
// functions of integers and bits, and floats' functions that are rare enough for one at a time.
type Each struct {
	Fn string     // a key of the table below
	P  [2]float32 // the function's parameters, unused ones zero
}

// eachFn is a function with its definition for floats and for integers, nil where it has none. Elements
// of all operands but a leading condition are of one type; Bool counts as an integer only if bools is set.
type eachFn struct {
	operands int
	f        func(a []float32, p [2]float32) float64
	i        func(a []int64, t DType) int64
	bools    bool
	truth    bool // the result is Bool
	choice   bool // the first operand is Bool
}

var eachFns = map[string]eachFn{
	// Comparisons (ONNX versions 7 to 19): NaN compares false.
	"eq": compare(func(a, b float32) bool { return a == b }, func(a, b int64, _ DType) bool { return a == b }),
	"lt": compare(func(a, b float32) bool { return a < b }, less),
	"le": compare(func(a, b float32) bool { return a <= b }, func(a, b int64, t DType) bool { return !less(b, a, t) }),
	// Logic, bit by bit: And, Or, Xor, and the Bitwise ones (version 18).
	"and": {operands: 2, bools: true, i: func(a []int64, _ DType) int64 { return a[0] & a[1] }},
	"or":  {operands: 2, bools: true, i: func(a []int64, _ DType) int64 { return a[0] | a[1] }},
	"xor": {operands: 2, bools: true, i: func(a []int64, _ DType) int64 { return a[0] ^ a[1] }},
	"not": {operands: 1, bools: true, i: func(a []int64, t DType) int64 {
		if t == Bool {
			return 1 - a[0]
		}
		return ^a[0]
	}},
	// BitShift (versions 11 and 28): what is shifted by all bits and more is 0, or the sign going right.
	"shl": {operands: 2, i: func(a []int64, t DType) int64 { return shift(a, t, func(v, n uint64) uint64 { return v << n }) }},
	"shr": {operands: 2, i: func(a []int64, t DType) int64 {
		if t.Signed() {
			return a[0] >> min(uint64(a[1]), uint64(8*t.Size()-1))
		}
		return shift(a, t, func(v, n uint64) uint64 { return v >> n })
	}},
	// Mod (version 13): mod takes the divisor's sign, fmod the dividend's.
	"mod": {operands: 2, i: func(a []int64, t DType) int64 {
		r := remainder(a[0], a[1], t)
		if t.Signed() && r != 0 && (r < 0) != (a[1] < 0) {
			r += a[1]
		}
		return r
	}},
	"fmod": {operands: 2,
		f: func(a []float32, _ [2]float32) float64 { return math.Mod(float64(a[0]), float64(a[1])) },
		i: func(a []int64, t DType) int64 { return remainder(a[0], a[1], t) }},
	// Pow (version 15); integers of a negative exponent give 0 but for the bases 1 and -1.
	"pow": {operands: 2,
		f: func(a []float32, _ [2]float32) float64 { return math.Pow(float64(a[0]), float64(a[1])) }, i: intPow},
	"where": {operands: 3, choice: true, bools: true,
		f: func(a []float32, _ [2]float32) float64 {
			if a[0] != 0 {
				return float64(a[1])
			}
			return float64(a[2])
		},
		i: func(a []int64, _ DType) int64 {
			if a[0] != 0 {
				return a[1]
			}
			return a[2]
		}},
	"abs": {operands: 1, i: func(a []int64, t DType) int64 {
		if t.Signed() && a[0] < 0 {
			return -a[0]
		}
		return a[0]
	}},
	"neg": {operands: 1, i: func(a []int64, _ DType) int64 { return -a[0] }},
	"sign": {operands: 1, i: func(a []int64, t DType) int64 {
		switch {
		case a[0] == 0:
			return 0
		case t.Signed() && a[0] < 0:
			return -1
		}
		return 1
	}},
	"isnan": {operands: 1, truth: true, f: func(a []float32, _ [2]float32) float64 { return truth(a[0] != a[0]) }},
	// isinf tells +Inf if P[0] is set and -Inf if P[1] is (version 20).
	"isinf": {operands: 1, truth: true, f: func(a []float32, p [2]float32) float64 {
		return truth(p[0] != 0 && math.IsInf(float64(a[0]), 1) || p[1] != 0 && math.IsInf(float64(a[0]), -1))
	}},
	"sin": curve(math.Sin), "cos": curve(math.Cos), "tan": curve(math.Tan),
	"asin": curve(math.Asin), "acos": curve(math.Acos), "atan": curve(math.Atan),
	"sinh": curve(math.Sinh), "cosh": curve(math.Cosh),
	"asinh": curve(math.Asinh), "acosh": curve(math.Acosh), "atanh": curve(math.Atanh),
}

func curve(f func(float64) float64) eachFn {
	return eachFn{operands: 1, f: func(a []float32, _ [2]float32) float64 { return f(float64(a[0])) }}
}

func compare(f func(a, b float32) bool, i func(a, b int64, t DType) bool) eachFn {
	return eachFn{operands: 2, truth: true, bools: true,
		f: func(a []float32, _ [2]float32) float64 { return truth(f(a[0], a[1])) },
		i: func(a []int64, t DType) int64 { return int64(truth(i(a[0], a[1], t))) }}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func shift(a []int64, t DType, f func(v, n uint64) uint64) int64 {
	bits := uint64(8 * t.Size())
	if n := uint64(a[1]); n < bits {
		return int64(f(uint64(a[0])<<(64-bits)>>(64-bits), n))
	}
	return 0
}

// remainder has the sign of a; it is 0 where b is.
func remainder(a, b int64, t DType) int64 {
	switch {
	case b == 0:
		return 0
	case t == U64:
		return int64(uint64(a) % uint64(b))
	}
	return a % b
}

func intPow(a []int64, t DType) int64 {
	x, n := a[0], a[1]
	if t.Signed() && n < 0 {
		switch {
		case x == 1:
			return 1
		case x == -1:
			return 1 - 2*(n&1)
		}
		return 0
	}
	y := int64(1)
	for u := uint64(n); u > 0; u >>= 1 {
		if u&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}

// Name implements [Op].
func (Each) Name() string { return "each" }

// Infer implements [Op].
func (e Each) Infer(in []Type) ([]Type, error) {
	fn, ok := eachFns[e.Fn]
	if !ok {
		return nil, fmt.Errorf("no function %q", e.Fn)
	}
	if err := arity(in, fn.operands, fn.operands); err != nil {
		return nil, err
	}
	s := Shape{}
	var err error
	t := in[len(in)-1].DType
	for i, x := range in {
		if s, err = Broadcast(s, x.Shape); err != nil {
			return nil, err
		}
		switch {
		case i == 0 && fn.choice:
			if x.DType != Bool {
				return nil, fmt.Errorf("the condition is %v, wants bool", x)
			}
		case x.DType != t:
			return nil, fmt.Errorf("operands are %v and %v, wants one element type", x, in[len(in)-1])
		case t.Float() && fn.f == nil, !t.Float() && fn.i == nil, t == Bool && !fn.bools:
			return nil, fmt.Errorf("%w: %s of %v", ErrDType, e.Fn, x)
		}
	}
	if fn.truth {
		t = Bool
	}
	return []Type{{t, s}}, nil
}

// Eval implements [Op].
func (e Each) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := e.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	fn, y := eachFns[e.Fn], NewTensor(out[0])
	t := in[len(in)-1].DType
	var strides [][]int
	for _, x := range in {
		strides = append(strides, BroadcastStrides(x.Shape, y.Shape))
	}
	pos, fs, is := make([]int, len(y.Shape)), make([]float32, len(in)), make([]int64, len(in))
	for i := range y.Shape.Elems() {
		unflatten(i, y.Shape, pos)
		for k, x := range in {
			at := dot(pos, strides[k])
			switch {
			case x.DType.Float():
				fs[k] = x.F[at]
			case t.Float():
				fs[k] = float32(x.I[at])
			default:
				is[k] = x.I[at]
			}
		}
		switch {
		case !t.Float():
			y.I[i] = wrap(fn.i(is, t), y.DType)
		case y.DType.Float():
			y.F[i] = float32(fn.f(fs, e.P))
		default:
			y.I[i] = int64(fn.f(fs, e.P))
		}
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (e Each) Permute([]int) Op { return e }

// Arg finds the place of the greatest or the smallest element along Axis (ONNX ArgMax and ArgMin
// version 13). The axis stays, with extent 1. NaN is greater and smaller than all else.
type Arg struct {
	Fn   string // max, min
	Axis int
	Last bool // of equals, the last one
}

// Name implements [Op].
func (Arg) Name() string { return "arg" }

// Infer implements [Op].
func (a Arg) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if a.Fn != "max" && a.Fn != "min" {
		return nil, fmt.Errorf("no function %q", a.Fn)
	}
	y := slices.Clone(in[0].Shape)
	if a.Axis < 0 || a.Axis >= len(y) || y[a.Axis] == 0 {
		return nil, fmt.Errorf("axis %d of %v is out of range or empty", a.Axis, in[0])
	}
	y[a.Axis] = 1
	return []Type{{I64, y}}, nil
}

// Eval implements [Op].
func (a Arg) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := a.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y := in[0], NewTensor(out[0])
	n, st := x.Shape[a.Axis], x.Shape.Strides()
	pos := make([]int, len(x.Shape))
	for i := range y.I {
		unflatten(i, y.Shape, pos)
		base, best := dot(pos, st), 0
		for k := 1; k < n; k++ {
			p, q := base+k*st[a.Axis], base+best*st[a.Axis]
			if a.Fn == "min" {
				p, q = q, p
			}
			greater, equal := x.greater(p, q), !x.greater(q, p)
			if a.Fn == "min" && x.DType.Float() { // NaN is the smallest as well
				greater = (x.F[p] > x.F[q] || x.F[q] != x.F[q] && x.F[p] == x.F[p])
				equal = !(x.F[q] > x.F[p] || x.F[p] != x.F[p] && x.F[q] == x.F[q])
			}
			if greater || equal && a.Last {
				best = k
			}
		}
		y.I[i] = int64(best)
	}
	return []*Tensor{y}, nil
}

// greater compares two elements; NaN is greater than all numbers.
func (x *Tensor) greater(p, q int) bool {
	if x.DType.Float() {
		return x.F[p] > x.F[q] || x.F[p] != x.F[p] && x.F[q] == x.F[q]
	}
	return less(x.I[q], x.I[p], x.DType)
}

// Compare orders elements p and q: negative, 0, or positive; NaN is above all numbers.
func (x *Tensor) Compare(p, q int) int {
	switch {
	case x.greater(p, q):
		return 1
	case x.greater(q, p):
		return -1
	}
	return 0
}

// Permute implements [Permuter].
func (a Arg) Permute(perm []int) Op { return Arg{a.Fn, perm[a.Axis], a.Last} }
