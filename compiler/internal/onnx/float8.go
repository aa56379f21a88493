package onnx

import "math"

// Float8 is how a type of 8 bits or 4 lays out a float: a sign, an exponent, Mantissa bits of fraction.
type Float8 struct {
	Mantissa int
	Bias     int
	Max      float32 // the greatest finite value
	Inf      bool    // there are infinities
	NaN      bool    // there is NaN
	zeroNaN  bool    // it stands where -0 would
}

var float8s = map[DType]Float8{
	F8E4M3FN:   {Mantissa: 3, Bias: 7, Max: 448, NaN: true},
	F8E4M3FNUZ: {Mantissa: 3, Bias: 8, Max: 240, NaN: true, zeroNaN: true},
	F8E5M2:     {Mantissa: 2, Bias: 15, Max: 57344, NaN: true, Inf: true},
	F8E5M2FNUZ: {Mantissa: 2, Bias: 16, Max: 57344, NaN: true, zeroNaN: true},
	F4E2M1:     {Mantissa: 1, Bias: 1, Max: 6},
}

// Float8 is the layout of a float of 8 bits or 4, if the type is one.
func (d DType) Float8() (Float8, bool) {
	f, ok := float8s[d]
	return f, ok
}

// value decodes the low bits of u, of which the type has this many.
func (f Float8) value(u uint8, bits int) float32 {
	magnitude := u & (1<<(bits-1) - 1)
	negative := u>>(bits-1)&1 == 1
	exponent, fraction := int(magnitude>>f.Mantissa), int(magnitude)&(1<<f.Mantissa-1)
	top := 1<<(bits-1-f.Mantissa) - 1
	v := math.Ldexp(float64(fraction), 1-f.Bias-f.Mantissa)
	if exponent > 0 {
		v = math.Ldexp(float64(1<<f.Mantissa+fraction), exponent-f.Bias-f.Mantissa)
	}
	switch {
	case f.zeroNaN && negative && magnitude == 0, f.Inf && exponent == top && fraction > 0,
		f.NaN && !f.Inf && !f.zeroNaN && int(magnitude) == 1<<(bits-1)-1:
		v = math.NaN()
	case f.Inf && exponent == top:
		v = math.Inf(1)
	}
	if negative {
		v = -v
	}
	return float32(v)
}

// float8s returns the elements of a tensor of such floats.
func (t *Tensor) float8s(f Float8) ([]float32, error) {
	w := t.DType.Bits()
	n, err := t.check(len(t.int32s), 8/w)
	if err != nil {
		return nil, err
	}
	out := make([]float32, n)
	for i := range out {
		var u uint8
		if t.Raw != nil {
			u = t.Raw[i*w/8]
		} else {
			u = uint8(t.int32s[i*w/8])
		}
		if out[i] = f.value(u, 8); w == 4 {
			out[i] = f.value(u>>(i%2*4)&15, 4)
		}
	}
	return out, nil
}
