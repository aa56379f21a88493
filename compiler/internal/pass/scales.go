package pass

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// scales lets integer products whose operand is quantised while the model runs scale their sums, which then
// leave them as floats: the cast, the product with the scales of both operands, a constant bias behind it, and
// the activation are four passes over memory less. It is the same arithmetic in the same order. What
// quantize_dynamic makes of MobileNetV2's layers went, with the integer kernels, from 42.9 to 4.8 ms in wazero,
// the f32 model takes 5.8 (docs/benchmarks.md).
func scales(g *ir.Graph) error {
	s := scaler{made: producers(g), uses: g.Uses(), r: readersOf(g)}
	nodes := make([]*ir.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		fresh, err := s.floats(n)
		if err != nil {
			return err
		}
		if fresh == nil {
			nodes = append(nodes, n)
			s.extend(n)
			continue
		}
		nodes = append(nodes, fresh...)
		s.r.add(fresh...)
		for _, m := range fresh {
			s.made[m.Out[0]], s.uses[m.Out[0]] = m, 1
		}
		last := fresh[len(fresh)-1].Out[0]
		s.uses[last] = s.uses[n.Out[0]]
		s.r.rename(n.Out[0], last)
	}
	g.Nodes = nodes
	return removeDead(g)
}

type scaler struct {
	made map[*ir.Value]*ir.Node
	uses map[*ir.Value]int
	r    *readers
}

// sums returns the integer product that v is, or is a view of with the same columns, if nothing else reads it.
func (s *scaler) sums(v *ir.Value, to ir.DType) (*ir.Node, ir.IntConv) {
	shape := v.Type.Shape
	for n := s.made[v]; n != nil && s.uses[v] == 1; n = s.made[v] {
		switch op := n.Op.(type) {
		case ir.IntConv:
			if op.To != to || len(shape) == 0 || shape[len(shape)-1] != n.In[2].Type.Shape[0] {
				return nil, op
			}
			return n, op
		case ir.Reshape:
			v = n.In[0]
		default:
			return nil, ir.IntConv{}
		}
	}
	return nil, ir.IntConv{}
}

// floats returns the nodes for n, a product of the cast of integer sums with scales, or nil.
func (s *scaler) floats(n *ir.Node) ([]*ir.Node, error) {
	b, ok := n.Op.(ir.Binary)
	if !ok || b.Fn != "mul" || n.Out[0].Type.DType != ir.F32 {
		return nil, nil
	}
	for i, v := range n.In {
		cast := s.made[v]
		if cast == nil || s.uses[v] != 1 || !v.Type.Equal(n.Out[0].Type) {
			continue
		}
		if _, ok := cast.Op.(ir.Cast); !ok {
			continue
		}
		conv, op := s.sums(cast.In[0], ir.I32)
		if conv == nil {
			continue
		}
		columns := conv.In[2].Type.Shape[0]
		factor, each := s.split(n.In[1-i], columns)
		if each == nil {
			continue
		}
		op.To = ir.F32
		in := slices.Clone(conv.In)
		in[3] = ir.ConstValue(n.Name+".scale", ir.Floats(each, columns))
		if len(in) == 4 { // the zero point is known
			zero := ir.NewTensor(ir.Of(in[0].Type.DType))
			zero.I[0] = int64(op.Zero)
			in, op.Zero = append(in, ir.ConstValue(n.Name+".zero", zero)), 0
		}
		in = append(in, factor, ir.ConstValue(n.Name+".bias", ir.NewTensor(ir.Of(ir.F32, columns))))
		return chain(conv.Name, n.Out[0].Type.Shape, op, in...)
	}
	return nil, nil
}

// split reads v as one factor that may be computed, times a constant for each column; each is nil if v is
// something else.
func (s *scaler) split(v *ir.Value, columns int) (factor *ir.Value, each []float32) {
	one := func() *ir.Tensor { return ir.Floats([]float32{1}) }
	if v.Const != nil {
		return ir.ConstValue(v.Name, one()), perChannel(v.Const, columns)
	}
	if n := s.made[v]; n != nil {
		if b, ok := n.Op.(ir.Binary); ok && b.Fn == "mul" {
			for i, c := range n.In {
				if f := n.In[1-i]; c.Const != nil && f.Const == nil && f.Type.Shape.Elems() == 1 {
					return f, perChannel(c.Const, columns)
				}
			}
		}
	}
	if v.Type.Shape.Elems() == 1 {
		return v, perChannel(one(), columns)
	}
	return nil, nil
}

// extend makes n part of the integer product before it: the sum with a constant, or a function.
func (s *scaler) extend(n *ir.Node) {
	for i, v := range n.In {
		conv, op := s.sums(v, ir.F32)
		if conv == nil || op.Act.Fn != "" || !v.Type.Equal(n.Out[0].Type) {
			continue
		}
		switch f := n.Op.(type) {
		case ir.Unary:
			op.Act = f
			conv.Op = op
		case ir.Binary:
			c := n.In[1-i].Const
			if f.Fn != "add" || c == nil || slices.ContainsFunc(conv.In[6].Const.F, func(v float32) bool { return v != 0 }) {
				continue
			}
			each := perChannel(c, len(conv.In[6].Const.F))
			if each == nil {
				continue
			}
			conv.In = slices.Clone(conv.In)
			conv.In[6] = ir.ConstValue(n.Name+".bias", ir.Floats(each, len(each)))
		default:
			continue
		}
		s.uses[v] = s.uses[n.Out[0]]
		s.r.rename(n.Out[0], v)
		return
	}
}
