package tflite

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// operator is one operator of the file while it is converted.
type operator struct {
	*converter
	base    string // of the names of its nodes: that of its first result
	in, out []int64
	opt     table
	refused string // why it stays unconverted
}

// custom is the code of operators that have a name in place of a number.
const custom = 32

func (c *converter) operator(index int, t table, codes []table) {
	n := t.int(0, 0)
	if n < 0 || n >= len(codes) {
		c.f.fail(t.at, "operator code %d of %d", n, len(codes))
		return
	}
	// Files from before the code outgrew a byte have it in the first field alone.
	code := max(int(int8(codes[n].byte(0))), codes[n].int(3, 0))
	o := &operator{converter: c, in: t.ints(1), out: t.ints(2), opt: t.table(4)}
	if len(o.out) == 0 {
		c.f.fail(t.at, "operator %d has no result", index)
		return
	}
	o.base = c.at(o.out[0]).name
	for _, i := range o.out {
		if x := c.at(i); x.value != "" || len(x.data) > 0 {
			c.f.fail(t.at, "operator %d computes tensor %q, which is there already", index, x.name)
			return
		}
	}
	for _, i := range append(append([]int64{}, o.in...), o.out...) {
		if i >= 0 && c.at(i).refuse != "" {
			o.refuse("%s", c.at(i).refuse)
		}
	}
	before := len(c.g.Nodes)
	convert := converters[code]
	if convert != nil && o.refused == "" && c.f.err == nil {
		convert(o)
		if o.refused == "" {
			return
		}
	}
	c.g.Nodes = c.g.Nodes[:before]
	name := names[code]
	switch {
	case code == custom:
		name = "CUSTOM"
		if called := codes[n].bytes(1); len(called) > 0 {
			name = "CUSTOM:" + strings.ToValidUTF8(string(called[:min(len(called), maxName)]), "?")
		}
	case name == "":
		name = fmt.Sprintf("operator number %d", code)
	}
	o.leave(name)
}

// leave keeps the operator as what it is, for package load to refuse it with all others.
func (o *operator) leave(op string) {
	node := &onnx.Node{Name: o.base, OpType: op, Domain: Domain}
	if o.refused != "" {
		node.Attrs = append(node.Attrs, text(Reason, o.refused))
	}
	// A dequantisation that was made for this operator went with its other nodes.
	for _, i := range o.in {
		if i < 0 || o.at(i).refuse != "" {
			continue
		}
		x := o.at(i)
		x.real = ""
		node.Inputs = append(node.Inputs, o.defined(x))
	}
	for _, i := range o.out {
		x := o.at(i)
		x.value = o.name(x.name + "/value")
		node.Outputs = append(node.Outputs, x.value)
	}
	o.g.Nodes = append(o.g.Nodes, node)
}

// refuse says why the operator cannot be converted.
func (o *operator) refuse(format string, args ...any) {
	if o.refused == "" {
		o.refused = fmt.Sprintf(format, args...)
	}
}

// t is the tensor of input i, which must be there.
func (o *operator) t(i int) *tensor {
	if i >= len(o.in) || o.in[i] < 0 {
		o.f.fail(o.opt.at, "%q lacks input %d", o.base, i)
		return &tensor{value: "?"}
	}
	return o.at(o.in[i])
}

func (o *operator) has(i int) bool { return i < len(o.in) && o.in[i] >= 0 }

// x is input i as floats, or as what it is if it is not quantised; raw is it in any case as it is.
func (o *operator) x(i int) string   { return o.floats(o.t(i)) }
func (o *operator) raw(i int) string { return o.defined(o.t(i)) }

func (o *operator) rank(i int) int { return len(o.t(i).shape) }

// dim is the extent of an axis of input i, 1 if it has no such axis.
func (o *operator) dim(i, axis int) int64 {
	if s := o.t(i).shape; axis < len(s) {
		return s[axis]
	}
	o.refuse("input %d has %d axes", i, o.rank(i))
	return 1
}

// list is input i as integers that are known now.
func (o *operator) list(i int) []int64 {
	t := o.t(i)
	width := t.dtype.Bits() / 8
	if t.data == nil || t.dtype != onnx.I32 && t.dtype != onnx.I64 {
		o.refuse("input %d (%s) is computed while the model runs", i, t.name)
		return nil
	}
	var out []int64
	for at := 0; at+width <= len(t.data); at += width {
		if width == 4 {
			out = append(out, int64(int32(binary.LittleEndian.Uint32(t.data[at:]))))
		} else {
			out = append(out, int64(binary.LittleEndian.Uint64(t.data[at:])))
		}
	}
	return out
}

// single is input i as one integer that is known now.
func (o *operator) single(i int) int64 {
	if l := o.list(i); len(l) == 1 {
		return l[0]
	}
	o.refuse("input %d is not one known number", i)
	return 0
}

func (o *operator) do(op string, in []string, attrs ...*onnx.Attribute) string {
	return o.node(o.base, op, in, attrs...)
}

// several adds a node of n results.
func (o *operator) several(op string, in []string, n int, attrs ...*onnx.Attribute) []string {
	first := o.do(op, in, attrs...)
	node := o.g.Nodes[len(o.g.Nodes)-1]
	for i := 1; i < n; i++ {
		node.Outputs = append(node.Outputs, o.name(fmt.Sprintf("%s:%d", first, i)))
	}
	return node.Outputs
}

// give makes v result i. The node that computed it takes the tensor's name, which reports show.
func (o *operator) give(i int, v string) {
	if i >= len(o.out) || o.refused != "" || o.f.err != nil {
		return
	}
	t := o.at(o.out[i])
	if len(o.g.Nodes) > 0 {
		if n := o.g.Nodes[len(o.g.Nodes)-1]; len(n.Outputs) == 1 && n.Outputs[0] == v && n.Name == v {
			n.Name = t.name
			if !t.quantised() {
				n.Outputs[0], v = t.name, t.name
			}
		}
	}
	t.value = v
	if t.quantised() {
		t.value = o.quantize(t, v)
	}
}

// first and last turn pictures channels first and last.
func (o *operator) first(v string) string { return o.turn(v, 0, 3, 1, 2) }
func (o *operator) last(v string) string  { return o.turn(v, 0, 2, 3, 1) }

func (o *operator) turn(v string, perm ...int64) string {
	return o.do("Transpose", []string{v}, integers("perm", perm...))
}

func (o *operator) clip(v string, lo, hi float32) string {
	return o.do("Clip", []string{v, o.number(o.base, lo), o.number(o.base, hi)})
}

// activated applies the activation that the option in a slot names.
func (o *operator) activated(v string, slot int) string {
	switch a := o.opt.byte(slot); a {
	case 0:
		return v
	case 1:
		return o.do("Relu", []string{v})
	case 2:
		return o.clip(v, -1, 1)
	case 3:
		return o.clip(v, 0, 6)
	case 4:
		return o.do("Tanh", []string{v})
	default:
		o.refuse("fused activation number %d", a)
		return v
	}
}

// padding is auto_pad of the option in a slot.
func (o *operator) padding(slot int) *onnx.Attribute {
	if o.opt.byte(slot) == 0 {
		return text("auto_pad", "SAME_UPPER")
	}
	return text("auto_pad", "VALID")
}

func integer(name string, v int64) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrInt, I: v}
}

func integers(name string, v ...int64) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrInts, Ints: v}
}

func float(name string, v float32) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrFloat, F: v}
}

func text(name, v string) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrString, S: []byte(v)}
}

// end is the place behind the last element, and before the first for slices that run backwards.
const end = math.MaxInt32
