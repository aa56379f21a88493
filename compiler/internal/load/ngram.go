package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// tfIdf converts TfIdfVectorizer (version 9) of integers: how often each n-gram of the pool is in a row,
// with up to max_skip_count elements left out between neighbours.
func tfIdf(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	pool := c.longs("pool_int64s")
	starts, places := c.attrInts("ngram_counts", nil), c.attrInts("ngram_indexes", nil)
	low, high, skips := c.attrInt("min_gram_length", 1), c.attrInt("max_gram_length", 1), c.attrInt("max_skip_count", 0)
	switch {
	case len(pool) == 0:
		c.unsupported("a pool of strings")
	case x.Type.DType.Float() || len(s) < 1 || len(s) > 2:
		c.fail("input %v", x.Type)
	case low < 1 || high < low || high > len(starts) || skips < 0 || skips > maxList:
		c.fail("n-grams of %d to %d, %d skips, ngram_counts %v", low, high, skips, starts)
	}
	width := 0
	for _, p := range places {
		if p < 0 || p > ir.MaxElems {
			c.fail("ngram_indexes %v", places)
		}
		width = max(width, p+1)
	}
	if c.err != nil || !c.spend(float64(width)+float64(len(pool))) {
		return nil
	}
	rows, length := s[:len(s)-1].Elems(), s[len(s)-1]
	x = c.cast(c.reshape(x, rows, length), ir.I64)
	var counts []*ir.Value // of each n-gram in the pool's order: [rows, n-grams]
	kept := make([]int, 0, len(places))
	at := 0 // n-grams before
	for n := 1; n <= len(starts) && c.err == nil; n++ {
		end := len(pool)
		if n < len(starts) {
			end = starts[n]
		}
		if starts[n-1] < 0 || end < starts[n-1] || end > len(pool) || (end-starts[n-1])%n != 0 {
			c.fail("ngram_counts %v for a pool of %d", starts, len(pool))
			return nil
		}
		grams := (end - starts[n-1]) / n
		if n >= low && n <= high && grams > 0 {
			counts = append(counts, c.countGrams(x, pool[starts[n-1]:end], n, skips))
			for g := range grams {
				kept = append(kept, at+g)
			}
		}
		at += grams
	}
	if at != len(places) {
		c.fail("%d ngram_indexes for %d n-grams", len(places), at)
	}
	if c.err != nil {
		return nil
	}
	counts = append(counts, c.floats(make([]float32, rows), rows, 1))
	y := c.join(1, counts...)
	weights := c.floatList("weights")
	if len(weights) > 0 && len(weights) != len(places) {
		c.fail("%d weights for %d n-grams", len(weights), len(places))
		return nil
	}
	columns, scale := slices.Repeat([]int64{int64(len(kept))}, width), make([]float32, width)
	for i, g := range kept {
		columns[places[g]] = int64(i)
		if scale[places[g]] = 1; len(weights) > 0 {
			scale[places[g]] = weights[g]
		}
	}
	y = c.pick(y, 1, columns)
	switch mode := c.attrStr("mode", ""); mode {
	case "TF":
	case "IDF":
		y = c.binary("mul", c.unary("sign", y), c.floats(scale, width))
	case "TFIDF":
		y = c.binary("mul", y, c.floats(scale, width))
	default:
		c.fail("mode %q is none of TF, IDF, TFIDF", mode)
	}
	return []*ir.Value{c.reshape(y, append(slices.Clone(s[:len(s)-1]), width)...)}
}

// countGrams counts each of the n-grams in the rows of x, over all skips; single elements have none.
func (c *context) countGrams(x *ir.Value, pool []int64, n, skips int) *ir.Value {
	rows, length, grams := x.Type.Shape[0], x.Type.Shape[1], len(pool)/n
	sum := c.zerosOf(rows, grams)
	if n == 1 {
		skips = 0
	}
	for skip := 0; skip <= skips && c.err == nil; skip++ {
		windows := length - (n-1)*(skip+1)
		if windows < 1 {
			break
		}
		var same *ir.Value
		for k := range n {
			if !c.spend(float64(grams)) {
				return sum
			}
			word := ir.Ints(make([]int64, grams), 1, grams, 1)
			for g := range grams {
				word.I[g] = pool[g*n+k]
			}
			eq := c.each("eq", c.reshape(c.cut(x, 1, k*(skip+1), windows), rows, 1, windows), c.constantOf(word))
			if same == nil {
				same = eq
			} else {
				same = c.each("and", same, eq)
			}
		}
		found := c.add(ir.Reduce{Fn: "sum", Axes: []int{2}}, c.cast(same, ir.F32))
		sum = c.binary("add", sum, c.reshape(found, rows, grams))
	}
	return sum
}

// zerosOf is a matrix of zeros.
func (c *context) zerosOf(rows, cols int) *ir.Value {
	if !c.spend(float64(rows) * float64(cols)) {
		rows = 0
	}
	return c.floats(make([]float32, rows*cols), rows, cols)
}
