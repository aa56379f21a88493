package ir

import (
	"fmt"
	"math"
)

// Trees walks an ensemble of decision trees for each row of x and joins what their leaves say (ONNX
// ai.onnx.ml TreeEnsemble version 5, before the transformation of the scores):
//
//	x [N, F]   tests i32 [M, 4]   values f32 [M]   roots i32 [T]   base f32 [C]   → scores [N, C]
//
// Nodes lie in an order in which the branch that is taken when a test holds comes next. A row of tests
// is {feature, outcomes, otherwise, 0}: outcomes says for which of x < value, x = value, x > value and
// neither (NaN) the test holds, otherwise is the number of the node to go to when it does not, and is
// greater than that of the node. A leaf is {-1, target, 1, 0} with its weight as value; several follow
// each other for several targets, and the third number of the first is how many.
type Trees struct {
	Aggregate string // sum, avg, min, max
}

// The outcomes of a comparison.
const (
	TreeLess = 1 << iota
	TreeEqual
	TreeGreater
	TreeNaN
)

// Name implements [Op].
func (Trees) Name() string { return "trees" }

// Infer implements [Op].
func (t Trees) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 5, 5); err != nil {
		return nil, err
	}
	switch t.Aggregate {
	case "sum", "avg", "min", "max":
	default:
		return nil, fmt.Errorf("no aggregate %q", t.Aggregate)
	}
	x, tests, values, roots, base := in[0], in[1], in[2], in[3], in[4]
	if x.DType != F32 {
		return nil, fmt.Errorf("%w: input is %v, wants f32", ErrDType, x)
	}
	if len(x.Shape) != 2 || len(tests.Shape) != 2 || tests.Shape[1] != 4 || tests.DType != I32 || len(roots.Shape) != 1 || roots.DType != I32 ||
		!values.Equal(Of(F32, tests.Shape[0])) || len(base.Shape) != 1 || base.DType != F32 {
		return nil, fmt.Errorf("input %v, tests %v, values %v, roots %v, base %v do not fit", x, tests, values, roots, base)
	}
	return []Type{Of(F32, x.Shape[0], base.Shape[0])}, nil
}

// Outcome says how x compares with v.
func treeOutcome(x, v float32) int64 {
	switch {
	case x < v:
		return TreeLess
	case x == v:
		return TreeEqual
	case x > v:
		return TreeGreater
	}
	return TreeNaN
}

// Eval implements [Op].
func (t Trees) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := t.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, tests, values, roots, base := in[0], in[1].I, in[2].F, in[3].I, in[4].F
	y := NewTensor(out[0])
	features, targets := x.Shape[1], len(base)
	for r := range x.Shape[0] {
		row, scores := x.F[r*features:][:features], make([]float64, targets)
		hit := make([]bool, targets)
		for _, n := range roots {
			for tests[4*n] >= 0 {
				if treeOutcome(row[tests[4*n]], values[n])&tests[4*n+1] != 0 {
					n++
				} else {
					n = tests[4*n+2]
				}
			}
			for range tests[4*n+2] {
				to, w := tests[4*n+1], float64(values[n])
				switch {
				case t.Aggregate == "sum" || t.Aggregate == "avg":
					scores[to] += w
				case !hit[to]:
					scores[to] = w
				case t.Aggregate == "min":
					scores[to] = math.Min(scores[to], w)
				default:
					scores[to] = math.Max(scores[to], w)
				}
				hit[to] = true
				n++
			}
		}
		for c, s := range scores {
			if t.Aggregate == "avg" {
				s /= float64(len(roots))
			}
			y.F[r*targets+c] = float32(s + float64(base[c]))
		}
	}
	return []*Tensor{y}, nil
}

// Classify names the class of each row of scores [N, C]: the first of the highest. With one score the
// second class is meant where it is above Above. Labels are the names, by class; Above is only for C = 1.
type Classify struct {
	Labels []int
	Above  float32
}

// Name implements [Op].
func (Classify) Name() string { return "classify" }

// Infer implements [Op].
func (k Classify) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	s := in[0].Shape
	if len(s) != 2 || s[1] == 0 || max(s[1], 2) != len(k.Labels) && !(s[1] == 1 && len(k.Labels) == 1) {
		return nil, fmt.Errorf("scores are %v for %d classes", s, len(k.Labels))
	}
	return []Type{Of(I64, s[0])}, wantFloat(in)
}

// Eval implements [Op].
func (k Classify) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := k.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y, n := NewTensor(out[0]), in[0].Shape[1]
	for r := range y.I {
		row, best := in[0].F[r*n:][:n], 0
		if n == 1 && row[0] > k.Above && len(k.Labels) > 1 {
			best = 1
		}
		for i, s := range row {
			if s > row[min(best, n-1)] {
				best = i
			}
		}
		y.I[r] = int64(k.Labels[best])
	}
	return []*Tensor{y}, nil
}
