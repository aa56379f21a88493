package load

import (
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// The operators of this file are those of models that are quantised while they run. Scales and zero points
// are computed, so nothing here is a dequantised value between two known grids: products with constants
// are integer operators from the beginning, and a pass lets them scale their sums.

func init() {
	maps.Copy(converters, map[string]converter{
		"DynamicQuantizeLinear": dynamicQuantizeLinear, "ConvInteger": convInteger, "MatMulInteger": matMulInteger,

		"com.microsoft.DynamicQuantizeMatMul": dynamicQuantizeMatMul, "com.microsoft.MatMulIntegerToFloat": matMulIntegerToFloat,
	})
}

// dynamicQuantizeLinear converts DynamicQuantizeLinear (version 11).
func dynamicQuantizeLinear(c *context) []*ir.Value {
	y, step, zero := c.onGrid(c.input(0))
	return []*ir.Value{y, step, zero}
}

// onGrid quantises x to bytes over its own range.
func (c *context) onGrid(x *ir.Value) (y, step, zero *ir.Value) {
	g := c.addAll(ir.Grid{}, x)
	return c.add(ir.OnGrid{}, x, g[0], g[1]), g[0], g[1]
}

// shifted is an integer operand minus its zero point, as floats, which are exact: differences of bytes.
func (c *context) shifted(q, zero *ir.Value, axis int) *ir.Value {
	y := c.float(q)
	if zero != nil {
		y = c.binary("sub", y, c.float(c.spreadOver(zero, grid{axis: axis}, q.Type.Shape)))
	}
	return y
}

// weightsOf are weights minus their zero point; nil if one of them is computed, or there are none.
func (c *context) weightsOf(q, zero *ir.Value, axis int) *ir.Value {
	if t := q.Type; c.err != nil || q.Const == nil || zero != nil && zero.Const == nil || t.DType != ir.U8 && t.DType != ir.I8 || t.Shape.Elems() == 0 {
		return nil
	}
	return c.cast(c.shifted(q, zero, axis), ir.I16)
}

// isBytes reports whether x, with its zero point, is an input of [ir.IntConv].
func isBytes(x, zero *ir.Value) bool {
	t := x.Type
	return (t.DType == ir.U8 || t.DType == ir.I8) && t.Shape.Elems() > 0 && (zero == nil || zero.Type.DType == t.DType)
}

// oneZero reports whether a tensor has no more than one zero point.
func oneZero(zero *ir.Value) bool { return zero == nil || zero.Type.Shape.Elems() == 1 }

// sums convolves bytes with integers, channels last, to i32. A zero point is one for all of x.
func (c *context) sums(op ir.IntConv, x, zero, w *ir.Value) *ir.Value {
	op.To = ir.I32
	n := w.Type.Shape[len(w.Type.Shape)-1]
	if !c.spend(float64(2 * n)) {
		return x
	}
	scales := c.floats(slices.Repeat([]float32{1}, n), n)
	in := []*ir.Value{x, w, c.constantOf(ir.NewTensor(ir.Of(ir.I32, n))), scales}
	switch {
	case zero == nil:
	case zero.Const != nil:
		op.Zero = int(zero.Const.I[0])
	default:
		in = append(in, zero)
	}
	return c.add(op, in...)
}

// convInteger converts ConvInteger (version 10).
func convInteger(c *context) []*ir.Value {
	x, w, zero := c.input(0), c.input(1), c.optional(2)
	ws, n := w.Type.Shape, len(x.Type.Shape)-2
	if isBytes(x, zero) && oneZero(zero) && n >= 1 && n <= 2 && len(ws) == n+2 {
		if q := c.weightsOf(w, c.optional(3), 0); q != nil {
			win := c.window(ws[2:], x.Type.Shape[2:])
			op := ir.IntConv{Strides: win.strides, Dilations: win.dilations, Pads: win.pads, Group: c.attrInt("group", 1)}
			return []*ir.Value{c.channelsFirst(c.sums(op, c.channelsLast(x), zero, c.kernelFirst(q)))}
		}
	}
	y := c.with(conv, c.shifted(x, zero, 0), c.shifted(w, c.optional(3), 0))
	return []*ir.Value{c.add(ir.Cast{To: ir.I32}, y)}
}

// matMulInteger converts MatMulInteger (version 10).
func matMulInteger(c *context) []*ir.Value {
	a, b, zero := c.input(0), c.input(1), c.optional(2)
	column := max(len(b.Type.Shape)-1, 0)
	if isBytes(a, zero) {
		if groups := productGroups(a.Type.Shape, b.Type.Shape, zero); groups > 0 {
			if w := c.weightsOf(b, c.optional(3), column); w != nil {
				return []*ir.Value{c.integerProduct(a, zero, w, groups)}
			}
		}
	}
	y := c.with(matmul, c.shifted(a, zero, max(len(a.Type.Shape)-2, 0)), c.shifted(b, c.optional(3), column))
	return []*ir.Value{c.add(ir.Cast{To: ir.I32}, y)}
}

// maxGroups bounds the matrices of one product, each of which is a call of a kernel.
const maxGroups = 256

// productGroups is how many groups of channels one convolution needs to multiply a by b: 1 where all rows of a
// meet all of b, the matrices of b where each meets its own; 0 where one convolution cannot.
func productGroups(a, b ir.Shape, zero *ir.Value) int {
	if len(b) < 2 || len(a) == 0 || a[len(a)-1] != b[len(b)-2] || len(a) == 1 && (len(b) > 2 || !oneZero(zero)) {
		return 0
	}
	matrices := b[:len(b)-2]
	switch {
	case matrices.Elems() == 1, a[:len(a)-2].Elems() == 1:
		return 1
	case slices.Equal(a[:len(a)-2], matrices) && matrices.Elems() <= maxGroups:
		return matrices.Elems()
	}
	return 0
}

// integerProduct multiplies bytes by a constant of integers. Zero points of the rows of a come off the product:
// each is as many times the sum of a column.
func (c *context) integerProduct(a, zero, w *ir.Value, groups int) *ir.Value {
	as, ws := a.Type.Shape, w.Type.Shape
	depth, n, matrices := ws[len(ws)-2], ws[len(ws)-1], ws[:len(ws)-2]
	rows := as[:len(as)-1].Elems() / groups
	x, whole := a, zero
	if groups > 1 { // rows take their groups side by side
		x = c.transpose(c.reshape(a, groups, rows, depth), 1, 0, 2)
	}
	if !oneZero(zero) {
		whole = nil
	}
	columns := c.transpose(c.reshape(w, matrices.Elems(), depth, n), 1, 0, 2)
	op := ir.IntConv{Strides: []int{1}, Dilations: []int{1}, Pads: []int{0, 0}, Group: groups}
	y := c.sums(op, c.reshape(x, 1, rows, groups*depth), whole, c.reshape(columns, 1, depth, matrices.Elems()*n))
	shape := slices.Concat(as[:len(as)-1], ir.Shape{n})
	if matrices.Elems() > 1 {
		y = c.transpose(c.reshape(y, rows, matrices.Elems(), n), 1, 0, 2)
		shape = slices.Concat(matrices, ir.Shape{rows, n})
	}
	ones := max(len(as), len(ws)) - len(shape)
	if len(as) > 1 && ones > 0 {
		shape = slices.Concat(slices.Repeat(ir.Shape{1}, ones), shape)
	}
	y = c.reshape(y, shape...)
	if whole != zero {
		each := c.cast(c.spreadOver(zero, grid{axis: max(len(as)-2, 0)}, as), ir.I32)
		of := c.add(ir.Reduce{Fn: "sum", Axes: []int{len(ws) - 2}}, c.cast(w, ir.I32))
		y = c.binary("sub", y, c.binary("mul", each, c.reshape(of, slices.Concat(matrices, ir.Shape{1, n})...)))
	}
	return y
}

// dynamicQuantizeMatMul converts com.microsoft.DynamicQuantizeMatMul: A is quantised over its own range.
func dynamicQuantizeMatMul(c *context) []*ir.Value {
	a, step, zero := c.onGrid(c.input(0))
	return []*ir.Value{c.scaledProduct(a, zero, c.optional(3), c.binary("mul", step, c.input(2)), c.optional(4))}
}

// matMulIntegerToFloat converts com.microsoft.MatMulIntegerToFloat.
func matMulIntegerToFloat(c *context) []*ir.Value {
	scale := c.binary("mul", c.input(2), c.input(3))
	return []*ir.Value{c.scaledProduct(c.input(0), c.optional(4), c.optional(5), scale, c.optional(6))}
}

// scaledProduct multiplies a by input 1, both less their zero points, scales the sums and adds a bias.
func (c *context) scaledProduct(a, zeroA, zeroB, scale, bias *ir.Value) *ir.Value {
	y := c.binary("mul", c.float(c.with(matMulInteger, a, c.input(1), zeroA, zeroB)), scale)
	if bias != nil {
		y = c.binary("add", y, bias)
	}
	return y
}
