package emit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// network draws a graph as load makes them: channels first, with transposes around what wants channels
// last, normalisation as a product and a sum, residuals, branches and heads.
type network struct {
	r      *rand.Rand
	text   strings.Builder
	shapes map[string]ir.Shape
	names  []string
}

// add appends a statement and returns the name of its value.
func (n *network) add(shape ir.Shape, format string, args ...any) string {
	name := fmt.Sprintf("%%v%d", len(n.names))
	fmt.Fprintf(&n.text, "%s = %s\n", name, fmt.Sprintf(format, args...))
	n.names = append(n.names, name)
	n.shapes[name] = shape
	return name
}

func (n *network) constant(shape ...int) string {
	name := fmt.Sprintf("%%c%d", n.text.Len())
	fmt.Fprintf(&n.text, "%s = const f32%v rand(%d)\n", name, ir.Shape(shape), n.text.Len())
	return name
}

// pick returns a value for which ok holds, the latest with the odds of a coin, or "".
func (n *network) pick(ok func(s ir.Shape) bool) string {
	for range 20 {
		i := len(n.names) - 1
		if n.r.IntN(2) == 0 {
			i = n.r.IntN(len(n.names))
		}
		if ok(n.shapes[n.names[i]]) {
			return n.names[i]
		}
	}
	return ""
}

func (n *network) conv(x string) {
	s := n.shapes[x]
	c, h, w := s[1], s[2], s[3]
	k, stride, pad, group, oc := 1+n.r.IntN(3), 1+n.r.IntN(2), n.r.IntN(2), 1, 1+n.r.IntN(9)
	if n.r.IntN(3) == 0 {
		group, oc = c, c
	}
	if h+2*pad < k || w+2*pad < k {
		return
	}
	oh, ow := (h+2*pad-k)/stride+1, (w+2*pad-k)/stride+1
	wt, b := n.constant(k, k, c/group, oc), n.constant(oc)
	l := n.add(ir.Shape{s[0], h, w, c}, "transpose(%s) Perm=[0,2,3,1]", x)
	y := n.add(ir.Shape{s[0], oh, ow, oc}, "conv(%s, %s, %s) Strides=[%d,%d] Dilations=[1,1] Pads=[%d,%d,%d,%d] Group=%d", l, wt, b, stride, stride, pad, pad, pad, pad, group)
	y = n.add(ir.Shape{s[0], oc, oh, ow}, "transpose(%s) Perm=[0,3,1,2]", y)
	if n.r.IntN(2) == 0 { // normalisation
		y = n.add(n.shapes[y], "binary(%s, %s) Fn=mul", y, n.constant(oc, 1, 1))
		y = n.add(n.shapes[y], "binary(%s, %s) Fn=%s", y, n.constant(oc, 1, 1), []string{"add", "sub"}[n.r.IntN(2)])
	}
	if n.r.IntN(2) == 0 {
		n.act(y)
	}
}

func (n *network) act(x string) {
	n.add(n.shapes[x], "unary(%s) Fn=%s", x, []string{"clip P=[0,6]", "clip P=[0,+Inf]", "tanh", "hardswish", "sigmoid", "neg", "leakyrelu P=[0.1,0]"}[n.r.IntN(7)])
}

func (n *network) step() {
	planes := func(s ir.Shape) bool { return len(s) == 4 }
	x := n.pick(func(ir.Shape) bool { return true })
	s := n.shapes[x]
	switch n.r.IntN(12) {
	case 0, 1, 2, 3:
		if x := n.pick(planes); x != "" {
			n.conv(x)
		}
	case 4:
		n.act(x)
	case 5, 6: // residual
		y := n.pick(func(t ir.Shape) bool { return slices.Equal(s, t) })
		if y != "" {
			n.add(s, "binary(%s, %s) Fn=%s", x, y, []string{"add", "add", "add", "mul", "max"}[n.r.IntN(5)])
		}
	case 7: // gate by a value for each channel, as squeeze and excitation
		if len(s) == 4 {
			m := n.add(ir.Shape{s[0], s[1], 1, 1}, "reduce(%s) Fn=mean Axes=[2,3]", x)
			m = n.add(n.shapes[m], "unary(%s) Fn=sigmoid", m)
			n.add(s, "binary(%s, %s) Fn=mul", x, m)
		}
	case 8:
		y := n.pick(func(t ir.Shape) bool {
			return len(t) == 4 && len(s) == 4 && t[0] == s[0] && slices.Equal(t[2:], s[2:])
		})
		if y != "" {
			n.add(ir.Shape{s[0], s[1] + n.shapes[y][1], s[2], s[3]}, "concat(%s, %s) Axis=1", x, y)
		}
	case 9:
		if len(s) == 4 && s[2] > 1 {
			n.add(ir.Shape{s[0], s[1], s[2] - 1, s[3]}, "slice(%s) Start=[0,0,%d,0] Count=[%d,%d,%d,%d] Step=[1,1,-1,1]", x, s[2]-1, s[0], s[1], s[2]-1, s[3])
		}
	case 10:
		if len(s) == 4 && s[2] > 1 && s[3] > 1 {
			l := n.add(ir.Shape{s[0], s[2], s[3], s[1]}, "transpose(%s) Perm=[0,2,3,1]", x)
			p := n.add(ir.Shape{s[0], s[2] - 1, s[3] - 1, s[1]}, "pool(%s) Fn=%s Kernel=[2,2] Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0]", l, []string{"max", "avg"}[n.r.IntN(2)])
			n.add(ir.Shape{s[0], s[1], s[2] - 1, s[3] - 1}, "transpose(%s) Perm=[0,3,1,2]", p)
		}
	case 11: // head
		flat := s[1:].Elems()
		f := n.add(ir.Shape{s[0], flat}, "reshape(%s) Shape=[%d,%d]", x, s[0], flat)
		if flat > 400 {
			return
		}
		oc := 1 + n.r.IntN(6)
		y := n.add(ir.Shape{s[0], oc}, "matmul(%s, %s, %s)", f, n.constant(flat, oc), n.constant(oc))
		if n.r.IntN(2) == 0 {
			n.add(ir.Shape{s[0], oc}, "softmax(%s)", y)
		}
	}
}

// TestRandomNetworks checks what single operators do not show: that each pass keeps the meaning of a
// graph whose values have several readers, and that buffers which share the arena do not overlap.
func TestRandomNetworks(t *testing.T) {
	b := newBench(t)
	for seed := range uint64(150) {
		n := &network{r: rand.New(rand.NewPCG(seed, 9)), shapes: map[string]ir.Shape{}}
		s := ir.Shape{1 + n.r.IntN(2), 1 + n.r.IntN(5), 1 + n.r.IntN(7), 1 + n.r.IntN(7)}
		n.add(s, "input f32%v", s)
		n.add(s, "input f32%v", s)
		for range 4 + n.r.IntN(14) {
			n.step()
		}
		outs := []string{n.names[len(n.names)-1]}
		for range n.r.IntN(3) {
			if o := n.names[n.r.IntN(len(n.names))]; !slices.Contains(outs, o) && o != "%v0" && o != "%v1" {
				outs = append(outs, o)
			}
		}
		if len(n.names) == 2 {
			continue
		}
		// Each layer multiplies the error of the one before it by its gain, which is up to √K here.
		b.check("graph network\n"+n.text.String()+"return "+strings.Join(outs, ", ")+"\n", 1e-3)
	}
}
