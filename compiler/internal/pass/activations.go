package pass

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// nameActivations makes one function of the formulas that exporters write for activations older than
// their operators, so that they become an epilogue instead of passes over memory:
//
//	x·sigmoid(x)                             silu
//	x·hardsigmoid(x), x·clip(x+3, 0, 6)/6    hardswish
//	x·(1 + erf(x/√2))/2                      gelu
//	x·(1 + tanh(√(2/π)·(x+0.044715·x³)))/2   gelutanh
//	x·tanh(softplus(x))                      mish
func nameActivations(g *ir.Graph) error {
	f := formulas{producers(g)}
	for i, n := range g.Nodes {
		x, fn := f.activation(n)
		if fn == "" || !x.Type.Equal(n.Out[0].Type) {
			continue
		}
		g.Nodes[i] = &ir.Node{Name: n.Name, Op: ir.Unary{Fn: fn}, In: []*ir.Value{x}, Out: n.Out}
		f.made[n.Out[0]] = g.Nodes[i]
	}
	return removeDead(g)
}

// formulas reads values as terms.
type formulas struct{ made map[*ir.Value]*ir.Node }

// activation returns what n computes as a function of x, "" if it is none of those with a name.
func (f formulas) activation(n *ir.Node) (x *ir.Value, fn string) {
	if b, ok := n.Op.(ir.Binary); !ok || b.Fn != "mul" && b.Fn != "div" {
		return nil, ""
	}
	scale, factors := f.factors(n.Out[0], 3)
	if len(factors) != 2 {
		return nil, ""
	}
	for i, x := range factors {
		if fn := f.gate(factors[1-i], x, scale); fn != "" {
			return x, fn
		}
	}
	return nil, ""
}

// gate names the function x·v·scale, v a function of x.
func (f formulas) gate(v, x *ir.Value, scale float64) string {
	u, from := f.unary(v)
	switch {
	case from == nil:
	case u.Fn == "sigmoid" && scale == 1 && from == x:
		return "silu"
	case u.Fn == "hardsigmoid" && scale == 1 && from == x && near(u.P[0], 1./6) && u.P[1] == 0.5:
		return "hardswish"
	case u.Fn == "clip" && u.P == [2]float32{0, 6} && near(scale, 1./6):
		if y, k := f.plus(from); y == x && k == 3 {
			return "hardswish"
		}
	case u.Fn == "tanh" && scale == 1:
		if s, y := f.unary(from); s.Fn == "softplus" && y == x {
			return "mish"
		}
	}
	if y, one := f.plus(v); one == 1 && scale == 0.5 {
		return f.normal(y, x)
	}
	return ""
}

// normal names the function x·(1+v)/2, v a function of x.
func (f formulas) normal(v, x *ir.Value) string {
	u, from := f.unary(v)
	if from == nil {
		return ""
	}
	scale, factors := f.factors(from, 3)
	if len(factors) != 1 {
		return ""
	}
	switch {
	case u.Fn == "erf" && factors[0] == x && near(scale, math.Sqrt2/2):
		return "gelu"
	case u.Fn == "tanh" && near(scale, math.Sqrt(2/math.Pi)):
		b, terms := f.binary(factors[0])
		if b != "add" {
			return ""
		}
		for i, t := range terms {
			k, cube := f.factors(terms[1-i], 5)
			if t == x && near(k, 0.044715) && slices.Equal(cube, []*ir.Value{x, x, x}) {
				return "gelutanh"
			}
		}
	}
	return ""
}

// factors reads v as scale times values, through products and quotients by constants, at most limit
// products deep.
func (f formulas) factors(v *ir.Value, limit int) (scale float64, of []*ir.Value) {
	if v.Const != nil && v.Type.DType == ir.F32 && v.Type.Shape.Elems() == 1 {
		return float64(v.Const.F[0]), nil
	}
	fn, in := f.binary(v)
	switch {
	case limit == 0:
	case fn == "mul":
		a, as := f.factors(in[0], limit-1)
		b, bs := f.factors(in[1], limit-1)
		return a * b, append(as, bs...)
	case fn == "div":
		if d, rest := f.factors(in[1], 0); rest == nil {
			a, as := f.factors(in[0], limit-1)
			return a / d, as
		}
	}
	return 1, []*ir.Value{v}
}

// plus reads v as y + k; y is nil if it is no such sum.
func (f formulas) plus(v *ir.Value) (y *ir.Value, k float32) {
	fn, in := f.binary(v)
	if fn != "add" {
		return nil, 0
	}
	for i, c := range in {
		if c.Const != nil && c.Type.Shape.Elems() == 1 {
			return in[1-i], c.Const.F[0]
		}
	}
	return nil, 0
}

func (f formulas) unary(v *ir.Value) (ir.Unary, *ir.Value) {
	if n := f.made[v]; n != nil {
		if u, ok := n.Op.(ir.Unary); ok {
			return u, n.In[0]
		}
	}
	return ir.Unary{}, nil
}

// binary returns the function of floats that computes v, and its operands.
func (f formulas) binary(v *ir.Value) (string, []*ir.Value) {
	if n := f.made[v]; n != nil && v.Type.DType == ir.F32 {
		if b, ok := n.Op.(ir.Binary); ok {
			return b.Fn, n.In
		}
	}
	return "", nil
}

// near allows for constants that were rounded once or twice, or written with four digits.
func near[T float32 | float64](v T, to float64) bool { return math.Abs(float64(v)-to) < 1e-4*to }
