package compiler

import (
	"math"

	"github.com/isomer-iot/isomer/abi"
)

// prepared is what the module makes of a picture, written plainly: for each output pixel the mean of the
// source pixels around it under a triangle as wide as the scale, first along rows and then along columns.
// Positions are in f32, as in the module, so that both agree on which pixels touch.
func prepared(w, h int, rgb []byte, im abi.ImageSpec) []float64 {
	sx, sy := float32(w)/float32(im.Width), float32(h)/float32(im.Height)
	switch im.Fit {
	case abi.FitCover:
		sx = min(sx, sy)
		sy = sx
	case abi.FitContain:
		sx = max(sx, sy)
		sy = sx
	}
	outside := im.Fit == abi.FitContain
	rows := make([]float64, h*im.Width*3)
	for x := range im.Width {
		first, weights := triangle(x, im.Width, w, sx, outside)
		for y := range h {
			for i, f := range weights {
				for c := range 3 {
					rows[(y*im.Width+x)*3+c] += f * float64(rgb[(y*w+first+i)*3+c])
				}
			}
		}
	}
	out := make([]float64, im.Height*im.Width*3)
	for y := range im.Height {
		first, weights := triangle(y, im.Height, h, sy, outside)
		to := out[y*im.Width*3 : (y+1)*im.Width*3]
		for i, f := range weights {
			for x, v := range rows[(first+i)*im.Width*3:][:len(to)] {
				to[x] += f * v
			}
		}
		for x := range to {
			to[x] = (to[x]*im.Scale - im.Mean[x%3]) / im.Std[x%3]
		}
	}
	return out
}

// triangle gives the source pixels under output pixel o of to, n source pixels in all, and their weights:
// none where the position lies outside and such pixels are to be black.
func triangle(o, to, n int, scale float32, outside bool) (first int, weights []float64) {
	at := float32((float32(o)+(0.5-float32(to)/2))*scale) + float32(n)/2
	if outside && (at < 0 || at >= float32(n)) {
		return 0, nil
	}
	width := max(float64(scale), 1)
	first = min(max(int(math.Floor(float64(at)-width-0.5)), 0), n-1)
	last := min(max(int(math.Ceil(float64(at)+width)), first), n-1)
	sum := 0.
	for i := first; i <= last; i++ {
		f := max(0, 1-math.Abs(float64(i)+0.5-float64(at))/width)
		weights = append(weights, f)
		sum += f
	}
	for i := range weights {
		weights[i] /= sum
	}
	return first, weights
}
