package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// statements collects the shapes that the model states in full, for [context.declared].
func (l *loader) statements(g *onnx.Graph) {
	for _, v := range slices.Concat(g.ValueInfo, g.Outputs) {
		if !v.HasShape {
			continue
		}
		s := ir.Shape{}
		for _, d := range v.Shape {
			if !d.Known || d.Value < 0 || d.Value > ir.MaxElems {
				s = nil
				break
			}
			s = append(s, int(d.Value))
		}
		if s != nil && s.Check() == nil {
			l.said[v.Name] = s
		}
	}
}

// declared is the shape that the model itself states for output i of the node, nil if it does not or
// leaves an extent open. Where a shape or a count is computed while the model runs, the statement says
// what it must be.
func (c *context) declared(i int) ir.Shape {
	if i >= len(c.Outputs) {
		return nil
	}
	return c.said[c.Outputs[i]]
}
