package emit

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// call is one use of a kernel: what it computes and the addresses that it gets.
type call struct {
	kernel kernel.Kernel
	args   []int
}

// lowerer turns nodes into calls.
type lowerer struct {
	plan  *plan.Plan
	calls []call
}

// maxCalls bounds the calls of one model. MobileNetV2 has 66; a model of a few hundred bytes could ask
// for a call for each of a thousand million pictures.
const maxCalls = 1 << 18

// calls is the number of kernel calls that n may take, where it is not a small constant.
func calls(n *ir.Node) int {
	switch op := n.Op.(type) {
	case ir.Conv:
		return n.In[0].Type.Shape[0] * op.Group
	case ir.Concat:
		return len(n.In)
	case ir.Pool:
		return n.In[0].Type.Shape[0]
	case ir.MatMul:
		y := n.Out[0].Type.Shape
		return y[:len(y)-2].Elems()
	case ir.Product:
		a := n.In[0].Type.Shape
		row := len(a) - 2
		if op.A != nil {
			row = op.A[row]
		}
		return 2 * n.Out[0].Type.Shape.Elems() / max(1, a[row]*n.In[2].Type.Shape[0])
	case ir.Recurrent:
		return len(op.Lens)
	case ir.IntConv:
		return n.In[0].Type.Shape[0]*(op.Group+1) + 1
	case ir.Gather:
		if idx := n.In[1].Const; idx != nil {
			return min(len(idx.I), maxRuns)
		}
	}
	return 1
}

func (l *lowerer) call(k kernel.Kernel, args ...int) { l.calls = append(l.calls, call{k, args}) }

// node appends the calls that compute n.
func (l *lowerer) node(n *ir.Node) error {
	if len(l.calls)+calls(n) > maxCalls {
		return fmt.Errorf("the model needs more than %d kernel calls", maxCalls)
	}
	for _, v := range n.Out {
		if !l.plan.IsView(v) {
			l.clearHalo(l.plan.Of(v))
		}
	}
	in := make([]plan.Layout, len(n.In))
	for i, v := range n.In {
		if !packed(n.Op, i) || v.Const == nil {
			in[i] = l.plan.Of(v)
		}
	}
	out := l.plan.Of(n.Out[0])
	switch op := n.Op.(type) {
	case ir.Conv:
		return l.conv(op, n, in, out)
	case ir.MatMul:
		return l.matmul(op, n, in, out)
	case ir.Product:
		l.product(op, n, in, out)
		return nil
	case ir.Unary:
		return l.mapped(kernel.Map{Act: act(op)}, out, in[0])
	case ir.Binary:
		if in[0].DType != ir.F32 {
			return l.each(kernel.Each{Fn: op.Fn}, out, in)
		}
		return l.mapped(kernel.Map{Fn: op.Fn}, out, broadcast(in[0], out.Shape), broadcast(in[1], out.Shape))
	case ir.Reshape:
		if l.plan.IsView(n.Out[0]) {
			return nil
		}
		return l.reshape(out, in[0])
	case ir.Expand:
		return l.copy(out, broadcast(in[0], out.Shape))
	case ir.Transpose:
		return l.copy(out, permuted(in[0], op.Perm))
	case ir.Slice:
		return l.copy(out, sliced(in[0], op))
	case ir.Pad:
		return l.pad(op, out, in[0])
	case ir.Concat:
		return l.concat(op, n, in, out)
	case ir.Gather:
		return l.gather(op, n, in[0], out)
	case ir.Reduce:
		return l.reduce(op, in[0], out)
	case ir.Pool:
		l.pool(op, in[0], out)
		return nil
	case ir.LayerNorm:
		l.layerNorm(op, in, out)
		return nil
	case ir.Softmax:
		last := in[0].Shape[len(in[0].Shape)-1]
		l.call(kernel.Softmax{Rows: in[0].Shape.Elems() / last, N: last}, out.Address, in[0].Address)
		return nil
	case ir.Recurrent:
		return l.recurrent(op, n, in)
	case ir.Trees:
		return l.trees(op, n, in, out)
	case ir.Classify:
		l.classify(op, in[0], out)
		return nil
	case ir.NonMaxSuppression:
		l.nonMaxSuppression(op, n, in, out)
		return nil
	case ir.RoiAlign:
		l.roiAlign(op, n, in, out)
		return nil
	case ir.Quantize:
		return l.quantize(op, in[0], out)
	case ir.Dequantize:
		return l.dequantize(op, in[0], out)
	case ir.Grid:
		l.call(kernel.Grid{N: in[0].Shape.Elems()}, out.Address, l.plan.Of(n.Out[1]).Address, in[0].Address)
		return nil
	case ir.OnGrid:
		l.call(kernel.OnGrid{N: out.Shape.Elems()}, out.Address, in[0].Address, in[1].Address, in[2].Address)
		return nil
	case ir.IntConv:
		return l.intConv(op, n, in[0], out)
	case ir.IntBinary:
		l.intBinary(op, n, in, out)
		return nil
	case ir.Lookup:
		l.call(kernel.Lookup{N: out.Shape.Elems()}, out.Address, in[0].Address, in[1].Address)
		return nil
	}
	return l.typed(n, in, out)
}

func (l *lowerer) concat(op ir.Concat, n *ir.Node, in []plan.Layout, out plan.Layout) error {
	at := 0
	for i, x := range in {
		extent := n.In[i].Type.Shape[op.Axis]
		if err := l.copy(part(out, op.Axis, at, extent), x); err != nil {
			return err
		}
		at += extent
	}
	return nil
}

func (l *lowerer) layerNorm(op ir.LayerNorm, in []plan.Layout, out plan.Layout) {
	last := in[0].Shape[len(in[0].Shape)-1]
	if rows := in[0].Shape.Elems() / max(last, 1); rows > 0 {
		l.call(kernel.LayerNorm{Rows: rows, N: last, Eps: op.Eps}, out.Address, in[0].Address, in[1].Address, in[2].Address)
	}
}

func (l *lowerer) nonMaxSuppression(op ir.NonMaxSuppression, n *ir.Node, in []plan.Layout, out plan.Layout) {
	s := n.In[1].Type.Shape
	l.call(kernel.NonMaxSuppression{
		Pictures: s[0], Classes: s[1], N: s[2], Most: op.Most, IoU: op.IoU, Score: op.Score, Center: op.Center,
	}, out.Address, in[0].Address, in[1].Address, l.plan.Scratch(n))
}

func (l *lowerer) roiAlign(op ir.RoiAlign, n *ir.Node, in []plan.Layout, out plan.Layout) {
	s := n.In[0].Type.Shape
	l.call(kernel.RoiAlign{
		Pictures: s[0], H: s[1], W: s[2], C: s[3], Regions: n.In[1].Type.Shape[0], Height: op.Height, Width: op.Width,
		Scale: op.Scale, Half: op.Half, Max: op.Max, Samples: op.Samples, Most: ir.MaxSamples,
	}, out.Address, in[0].Address, in[1].Address, in[2].Address)
}

// packed reports whether input i of op, if it is constant, gets a place of its own making: panels of
// weights, or indices that become addresses. Laying it out as it stands would ship it twice.
func packed(op ir.Op, i int) bool {
	switch op := op.(type) {
	case ir.Conv, ir.MatMul:
		return i == 1 || i == 2
	case ir.Product:
		return i == 2
	case ir.Gather:
		return i == 1
	case ir.Recurrent:
		return i >= 1 && i <= op.Weights()
	case ir.Trees, ir.IntConv:
		return i >= 1
	}
	return false
}

func act(u ir.Unary) kernel.Act { return kernel.Act{Fn: u.Fn, P: u.P} }

// clearHalo writes zeros around a value: the arena is reused, so the room holds what was there before.
func (l *lowerer) clearHalo(v plan.Layout) {
	if v.Dense() {
		return
	}
	v, halo := planar(v)
	top, left, bottom, right := halo[0], halo[1], halo[2], halo[3]
	n, h, w := v.Shape[0], v.Shape[1], v.Shape[2]
	image, row, pixel := v.Strides[0], v.Strides[1], v.Strides[2]
	fill := func(at, count, step, bytes int) {
		if count > 0 && bytes > 0 {
			l.call(kernel.Fill{
				Extent: kernel.Dims{1, 1, 1, n, count, bytes / 4},
				Out:    kernel.Dims{0, 0, 0, image, step, 4},
			}, at)
		}
	}
	first := v.Address - top*row - left*pixel
	fill(first, 1, 0, top*row+left*pixel)
	fill(v.Address+w*pixel, h-1, row, (right+left)*pixel)
	fill(v.Address+(h-1)*row+w*pixel, 1, 0, right*pixel+bottom*row)
}

// planar gives a value with one spatial axis a second one of extent 1 before it, so that what has one
// or two is alike: [N, H, W, C], halo before H and W, then after them.
func planar(v plan.Layout) (plan.Layout, plan.Halo) {
	halo := v.Halo
	if len(v.Shape) == 3 {
		v.Shape = slices.Insert(slices.Clone(v.Shape), 1, 1)
		v.Strides = slices.Insert(slices.Clone(v.Strides), 1, v.Strides[0])
		if halo != nil {
			halo = plan.Halo{0, halo[0], 0, halo[1]}
		}
	}
	if halo == nil {
		halo = plan.Halo{0, 0, 0, 0}
	}
	return v, halo
}

// planar2 extends attributes of one spatial axis to two.
func planar2(v []int, absent int) (y, x int) {
	if len(v) == 1 {
		return absent, v[0]
	}
	return v[0], v[1]
}

func broadcast(x plan.Layout, to ir.Shape) plan.Layout {
	st := make([]int, len(to))
	for i, d := range x.Shape {
		if d != 1 {
			st[len(to)-len(x.Shape)+i] = x.Strides[i]
		}
	}
	x.Shape, x.Strides = to, st
	return x
}

func permuted(x plan.Layout, perm []int) plan.Layout {
	y := x
	y.Strides, y.Shape = make([]int, len(perm)), make(ir.Shape, len(perm))
	for i, p := range perm {
		y.Strides[i], y.Shape[i] = x.Strides[p], x.Shape[p]
	}
	return y
}

func sliced(x plan.Layout, s ir.Slice) plan.Layout {
	y := x
	y.Shape, y.Strides = s.Count, slices.Clone(x.Strides)
	for i, at := range s.Start {
		y.Address += at * x.Strides[i]
		y.Strides[i] *= s.Step[i]
	}
	return y
}

// part is the n elements of axis of x from at on.
func part(x plan.Layout, axis, at, n int) plan.Layout {
	x.Address += at * x.Strides[axis]
	x.Shape = slices.Clone(x.Shape)
	x.Shape[axis] = n
	return x
}

// reshape copies a dense value into a buffer of another shape that has room around it.
func (l *lowerer) reshape(out, in plan.Layout) error {
	in.Strides, in.Shape = plan.Dense(ir.Type{DType: in.DType, Shape: out.Shape}), out.Shape
	return l.copy(out, in)
}

func (l *lowerer) copy(out, in plan.Layout) error {
	if out.Shape.Elems() == 0 {
		return nil
	}
	dims, err := fit(out.Shape, [][]int{out.Strides, in.Strides})
	if err != nil {
		return err
	}
	if size := out.DType.Size(); size != 4 {
		l.call(kernel.Copy{Size: size, Extent: dims[0], Out: dims[1], In: dims[2]}, out.Address, in.Address)
		return nil
	}
	if t, ok := transpose(dims[0], dims[1], dims[2]); ok {
		l.call(t, out.Address, in.Address)
		return nil
	}
	return l.mapped(kernel.Map{}, out, in)
}

// transpose is the kernel for a copy whose last output axis lies together in the output, and another
// axis in the input.
func transpose(extent, out, in kernel.Dims) (kernel.Transpose, bool) {
	const last = kernel.MaxDims - 1
	for i := range last {
		if in[i] != 4 || extent[i] == 1 || out[last] != 4 || in[last] == 4 || in[last] == 0 || extent[last] == 1 {
			continue
		}
		t := kernel.Transpose{
			Outer: extent, OutStep: out, InStep: in,
			I: extent[i], J: extent[last], OutRow: out[i], InRow: in[last],
		}
		t.Outer[i], t.Outer[last] = 1, 1
		return t, true
	}
	return kernel.Transpose{}, false
}

// mapped fills in the extents and strides of m and calls it; all operands have out's shape.
func (l *lowerer) mapped(m kernel.Map, out plan.Layout, in ...plan.Layout) error {
	if !m.Act.Supported() {
		return fmt.Errorf("no kernel computes %s", m.Act.Fn)
	}
	strides := [][]int{out.Strides}
	args := []int{out.Address}
	for _, x := range in {
		strides = append(strides, x.Strides)
		args = append(args, x.Address)
	}
	dims, err := fit(out.Shape, strides)
	if err != nil {
		return err
	}
	m.Extent, m.Out, m.A = dims[0], dims[1], dims[2]
	if len(in) > 1 {
		m.B = dims[3]
	}
	if out.Shape.Elems() > 0 {
		l.call(m, args...)
	}
	return nil
}

// fit merges neighbouring axes that every operand steps through evenly and returns the extents and
// each operand's strides.
func fit(shape ir.Shape, strides [][]int) ([]kernel.Dims, error) {
	var extent []int
	merged := make([][]int, len(strides))
	for i, d := range shape {
		if d == 1 {
			continue
		}
		last := len(extent) - 1
		joins := last >= 0
		for k, st := range strides {
			joins = joins && merged[k][last] == st[i]*d
		}
		if joins {
			extent[last] *= d
			for k, st := range strides {
				merged[k][last] = st[i]
			}
			continue
		}
		extent = append(extent, d)
		for k, st := range strides {
			merged[k] = append(merged[k], st[i])
		}
	}
	if len(extent) > kernel.MaxDims {
		return nil, fmt.Errorf("%d axes of %v cannot be merged; kernels loop over at most %d", len(extent), shape, kernel.MaxDims)
	}
	out := make([]kernel.Dims, len(strides)+1)
	for i := range kernel.MaxDims {
		out[0][i] = 1
		for k := range strides {
			out[k+1][i] = 4
		}
		if j := i - kernel.MaxDims + len(extent); j >= 0 {
			out[0][i] = extent[j]
			for k := range strides {
				out[k+1][i] = merged[k][j]
			}
		}
	}
	return out, nil
}

func (l *lowerer) pad(op ir.Pad, out, in plan.Layout) error {
	dims, err := fit(out.Shape, [][]int{out.Strides})
	if err != nil {
		return err
	}
	if out.DType == ir.F32 {
		l.call(kernel.Fill{Extent: dims[0], Out: dims[1], Value: op.Value}, out.Address)
	} else {
		l.call(kernel.FillElems{Size: out.DType.Size(), Extent: dims[0], Out: dims[1], Bits: op.Int}, out.Address)
	}
	for i := range in.Shape {
		out = part(out, i, op.Pads[i], in.Shape[i])
	}
	return l.copy(out, in)
}

// maxRuns is how many runs of constant indices are copied one by one, each by a kernel that vectorises;
// beyond it the indices lie in a table and one kernel goes through them.
const maxRuns = 16

// runs are the ends of the runs of neighbouring indices.
func runs(idx []int64) []int {
	var ends []int
	for i := range idx {
		if i+1 == len(idx) || idx[i+1] != idx[i]+1 {
			ends = append(ends, i+1)
		}
	}
	return ends
}

// repeats is how many times the places name each of n elements in a row, as those of a picture made larger
// by a whole factor do; 0 if they name something else. As one copy it is four times as fast as by a table.
func repeats(places []int64, n int) int {
	if n == 0 || len(places)%n != 0 {
		return 0
	}
	times := len(places) / n
	for i, p := range places {
		if p != int64(i/times) {
			return 0
		}
	}
	return times
}

// split makes two axes of one, the second of extent n.
func split(x plan.Layout, axis, n int) plan.Layout {
	step := x.Strides[axis]
	x.Shape = slices.Insert(slices.Clone(x.Shape), axis+1, n)
	x.Strides = slices.Insert(slices.Clone(x.Strides), axis+1, step)
	x.Shape[axis] /= n
	x.Strides[axis] *= n
	return x
}

// repeated puts an axis of extent n behind axis, along which x repeats.
func repeated(x plan.Layout, axis, n int) plan.Layout {
	x.Shape = slices.Insert(slices.Clone(x.Shape), axis+1, n)
	x.Strides = slices.Insert(slices.Clone(x.Strides), axis+1, 0)
	return x
}

// gather copies each run of neighbouring indices at once.
func (l *lowerer) gather(op ir.Gather, n *ir.Node, in, out plan.Layout) error {
	idx := n.In[1].Const
	if idx == nil {
		return l.gatherAtRunTime(op, l.plan.Of(n.In[1]), in, out)
	}
	extent := in.Shape[op.Axis]
	places := ir.NewTensor(ir.Of(ir.I32, len(idx.I)))
	for i, k := range idx.I {
		places.I[i] = (k + int64(extent)) % int64(extent)
	}
	// The output's index axes are dense: they count as one.
	flat := out
	flat.Shape = slices.Concat(in.Shape[:op.Axis], ir.Shape{len(idx.I)}, in.Shape[op.Axis+1:])
	flat.Strides = plan.Dense(ir.Type{DType: out.DType, Shape: flat.Shape})
	if times := repeats(places.I, extent); times > 1 && len(flat.Shape) < kernel.MaxDims {
		return l.copy(split(flat, op.Axis, times), repeated(in, op.Axis, times))
	}
	ends := runs(places.I)
	if len(ends) > maxRuns {
		table := plan.Layout{Address: l.plan.Consts.Tensor(places), Strides: []int{4}, Shape: places.Shape, DType: ir.I32}
		return l.gatherAtRunTime(op, table, in, out)
	}
	from := 0
	for _, end := range ends {
		if err := l.copy(part(flat, op.Axis, from, end-from), part(in, op.Axis, int(places.I[from]), end-from)); err != nil {
			return err
		}
		from = end
	}
	return nil
}

func (l *lowerer) reduce(op ir.Reduce, in, out plan.Layout) error {
	var keep, fold ir.Shape
	var keepSt, foldSt []int
	for i, d := range in.Shape {
		if slices.Contains(op.Axes, i) {
			fold, foldSt = append(fold, d), append(foldSt, in.Strides[i])
		} else {
			keep, keepSt = append(keep, d), append(keepSt, in.Strides[i])
		}
	}
	k, err := fit(keep, [][]int{keepSt})
	if err != nil {
		return err
	}
	f, err := fit(fold, [][]int{foldSt})
	if err != nil {
		return err
	}
	if in.DType != ir.F32 {
		l.call(kernel.ReduceInts{Fn: op.Fn, T: elem(in.DType), Keep: k[0], KeepIn: k[1], Fold: f[0], FoldIn: f[1]}, out.Address, in.Address)
		return nil
	}
	l.call(kernel.Reduce{Fn: op.Fn, Keep: k[0], KeepIn: k[1], Fold: f[0], FoldIn: f[1]}, out.Address, in.Address)
	return nil
}

func (l *lowerer) pool(op ir.Pool, in, out plan.Layout) {
	in, _ = planar(in)
	out, _ = planar(out)
	k := kernel.Pool{
		Fn: op.Fn, C: in.Shape[3], H: in.Shape[1], W: in.Shape[2], OH: out.Shape[1], OW: out.Shape[2],
		CountPad: op.CountPad,
		AY:       in.Strides[1], AX: in.Strides[2], CY: out.Strides[1], CX: out.Strides[2],
	}
	k.KH, k.KW = planar2(op.Kernel, 1)
	k.SH, k.SW = planar2(op.Strides, 1)
	k.DH, k.DW = planar2(op.Dilations, 1)
	k.SH, k.SW = single(k.OH, k.SH), single(k.OW, k.SW)
	k.DH, k.DW = single(k.KH, k.DH), single(k.KW, k.DW)
	n := len(op.Pads) / 2
	k.PadTop, k.PadLeft = planar2(op.Pads[:n], 0)
	k.PadBottom, k.PadRight = planar2(op.Pads[n:], 0)
	for b := range in.Shape[0] {
		l.call(k, out.Address+b*out.Strides[0], in.Address+b*in.Strides[0])
	}
}
