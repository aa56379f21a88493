package emit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// Products of computed values, with transposes before and after them and a factor behind.
func TestProductMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(31, 4))
	turn := func(rank int, keepLast bool) (perm, inverse []int) {
		n := rank
		if keepLast {
			n--
		}
		perm = r.Perm(n)
		if keepLast {
			perm = append(perm, rank-1)
		}
		inverse = make([]int, rank)
		for i, p := range perm {
			inverse[p] = i
		}
		return perm, inverse
	}
	dims := func(s ...int) string { return strings.Trim(ir.Shape(s).String(), "[]") }
	before := func(shape, inverse []int) string { // of a tensor that the transpose gives the shape
		s := make([]int, len(shape))
		for i := range s {
			s[i] = shape[inverse[i]]
		}
		return dims(s...)
	}
	for range 60 {
		lead := make([]int, 1+r.IntN(3))
		for i := range lead {
			lead[i] = 1 + r.IntN(4)
		}
		m, k, n := 1+r.IntN(12), 1+r.IntN(40), 1+r.IntN(19)
		lb := append([]int{}, lead...)
		if r.IntN(3) == 0 {
			lb[0] = 1
		}
		rank := len(lead) + 2
		pa, ia := turn(rank, r.IntN(4) > 0)
		pb, ib := turn(rank, false)
		py, _ := turn(rank, r.IntN(4) > 0)
		scale := ""
		if r.IntN(2) == 0 {
			scale = []string{"%v = binary(%p, %s) Fn=mul", "%v = binary(%s, %p) Fn=mul", "%v = binary(%p, %s) Fn=div", "%v = unary(%p) Fn=tanh"}[r.IntN(4)]
		} else {
			scale = "%v = binary(%p, %s) Fn=add"
		}
		b.check(fmt.Sprintf(`graph product
%%x = input f32[%s]
%%z = input f32[%s]
%%a = transpose(%%x) Perm=[%s]
%%b = transpose(%%z) Perm=[%s]
%%c = const f32[%d] rand(8)
%%s = const f32[1] {8}
%%p = matmul(%%a, %%b, %%c)
%s
%%y = transpose(%%v) Perm=[%s]
return %%y
`, before(append(append([]int{}, lead...), m, k), ia), before(append(lb, k, n), ib), dims(pa...), dims(pb...), n, scale, dims(py...)), 1e-4)
	}
}

// Rows of every rest of a vector and of a block of vectors.
func TestLayerNormMatchesEval(t *testing.T) {
	b := newBench(t)
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 13, 15, 16, 17, 19, 20, 31, 32, 35, 64, 77} {
		b.check(fmt.Sprintf(`graph norm
%%x = input f32[3,%d]
%%e = const f32[] {0.0625}
%%m = reduce(%%x) Fn=mean Axes=[1]
%%d = binary(%%x, %%m) Fn=sub
%%q = binary(%%d, %%d) Fn=mul
%%v = reduce(%%q) Fn=mean Axes=[1]
%%s = binary(%%v, %%e) Fn=add
%%r = unary(%%s) Fn=sqrt
%%n = binary(%%d, %%r) Fn=div
%%w = const f32[%d] rand(4)
%%c = const f32[%d] rand(5)
%%k = binary(%%n, %%w) Fn=mul
%%y = binary(%%k, %%c) Fn=add
return %%y
`, n, n, n), sums)
	}
}
