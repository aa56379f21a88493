package emit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// grow adds a random tree to a table of ir.Trees. Outcomes is that of every test, or 0 for any.
func grow(r *rand.Rand, tests *[]int, values *[]float32, depth, features, targets, outcomes, weights int) {
	at := len(*values)
	if depth == 0 || r.IntN(6) == 0 {
		n := weights
		if n < 0 {
			n = r.IntN(-n + 1)
		}
		for i := range max(n, 1) {
			*tests = append(*tests, -1, r.IntN(targets), map[bool]int{true: n, false: 1}[i == 0], 0)
			*values = append(*values, float32(r.IntN(17)-8)/4)
		}
		return
	}
	test := outcomes
	if test == 0 {
		test = r.IntN(16)
	}
	*tests = append(*tests, r.IntN(features), test, 0, 0)
	*values = append(*values, float32(r.IntN(9)-4)/4)
	grow(r, tests, values, depth-1, features, targets, outcomes, weights)
	(*tests)[4*at+2] = len(*values)
	grow(r, tests, values, depth-1, features, targets, outcomes, weights)
}

func TestTreesMatchEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(42, 1))
	for i := range 64 {
		rows, features, targets := 1+r.IntN(7), 1+r.IntN(9), 1+r.IntN(5)
		if i%3 == 0 {
			targets = 1
		}
		var tests, roots []int
		var values, base []float32
		for range 1 + r.IntN(6) {
			roots = append(roots, len(values))
			grow(r, &tests, &values, r.IntN(6), features, targets, i%17, []int{1, targets, -3}[r.IntN(3)])
		}
		for range targets {
			base = append(base, float32(r.IntN(5))/2)
		}
		x := ir.NewTensor(ir.Of(ir.F32, rows, features))
		for j := range x.F { // often the value of a test, at times NaN
			if x.F[j] = float32(r.IntN(11)-5) / 4; r.IntN(12) == 0 {
				x.F[j] = float32(math.NaN())
			}
		}
		b.check(fmt.Sprintf(`graph t
%%x = input f32[%d,%d]
%%t = const i32[%d,4] {%s}
%%v = const f32[%d] {%s}
%%r = const i32[%d] {%s}
%%b = const f32[%d] {%s}
%%y = trees(%%x, %%t, %%v, %%r, %%b) Aggregate=%s
return %%y
`, rows, features, len(values), elements(tests), len(values), elements(values), len(roots), elements(roots), targets, elements(base),
			[]string{"sum", "avg", "min", "max"}[r.IntN(4)]), sums, x)
	}
}

// TestClassifyMatchesEval names classes in order and out of it, of one score and of many, with equals and NaN.
func TestClassifyMatchesEval(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 1))
	b := newBench(t)
	for round := range 40 {
		rows, n := 1+r.IntN(9), 1+r.IntN(9)
		if round%4 == 0 {
			n = 1
		}
		labels := make([]int, max(n, 2))
		for i := range labels {
			if labels[i] = i; round%2 == 1 {
				labels[i] = r.IntN(200) - 100
			}
		}
		if n == 1 && round%8 == 0 {
			labels = labels[:1]
		}
		x := edges(ir.F32, r, rows, n)
		b.check(fmt.Sprintf("graph c\n%%x = input %v\n%%y = classify(%%x) Labels=%s Above=%v\nreturn %%y\n", x.Type, list(labels), float32(r.IntN(3))/2), exact, x)
	}
}
