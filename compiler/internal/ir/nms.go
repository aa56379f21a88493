package ir

import (
	"fmt"
	"math"
)

// NonMaxSuppression selects boxes (ONNX NonMaxSuppression version 11). The number of boxes that it finds
// is known only when it has run, and shapes are static: the result has room for Most boxes of each
// class of each picture, the selected ones come first, and rows of -1 fill the rest.
//
//	boxes [B, N, 4]   scores [B, C, N]   → i64 [B·C·Most, 3]: picture, class, box
type NonMaxSuppression struct {
	Most   int // for each class
	IoU    float32
	Score  float32 // boxes at most as good are left out
	Center bool    // boxes are x, y of the centre, width, height; else two corners, y and x
}

// Name implements [Op].
func (NonMaxSuppression) Name() string { return "nms" }

// Infer implements [Op].
func (o NonMaxSuppression) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if err := wantFloat(in); err != nil {
		return nil, err
	}
	b, s := in[0].Shape, in[1].Shape
	if len(b) != 3 || len(s) != 3 || b[2] != 4 || b[0] != s[0] || b[1] != s[2] || o.Most < 1 || o.Most > b[1] {
		return nil, fmt.Errorf("boxes %v and scores %v for %d boxes of a class", b, s, o.Most)
	}
	return []Type{Of(I64, b[0]*s[1]*o.Most, 3)}, nil
}

// Scratch implements [Scratcher]: a byte for each box, which says whether it is still to be had.
func (o NonMaxSuppression) Scratch(in []Type) int { return in[0].Shape[1] }

// corners are the lower and the upper ends of box b on both axes.
func (o NonMaxSuppression) corners(b []float32) (y0, x0, y1, x1 float32) {
	if o.Center {
		return b[1] - b[3]/2, b[0] - b[2]/2, b[1] + b[3]/2, b[0] + b[2]/2
	}
	return min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])
}

// covers reports whether two boxes share more than IoU of the area of both.
func (o NonMaxSuppression) covers(a, b []float32) bool {
	ay0, ax0, ay1, ax1 := o.corners(a)
	by0, bx0, by1, bx1 := o.corners(b)
	h, w := min(ay1, by1)-max(ay0, by0), min(ax1, bx1)-max(ax0, bx0)
	shared := max(h, 0) * max(w, 0)
	return shared > o.IoU*((ay1-ay0)*(ax1-ax0)+(by1-by0)*(bx1-bx0)-shared)
}

// Eval implements [Op].
func (o NonMaxSuppression) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := o.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y := NewTensor(out[0])
	for i := range y.I {
		y.I[i] = -1
	}
	n, classes, at := in[0].Shape[1], in[1].Shape[1], 0
	for pair := range in[0].Shape[0] * classes {
		boxes, scores := in[0].F[pair/classes*n*4:], in[1].F[pair*n:][:n]
		gone := make([]bool, n)
		for range o.Most {
			best, top := -1, float32(math.Inf(-1))
			for i, s := range scores {
				if !gone[i] && s > o.Score && (best < 0 || s > top) {
					best, top = i, s
				}
			}
			if best < 0 {
				break
			}
			copy(y.I[at:], []int64{int64(pair / classes), int64(pair % classes), int64(best)})
			at += 3
			gone[best] = true
			for i := range gone {
				gone[i] = gone[i] || o.covers(boxes[4*best:], boxes[4*i:])
			}
		}
	}
	return []*Tensor{y}, nil
}
