package emit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRecurrentMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(41, 1))
	fns := []string{"tanh", "sigmoid", "clip(0,+Inf)", "leakyrelu(0.1)", "affine(0.5,0.1)", "scaledtanh(0.7,0.9)", "softsign", "softplus",
		"above(0.2)", "elu(0.8)", "hardsigmoid(0.2,0.5)"}
	for i := range 60 {
		cell := []string{"rnn", "gru", "lstm"}[i%3]
		steps, batch, hidden := 1+r.IntN(9), 1+r.IntN(4), 1+r.IntN(21)
		if i < 9 { // long enough for a loop over panels, and over depth
			hidden = 33 + i
		}
		var text strings.Builder
		var attrs string
		matrix := func(name, from string, shape ...int) {
			dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ","), "[]")
			if from == "input" {
				fmt.Fprintf(&text, "%%%s = input f32[%s]\n", name, dims)
			} else {
				fmt.Fprintf(&text, "%%%s = const f32[%s] rand(%d)\n", name, dims, r.IntN(1000))
			}
		}
		either := func() string { return []string{"const", "input"}[r.IntN(2)] }
		linear := cell == "gru" && r.IntN(2) == 0
		gates := map[string]int{"rnn": 1, "gru": 3, "lstm": 4}[cell]
		args, outs := "%x, %r", "%y, %h1"
		matrix("x", "input", steps, batch, gates*hidden)
		weights := []string{"const", "const", "const", "input"}[r.IntN(4)]
		switch {
		case linear:
			matrix("r", weights, hidden, 3*hidden)
			matrix("b", "const", 3*hidden)
			args, attrs = args+", %b", " Linear=true"
		case cell == "gru":
			matrix("r", weights, hidden, 2*hidden)
			matrix("q", weights, hidden, hidden)
			args += ", %q"
		default:
			matrix("r", weights, hidden, gates*hidden)
		}
		matrix("h", either(), batch, hidden)
		args += ", %h"
		if cell == "lstm" {
			matrix("c", either(), batch, hidden)
			args, outs = args+", %c", outs+", %c1"
			if r.IntN(2) == 0 {
				matrix("p", either(), 3*hidden)
				args += ", %p"
			}
			if r.IntN(4) == 0 {
				attrs += " Coupled=true"
			}
		}
		if r.IntN(3) == 0 {
			attrs += " Clip=0.4"
		}
		if r.IntN(2) == 0 {
			attrs += " Reverse=true"
		}
		if r.IntN(3) == 0 {
			var lens []string
			for range batch {
				lens = append(lens, fmt.Sprint(r.IntN(steps+1)))
			}
			attrs += " Lens=[" + strings.Join(lens, ",") + "]"
		}
		f := []string{"sigmoid", "tanh", "tanh"}
		if r.IntN(2) == 0 {
			for j := range f {
				f[j] = fns[r.IntN(len(fns))]
			}
		}
		fmt.Fprintf(&text, "%s = recurrent(%s) Cell=%s F=%s G=%s H=%s%s\nreturn %s\n", outs, args, cell, f[0], f[1], f[2], attrs, outs)
		b.check("graph r\n"+text.String(), sums)
	}
}
