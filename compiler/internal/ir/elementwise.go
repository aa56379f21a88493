package ir

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Unary applies a function of one variable to each element. As a field of another operator it is
// the activation of its epilogue; the zero value there means none.
type Unary struct {
	Fn string     // a key of the table below
	P  [2]float32 // the function's parameters, unused ones zero
}

type unaryFn struct {
	params int
	f      func(x float64, p [2]float32) float64
}

// unaryFns are the functions and their definitions in ONNX terms; p are the parameters.
var unaryFns = map[string]unaryFn{
	"clip":        {2, func(x float64, p [2]float32) float64 { return math.Min(math.Max(x, float64(p[0])), float64(p[1])) }}, // Clip, Relu = clip(0,+Inf)
	"leakyrelu":   {1, func(x float64, p [2]float32) float64 { return max(x, 0) + float64(p[0])*min(x, 0) }},
	"hardsigmoid": {2, hardSigmoid},
	"hardswish":   {0, func(x float64, _ [2]float32) float64 { return x * hardSigmoid(x, [2]float32{1. / 6, 0.5}) }},
	"sigmoid":     {0, func(x float64, _ [2]float32) float64 { return sigmoid(x) }},
	"silu":        {0, func(x float64, _ [2]float32) float64 { return x * sigmoid(x) }},
	"gelu":        {0, func(x float64, _ [2]float32) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }},
	"gelutanh":    {0, geluTanh},
	"mish":        {0, func(x float64, _ [2]float32) float64 { return x * math.Tanh(softplus(x)) }},
	"tanh":        {0, func(x float64, _ [2]float32) float64 { return math.Tanh(x) }},
	"exp":         {0, func(x float64, _ [2]float32) float64 { return math.Exp(x) }},
	"elu":         {1, func(x float64, p [2]float32) float64 { return max(x, 0) + float64(p[0])*(math.Exp(min(x, 0))-1) }},
	"log":         {0, func(x float64, _ [2]float32) float64 { return math.Log(x) }},
	"erf":         {0, func(x float64, _ [2]float32) float64 { return math.Erf(x) }},
	"sign":        {0, sign},
	"abs":         {0, func(x float64, _ [2]float32) float64 { return math.Abs(x) }},
	"neg":         {0, func(x float64, _ [2]float32) float64 { return -x }},
	"sqrt":        {0, func(x float64, _ [2]float32) float64 { return math.Sqrt(x) }},
	"floor":       {0, func(x float64, _ [2]float32) float64 { return math.Floor(x) }},
	"ceil":        {0, func(x float64, _ [2]float32) float64 { return math.Ceil(x) }},
	"affine":      {2, func(x float64, p [2]float32) float64 { return float64(p[0])*x + float64(p[1]) }},
	"scaledtanh":  {2, func(x float64, p [2]float32) float64 { return float64(p[0]) * math.Tanh(float64(p[1])*x) }},
	"softsign":    {0, func(x float64, _ [2]float32) float64 { return x / (1 + math.Abs(x)) }},
	"softplus":    {0, func(x float64, _ [2]float32) float64 { return softplus(x) }},
	"above":       {1, above}, // ThresholdedRelu
	"round":       {0, func(x float64, _ [2]float32) float64 { return math.RoundToEven(x) }},
}

// above is x where it is greater than the parameter, else 0, as it is of NaN.
func above(x float64, p [2]float32) float64 {
	if x > float64(p[0]) {
		return x
	}
	return 0
}

// sign is -1, 0 or 1; NaN stays NaN.
func sign(x float64, _ [2]float32) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// geluTanh is Gelu's approximation by the hyperbolic tangent (version 20).
func geluTanh(x float64, _ [2]float32) float64 {
	return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
}

func hardSigmoid(x float64, p [2]float32) float64 {
	return min(max(float64(p[0])*x+float64(p[1]), 0), 1)
}

// Relu is the activation max(x, 0).
func Relu() Unary { return Unary{Fn: "clip", P: [2]float32{0, float32(math.Inf(1))}} }

// Name implements [Op].
func (u Unary) Name() string { return "unary" }

// Infer implements [Op].
func (u Unary) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if _, ok := unaryFns[u.Fn]; !ok {
		return nil, fmt.Errorf("no function %q", u.Fn)
	}
	return in, wantFloat(in)
}

// Eval implements [Op].
func (u Unary) Eval(in []*Tensor) ([]*Tensor, error) {
	y := NewTensor(in[0].Type)
	for i, v := range in[0].F {
		y.F[i] = u.apply(v)
	}
	return []*Tensor{y}, nil
}

func (u Unary) apply(x float32) float32 {
	if u.Fn == "clip" { // exact in f32, and the activation that models have most
		return min(max(x, u.P[0]), u.P[1])
	}
	return float32(unaryFns[u.Fn].f(float64(x), u.P))
}

// MarshalText writes the function as "clip(0,6)".
func (u Unary) MarshalText() ([]byte, error) {
	s := u.Fn
	if n := unaryFns[u.Fn].params; n > 0 {
		var ps []string
		for _, p := range u.P[:n] {
			ps = append(ps, strconv.FormatFloat(float64(p), 'g', -1, 32))
		}
		s += "(" + strings.Join(ps, ",") + ")"
	}
	return []byte(s), nil
}

// UnmarshalText reads what MarshalText writes.
func (u *Unary) UnmarshalText(b []byte) error {
	name, rest, has := strings.Cut(string(b), "(")
	fn, ok := unaryFns[name]
	if !ok {
		return fmt.Errorf("no function %q", name)
	}
	*u = Unary{Fn: name}
	var ps []string
	if has {
		ps = strings.Split(strings.TrimSuffix(rest, ")"), ",")
	}
	if len(ps) != fn.params {
		return fmt.Errorf("%s takes %d parameters, got %d", name, fn.params, len(ps))
	}
	for i, s := range ps {
		f, err := strconv.ParseFloat(s, 32)
		if err != nil {
			return fmt.Errorf("%s: parameter %q: %w", name, s, err)
		}
		u.P[i] = float32(f)
	}
	return nil
}

// Binary applies a function of two variables to each pair of elements, broadcast as in numpy. Integers
// wrap, their quotient is cut towards zero and is 0 by a divisor of 0.
type Binary struct {
	Fn string // a key of the table below: add, sub, mul, div, min, max
}

var binaryFns = map[string]struct {
	f func(a, b float32) float32
	i func(a, b int64, t DType) int64
}{
	"add": {func(a, b float32) float32 { return a + b }, func(a, b int64, t DType) int64 { return a + b }},
	"sub": {func(a, b float32) float32 { return a - b }, func(a, b int64, t DType) int64 { return a - b }},
	"mul": {func(a, b float32) float32 { return a * b }, func(a, b int64, t DType) int64 { return a * b }},
	"div": {func(a, b float32) float32 { return a / b }, quotient},
	"min": {func(a, b float32) float32 { return min(a, b) }, func(a, b int64, t DType) int64 {
		if less(b, a, t) {
			return b
		}
		return a
	}},
	"max": {func(a, b float32) float32 { return max(a, b) }, func(a, b int64, t DType) int64 {
		if less(a, b, t) {
			return b
		}
		return a
	}},
}

// Name implements [Op].
func (b Binary) Name() string { return "binary" }

// Infer implements [Op].
func (b Binary) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if _, ok := binaryFns[b.Fn]; !ok {
		return nil, fmt.Errorf("no function %q", b.Fn)
	}
	if in[0].DType == Bool {
		return nil, fmt.Errorf("%w: no arithmetic on %v", ErrDType, in[0])
	}
	if in[0].DType != in[1].DType {
		return nil, fmt.Errorf("operands are %v and %v, wants one element type", in[0], in[1])
	}
	s, err := Broadcast(in[0].Shape, in[1].Shape)
	return []Type{{in[0].DType, s}}, err
}

// Eval implements [Op].
func (b Binary) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := b.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y, fn := NewTensor(out[0]), binaryFns[b.Fn]
	xs, ws := BroadcastStrides(in[0].Shape, y.Shape), BroadcastStrides(in[1].Shape, y.Shape)
	pos := make([]int, len(y.Shape))
	for i := range y.Shape.Elems() {
		unflatten(i, y.Shape, pos)
		p, q := dot(pos, xs), dot(pos, ws)
		if y.DType.Float() {
			y.F[i] = fn.f(in[0].F[p], in[1].F[q])
		} else {
			y.I[i] = wrap(fn.i(in[0].I[p], in[1].I[q], y.DType), y.DType)
		}
	}
	return []*Tensor{y}, nil
}
