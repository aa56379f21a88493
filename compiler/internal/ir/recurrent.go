package ir

import (
	"fmt"
	"slices"
)

// Recurrent walks one direction of a recurrent layer over a sequence (ONNX RNN, GRU and LSTM version
// 14). The product of the input with its weights, all biases included that may be added to it, is
// already made:
//
//	rnn    x [T, B, H],  r [H, H], h [B, H]               → y [T, B, H], h [B, H]
//	gru    x [T, B, 3H], r [H, 2H], rh [H, H], h           gates z, r, h; with Linear r [H, 3H], rb [3H], h
//	lstm   x [T, B, 4H], r [H, 4H], h, c [B, H], (p [3H])  → …, c [B, H]; gates i, o, f, c; p for i, o, f
type Recurrent struct {
	Cell    string // rnn, gru, lstm
	F, G, H Unary  // activations, as the specification names them
	Clip    float32
	Reverse bool  // the last step first
	Linear  bool  // gru: the reset gate applies after the product
	Coupled bool  // lstm: the forget gate is 1 - input gate
	Lens    []int // steps of each sequence of the batch; empty: all
}

// Name implements [Op].
func (Recurrent) Name() string { return "recurrent" }

// gates is the number of blocks in a row of x.
func (r Recurrent) gates() int { return map[string]int{"rnn": 1, "gru": 3, "lstm": 4}[r.Cell] }

// States is the number of outputs behind y, which is that of inputs that begin as states.
func (r Recurrent) States() int {
	if r.Cell == "lstm" {
		return 2
	}
	return 1
}

// Weights is the number of inputs between x and the first state.
func (r Recurrent) Weights() int {
	if r.Cell == "gru" {
		return 2
	}
	return 1
}

// Infer implements [Op].
func (r Recurrent) Infer(in []Type) ([]Type, error) {
	g := r.gates()
	if g == 0 {
		return nil, fmt.Errorf("no cell %q", r.Cell)
	}
	if r.Linear && r.Cell != "gru" || r.Coupled && r.Cell != "lstm" {
		return nil, fmt.Errorf("linear is for gru and coupled for lstm, the cell is %s", r.Cell)
	}
	n := 1 + r.Weights() + r.States()
	extra := 0
	if r.Cell == "lstm" {
		extra = 1
	}
	if err := arity(in, n, n+extra); err != nil {
		return nil, err
	}
	if err := wantFloat(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(x) != 3 || x[2]%g != 0 || x.Elems() == 0 {
		return nil, fmt.Errorf("input is %v, wants [steps, batch, %d·hidden]", x, g)
	}
	h := x[2] / g
	state := Shape{x[1], h}
	want := []Shape{x}
	switch {
	case r.Cell != "gru":
		want = append(want, Shape{h, g * h})
	case r.Linear:
		want = append(want, Shape{h, 3 * h}, Shape{3 * h})
	default:
		want = append(want, Shape{h, 2 * h}, Shape{h, h})
	}
	want = append(want, slices.Repeat([]Shape{state}, r.States())...)
	want = append(want, Shape{3 * h})
	for i, t := range in {
		if !slices.Equal(t.Shape, want[i]) {
			return nil, fmt.Errorf("input %d is %v, wants %v", i, t.Shape, want[i])
		}
	}
	for _, u := range []Unary{r.F, r.G, r.H} {
		if _, ok := unaryFns[u.Fn]; !ok && u.Fn != "" {
			return nil, fmt.Errorf("no function %q", u.Fn)
		}
	}
	if len(r.Lens) > 0 && len(r.Lens) != x[1] {
		return nil, fmt.Errorf("%d lengths for a batch of %d", len(r.Lens), x[1])
	}
	for _, n := range r.Lens {
		if n < 0 || n > x[0] {
			return nil, fmt.Errorf("a length of %d for %d steps", n, x[0])
		}
	}
	out := []Type{Of(F32, x[0], x[1], h)}
	for range r.States() {
		out = append(out, Type{F32, slices.Clone(state)})
	}
	return out, nil
}

// Scratch implements [Scratcher]: the gates of one step.
func (r Recurrent) Scratch(in []Type) int { return in[0].Shape[1:].Elems() * F32.Size() }

// MACs is the number of multiply-adds of the recurrence.
func (r Recurrent) MACs(in, _ []Type) int {
	x := in[0].Shape
	return x.Elems() * x[2] / r.gates()
}

// Eval implements [Op].
func (r Recurrent) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := r.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y := NewTensor(out[0])
	steps, batch, hidden := y.Shape[0], y.Shape[1], y.Shape[2]
	res := []*Tensor{y}
	states := in[1+r.Weights():]
	for i := range r.States() {
		s := NewTensor(out[1+i])
		copy(s.F, states[i].F)
		res = append(res, s)
	}
	var peep []float32
	if len(states) > r.States() {
		peep = states[r.States()].F
	}
	width := hidden * r.gates()
	for b := range batch {
		n := steps
		if len(r.Lens) > 0 {
			n = r.Lens[b]
		}
		h := res[1].F[b*hidden:][:hidden]
		var c []float32
		if r.Cell == "lstm" {
			c = res[2].F[b*hidden:][:hidden]
		}
		for t := range n {
			if r.Reverse {
				t = n - 1 - t
			}
			x := in[0].F[(t*batch+b)*width:][:width]
			switch r.Cell {
			case "rnn":
				g := vecMat(x, h, in[1].F)
				for i := range h {
					h[i] = r.gate(r.F, g[i])
				}
			case "gru":
				r.gru(x, h, in)
			case "lstm":
				r.lstm(vecMat(x, h, in[1].F), h, c, peep)
			}
			copy(y.F[(t*batch+b)*hidden:], h)
		}
	}
	return res, nil
}

// gate clips and activates. What leaves the cell of an lstm is not clipped: the specification speaks of
// the input of activations, and ONNX Runtime does it for gates alone.
func (r Recurrent) gate(u Unary, x float32) float32 {
	if r.Clip > 0 {
		x = min(max(x, -r.Clip), r.Clip)
	}
	return r.act(u, x)
}

func (r Recurrent) act(u Unary, x float32) float32 {
	if u.Fn == "" {
		return x
	}
	return u.apply(x)
}

func (r Recurrent) gru(x, h []float32, in []*Tensor) {
	n := len(h)
	if r.Linear {
		g := vecMat(in[2].F, h, in[1].F)
		for i := range h {
			z := r.gate(r.F, x[i]+g[i])
			reset := r.gate(r.F, x[n+i]+g[n+i])
			h[i] = (1-z)*r.gate(r.G, x[2*n+i]+reset*g[2*n+i]) + z*h[i]
		}
		return
	}
	g := vecMat(x[:2*n], h, in[1].F)
	kept := make([]float32, n)
	for i := range h {
		kept[i] = r.gate(r.F, g[n+i]) * h[i]
	}
	candidate := vecMat(x[2*n:], kept, in[2].F)
	for i := range h {
		z := r.gate(r.F, g[i])
		h[i] = (1-z)*r.gate(r.G, candidate[i]) + z*h[i]
	}
}

func (r Recurrent) lstm(g, h, c, peep []float32) {
	n := len(h)
	for i := range h {
		gi, gf, out := g[i], g[2*n+i], g[n+i]
		if peep != nil {
			gi, gf = gi+peep[i]*c[i], gf+peep[2*n+i]*c[i]
		}
		input := r.gate(r.F, gi)
		forget := 1 - input
		if !r.Coupled {
			forget = r.gate(r.F, gf)
		}
		c[i] = forget*c[i] + input*r.gate(r.G, g[3*n+i])
		if peep != nil {
			out += peep[n+i] * c[i]
		}
		h[i] = r.gate(r.F, out) * r.act(r.H, c[i])
	}
}

// vecMat returns start + v·m for a matrix with len(start) columns.
func vecMat(start, v, m []float32) []float32 {
	acc := make([]float64, len(start))
	for k, x := range v {
		for j, w := range m[k*len(start):][:len(start)] {
			acc[j] += float64(x) * float64(w)
		}
	}
	out := make([]float32, len(start))
	for j := range out {
		out[j] = start[j] + float32(acc[j])
	}
	return out
}
