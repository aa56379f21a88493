package load

import (
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func init() { converters["NonMaxSuppression"] = nonMaxSuppression }

// nonMaxSuppression converts NonMaxSuppression (versions 10 and 11); see ir.NonMaxSuppression for what
// a static shape makes of it.
func nonMaxSuppression(c *context) []*ir.Value {
	boxes, scores := c.input(0), c.input(1)
	op := ir.NonMaxSuppression{
		IoU: c.scalar(3, "", 0), Score: c.scalar(4, "", float32(math.Inf(-1))), Center: c.attrInt("center_point_box", 0) != 0,
	}
	most := c.constant(2)
	if c.err != nil {
		return nil
	}
	if most == nil || most.DType.Float() || most.Shape.Elems() != 1 || most.I[0] < 1 {
		c.unsupported("without a number of boxes for each class it selects none")
		return nil
	}
	if len(boxes.Type.Shape) != 3 {
		c.fail("boxes are %v", boxes.Type.Shape)
		return nil
	}
	op.Most = min(toInt(most.I[0]), boxes.Type.Shape[1])
	y := c.add(op, boxes, scores)
	// The model may say how many boxes there are: the first ones, then.
	if said := c.declared(0); c.err == nil && len(said) == 2 && said[0] > 0 && said[0] < y.Type.Shape[0] {
		y = c.cut(y, 0, 0, said[0])
	}
	return []*ir.Value{y}
}
