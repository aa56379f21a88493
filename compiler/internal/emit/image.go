package emit

import (
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// prepare writes the function (width, height, rgb, buffer) that turns a picture into the network's
// input: resize, crop, normalise. rgb is the address of width×height×3 bytes, buffer that of room for
// one row as f32.
//
// The filter is the triangle of bilinear interpolation, widened by the scale when the picture
// shrinks, so that every source pixel counts (as Pillow's BILINEAR and torchvision's antialias do).
// It is separable: for each output row the source rows under it are summed into the buffer, then the
// buffer is sampled for each output pixel.
func (w *writer) prepare() uint32 {
	im := w.opt.Image
	p := &preparer{
		c: wasm.NewCode(i32s(4)...), im: im, dst: w.plan.Of(w.graph.In[0]).Address,
	}
	p.width, p.height, p.rgb, p.row = p.c.Param(0), p.c.Param(1), p.c.Param(2), p.c.Param(3)
	p.emit()
	return w.module.AddFunc("prepare_image", wasm.FuncType{Params: i32s(4)}, p.c)
}

type preparer struct {
	c                       *wasm.Code
	im                      *Image
	dst                     int
	width, height, rgb, row wasm.Local
	from, count             wasm.Local // first source column under the crop, and bytes of a cropped row
}

// axis is one direction of the picture: the locals of its scale and of the taps of one output pixel.
type axis struct {
	size, scale, radius, center wasm.Local // source extent, source pixels for one output pixel
	first, end                  wasm.Local // taps
	target                      int
}

func (p *preparer) axis(size wasm.Local, target int) *axis {
	c := p.c
	a := &axis{size: size, target: target, scale: c.Local(wasm.F32), radius: c.Local(wasm.F32), center: c.Local(wasm.F32),
		first: c.Local(wasm.I32), end: c.Local(wasm.I32)}
	c.Get(size).Op(wasm.F32ConvertI32U).F32(float32(target)).Op(wasm.F32Div).Set(a.scale)
	return a
}

func (p *preparer) emit() {
	c := p.c
	x, y := p.axis(p.width, p.im.Width), p.axis(p.height, p.im.Height)
	switch p.im.Fit {
	case abi.FitStretch:
	case abi.FitContain:
		c.Get(x.scale, y.scale).Op(wasm.F32Max).Tee(x.scale).Set(y.scale)
	default: // cover
		c.Get(x.scale, y.scale).Op(wasm.F32Min).Tee(x.scale).Set(y.scale)
	}
	for _, a := range []*axis{x, y} {
		c.Get(a.scale).F32(1).Op(wasm.F32Max).Set(a.radius)
	}
	p.cropped(x)
	oy, ox, iy, ix := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
	weight, ySum, xSum := c.Local(wasm.F32), c.Local(wasm.F32), c.Local(wasm.F32)
	acc, at, out := c.Local(wasm.V128), c.Local(wasm.I32), c.Local(wasm.I32)
	c.I32(int32(p.dst)).Set(out)
	c.Range(oy, 0, int32(p.im.Height), 1, func() {
		p.taps(y, oy)
		c.Get(p.row).I32(0).Get(p.count).I32(2).Op(wasm.I32Shl).I32(16).Op(wasm.I32Add).MemoryFill()
		c.F32(0).Set(ySum)
		p.within(y, func() {
			p.each(y, iy, func() {
				p.weigh(y, iy, weight)
				c.Get(ySum, weight).Op(wasm.F32Add).Set(ySum)
				p.addRow(iy, weight)
			})
		})
		c.Range(ox, 0, int32(p.im.Width), 1, func() {
			p.taps(x, ox)
			c.F32x4(0, 0, 0, 0).Set(acc).F32(0).Set(xSum)
			c.Get(p.row, x.first, p.from).Op(wasm.I32Sub).I32(12).Op(wasm.I32Mul, wasm.I32Add).Set(at)
			p.within(x, func() {
				p.each(x, ix, func() {
					p.weigh(x, ix, weight)
					c.Get(xSum, weight).Op(wasm.F32Add).Set(xSum)
					c.Get(acc, at).Load(wasm.V128Load, 0).Get(weight).Op(wasm.F32x4Splat, wasm.F32x4Mul, wasm.F32x4Add).Set(acc)
					c.Inc(at, 12)
				})
			})
			// No tap at all, beyond a contained picture, is black.
			c.Get(acc).Get(xSum, ySum).Op(wasm.F32Mul).F32(1e-20).Op(wasm.F32Max, wasm.F32x4Splat, wasm.F32x4Div).Set(acc)
			p.store(acc, out)
		})
	})
}

// cropped finds the source columns that any output pixel touches.
func (p *preparer) cropped(x *axis) {
	c := p.c
	p.from, p.count = c.Local(wasm.I32), c.Local(wasm.I32)
	o := c.Local(wasm.I32)
	p.taps(x, o)
	c.Get(x.first).Set(p.from)
	c.I32(int32(x.target - 1)).Set(o)
	p.taps(x, o)
	c.Get(x.end, p.from).Op(wasm.I32Sub).I32(3).Op(wasm.I32Mul).Set(p.count)
}

// taps sets the source pixels under output pixel o: those whose centre is within the radius.
func (p *preparer) taps(a *axis, o wasm.Local) {
	c := p.c
	// center = (o + 0.5 - target/2)·scale + size/2
	c.Get(o).Op(wasm.F32ConvertI32S).F32(0.5 - float32(a.target)/2).Op(wasm.F32Add).Get(a.scale).Op(wasm.F32Mul)
	c.Get(a.size).Op(wasm.F32ConvertI32U).F32(0.5).Op(wasm.F32Mul, wasm.F32Add).Set(a.center)
	clamp := func(to wasm.Local) {
		c.Set(to)
		c.Get(to).I32(0).Get(to).I32(0).Op(wasm.I32GtS).Select().Set(to)
		c.Get(to, a.size, to, a.size).Op(wasm.I32LtS).Select().Set(to)
	}
	c.Get(a.center, a.radius).Op(wasm.F32Sub).F32(0.5).Op(wasm.F32Sub, wasm.F32Floor, wasm.I32TruncSatF32S).I32(1).Op(wasm.I32Add)
	clamp(a.first)
	c.Get(a.center, a.radius).Op(wasm.F32Add).F32(0.5).Op(wasm.F32Sub, wasm.F32Ceil, wasm.I32TruncSatF32S)
	clamp(a.end)
}

// within runs body if the output pixel's centre lies in the picture. Beyond a contained one, taps would
// smear its edge as far as the filter reaches: half a source pixel, which of a tiny picture is much.
func (p *preparer) within(a *axis, body func()) {
	if p.im.Fit != abi.FitContain {
		body()
		return
	}
	p.c.Get(a.center).F32(0).Op(wasm.F32Ge).Get(a.center, a.size).Op(wasm.F32ConvertI32U, wasm.F32Lt, wasm.I32And).If(body)
}

// each runs body for i from the first tap to the last.
func (p *preparer) each(a *axis, i wasm.Local, body func()) {
	c := p.c
	c.Get(a.first).Set(i)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(i, a.end).Op(wasm.I32GeS).BrIf(out)
			body()
			c.Inc(i, 1).Br(top)
		})
	})
}

// weigh sets weight to max(0, 1 - |i + 0.5 - center|/radius).
func (p *preparer) weigh(a *axis, i, weight wasm.Local) {
	p.c.F32(1).Get(i).Op(wasm.F32ConvertI32S).F32(0.5).Op(wasm.F32Add).Get(a.center).Op(wasm.F32Sub, wasm.F32Abs)
	p.c.Get(a.radius).Op(wasm.F32Div, wasm.F32Sub).F32(0).Op(wasm.F32Max).Set(weight)
}

// addRow adds the cropped source row iy, times weight, to the buffer.
func (p *preparer) addRow(iy, weight wasm.Local) {
	c := p.c
	src, dst, end, bytes, wide := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.V128), c.Local(wasm.V128)
	c.Get(p.rgb, iy, p.width).Op(wasm.I32Mul).Get(p.from).Op(wasm.I32Add).I32(3).Op(wasm.I32Mul, wasm.I32Add).Tee(src)
	c.Get(p.count).Op(wasm.I32Add).Set(end)
	c.Get(p.row).Set(dst)
	c.Get(weight).Op(wasm.F32x4Splat).Set(wide)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(end, src).Op(wasm.I32Sub).I32(16).Op(wasm.I32LtS).BrIf(out)
			c.Get(src).Load(wasm.V128Load, 0).Set(bytes)
			for i, half := range []wasm.Op{wasm.I16x8ExtendLowI8x16U, wasm.I16x8ExtendHighI8x16U} {
				for j, quarter := range []wasm.Op{wasm.I32x4ExtendLowI16x8U, wasm.I32x4ExtendHighI16x8U} {
					o := uint32(32*i + 16*j)
					c.Get(dst, dst).Load(wasm.V128Load, o)
					c.Get(bytes).Op(half, quarter, wasm.F32x4ConvertI32x4S).Get(wide).Op(wasm.F32x4Mul, wasm.F32x4Add)
					c.Store(wasm.V128Store, o)
				}
			}
			c.Inc(src, 16).Inc(dst, 64).Br(top)
		})
	})
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(src, end).Op(wasm.I32GeU).BrIf(out)
			c.Get(dst, dst).Load(wasm.F32Load, 0).Get(src).Load(wasm.I32Load8U, 0).Op(wasm.F32ConvertI32S)
			c.Get(weight).Op(wasm.F32Mul, wasm.F32Add).Store(wasm.F32Store, 0)
			c.Inc(src, 1).Inc(dst, 4).Br(top)
		})
	})
}

// luma are the weights of red, green and blue in grey (ITU-R BT.601), as cameras and JPEG use them.
var luma = [3]float32{0.299, 0.587, 0.114}

// store normalises the colour in acc, writes it to the input and advances out to the next pixel.
func (p *preparer) store(acc, out wasm.Local) {
	c, im := p.c, p.im
	var k, b [3]float32 // x' = x·k + b
	for i := range 3 {
		mean, std, scale := 0., 1., 1.
		if im.Mean != nil {
			mean = im.Mean[i]
		}
		if im.Std != nil {
			std = im.Std[i]
		}
		if im.Scale != 0 {
			scale = im.Scale
		}
		k[i], b[i] = float32(scale/std), float32(-mean/std)
	}
	if im.Channels == 1 {
		for i := range luma {
			k[i] *= luma[i]
			b[i] *= luma[i]
		}
	}
	c.Get(acc).F32x4(k[0], k[1], k[2], 0).Op(wasm.F32x4Mul).F32x4(b[0], b[1], b[2], 0).Op(wasm.F32x4Add).Set(acc)
	lane := func(i byte) { c.Get(acc).Lane(wasm.F32x4ExtractLane, i) }
	if im.Channels == 1 {
		c.Get(out)
		lane(0)
		lane(1)
		c.Op(wasm.F32Add)
		lane(2)
		c.Op(wasm.F32Add).Store(wasm.F32Store, 0).Inc(out, 4)
		return
	}
	step, next := im.Width*im.Height*4, int32(4)
	if im.ChannelsLast {
		step, next = 4, 12
	}
	for i := range byte(3) {
		c.Get(out)
		lane(i)
		c.Store(wasm.F32Store, uint32(int(i)*step))
	}
	c.Inc(out, next)
}
