package ir

import (
	"fmt"
	"math"
)

// RoiAlign pools regions of pictures (ONNX RoiAlign version 22). Each bin of a region holds a grid of samples,
// blended from the four elements around them; a sample farther than one element outside the picture is 0.
//
//	x [N, H, W, C]   regions [R, 4]: x and y of two corners   pictures i64 [R]   → [R, Height, Width, C]
type RoiAlign struct {
	Height, Width int
	Scale         float32 // of the regions' numbers to elements of x
	Half          bool    // elements have their centres at ½; else a region is at least one element large
	Samples       int     // of a bin along each axis; 0: one for each element of x that it spans
	Max           bool    // the greatest of the weighted elements, not the mean of the samples
}

// MaxSamples bounds what Samples 0 asks for along an axis: an element of x each up to a bin of 1024, beyond
// which a region reaches far out of any picture and would take hours.
const MaxSamples = 1024

// Name implements [Op].
func (RoiAlign) Name() string { return "roialign" }

// Infer implements [Op].
func (o RoiAlign) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	if err := wantFloat(in[:2]); err != nil {
		return nil, err
	}
	x, r, p := in[0].Shape, in[1].Shape, in[2]
	if len(x) != 4 || len(r) != 2 || r[1] != 4 || p.DType != I64 || len(p.Shape) != 1 || p.Shape[0] != r[0] ||
		o.Height < 1 || o.Width < 1 || o.Samples < 0 || o.Samples > MaxSamples || x.Elems() == 0 {
		return nil, fmt.Errorf("regions %v of pictures %v from %v, %dx%d bins of %d samples", r, p, x, o.Height, o.Width, o.Samples)
	}
	return []Type{Of(F32, r[0], o.Height, o.Width, x[3])}, nil
}

// side is where a region begins along an axis, how far it is from sample to sample, and the samples of a bin.
func (o RoiAlign) side(from, to float32, bins int) (start, step float32, samples int) {
	from, to = from*o.Scale, to*o.Scale
	length := to - from
	if o.Half {
		from -= 0.5
	} else {
		length = max(length, 1)
	}
	bin := length / float32(bins)
	samples = o.Samples
	if samples == 0 {
		if up := float32(math.Ceil(float64(bin))); up > 0 {
			samples = int(min(up, MaxSamples))
		}
	}
	return from, bin / float32(max(samples, 1)), samples
}

// Work is the number of samples that the regions take.
func (o RoiAlign) Work(regions *Tensor) float64 {
	var n float64
	for r := range regions.Shape[0] {
		b := regions.F[4*r:]
		_, _, across := o.side(b[0], b[2], o.Width)
		_, _, down := o.side(b[1], b[3], o.Height)
		n += float64(o.Height*o.Width) * float64(across) * float64(down)
	}
	return n
}

// between tells between which two elements of an axis a sample lies, and how near it is to the second.
func between(at float32, extent int) (low, high int, near float32, inside bool) {
	if !(at >= -1 && at <= float32(extent)) {
		return 0, 0, 0, false
	}
	at = min(max(at, 0), float32(extent-1))
	low = int(at)
	return low, min(low+1, extent-1), at - float32(low), true
}

// Eval implements [Op].
func (o RoiAlign) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := o.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y, s := NewTensor(out[0]), in[0].Shape
	at := y.F
	for r := range in[1].Shape[0] {
		picture := in[2].I[r]
		if picture < 0 {
			picture += int64(s[0])
		}
		if picture < 0 || picture >= int64(s[0]) {
			return nil, fmt.Errorf("region %d is of picture %d of %d", r, in[2].I[r], s[0])
		}
		x, b := in[0].F[int(picture)*s[1]*s[2]*s[3]:], in[1].F[4*r:]
		x0, dx, across := o.side(b[0], b[2], o.Width)
		y0, dy, down := o.side(b[1], b[3], o.Height)
		for bin := range o.Height * o.Width {
			pool := at[:s[3]]
			at = at[s[3]:]
			if o.Max && down*across > 0 {
				for i := range pool {
					pool[i] = float32(math.Inf(-1))
				}
			}
			for k := range down * across {
				top, bottom, v, in0 := between(y0+(float32(bin/o.Width*down+k/across)+0.5)*dy, s[1])
				left, right, h, in1 := between(x0+(float32(bin%o.Width*across+k%across)+0.5)*dx, s[2])
				if in0 && in1 {
					o.sample(pool, x, [4]int{top*s[2] + left, top*s[2] + right, bottom*s[2] + left, bottom*s[2] + right},
						[4]float32{(1 - v) * (1 - h), (1 - v) * h, v * (1 - h), v * h})
				} else if o.Max {
					for i := range pool {
						pool[i] = max(pool[i], 0)
					}
				}
			}
			if n := down * across; n > 0 && !o.Max {
				for i := range pool {
					pool[i] /= float32(n)
				}
			}
		}
	}
	return []*Tensor{y}, nil
}

// sample adds one sample to all channels of a bin.
func (o RoiAlign) sample(pool, x []float32, corners [4]int, weights [4]float32) {
	for i := range pool {
		var v [4]float32
		for k, c := range corners {
			v[k] = x[c*len(pool)+i] * weights[k]
		}
		if o.Max {
			pool[i] = max(pool[i], v[0], v[1], v[2], v[3])
		} else {
			pool[i] += v[0] + v[1] + v[2] + v[3]
		}
	}
}
