package isomer

import (
	"context"
	"fmt"
	"image"
	"image/color"

	"github.com/isomer-iot/isomer/abi"
)

// Image is a picture as modules take it: 8-bit RGB, three bytes a pixel, rows from top to bottom
// without gaps.
type Image struct {
	Width, Height int
	RGB           []byte
}

// maxSide keeps width × height × 3 within 64 bits on each machine.
const maxSide = 1 << 20

func (i Image) check() error {
	if i.Width < 1 || i.Height < 1 || i.Width > maxSide || i.Height > maxSide {
		return fmt.Errorf("%w: image of %d×%d pixels, want 1 to %d each", ErrArgument, i.Width, i.Height, maxSide)
	}
	if want := int64(i.Width) * int64(i.Height) * 3; want != int64(len(i.RGB)) {
		return fmt.Errorf("%w: image of %d×%d pixels has %d bytes, want %d (8-bit RGB)", ErrArgument, i.Width, i.Height, len(i.RGB), want)
	}
	return nil
}

// ImageOf converts a picture of the standard library. Transparency is put on black, as the colours
// of image/color are premultiplied with it.
func ImageOf(src image.Image) Image {
	b := src.Bounds()
	out := Image{Width: b.Dx(), Height: b.Dy(), RGB: make([]byte, b.Dx()*b.Dy()*3)}
	at := 0
	put := func(r, g, b uint8) {
		out.RGB[at], out.RGB[at+1], out.RGB[at+2] = r, g, b
		at += 3
	}
	// The two types that JPEG and PNG decode to most often; the general way costs ten times as much.
	switch p := src.(type) {
	case *image.YCbCr:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				c := p.COffset(x, y)
				put(color.YCbCrToRGB(p.Y[p.YOffset(x, y)], p.Cb[c], p.Cr[c]))
			}
		}
	case *image.RGBA:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			row := p.Pix[p.PixOffset(b.Min.X, y):]
			for x := range b.Dx() {
				put(row[4*x], row[4*x+1], row[4*x+2])
			}
		}
	default:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				r, g, bl, _ := src.At(x, y).RGBA()
				put(uint8(r>>8), uint8(g>>8), uint8(bl>>8))
			}
		}
	}
	return out
}

// CallImage calls a function that takes an image. Size and preparation are the module's business:
// give the picture as it is. The answer's encoding is in the manifest, JSON by default.
func (m *Module) CallImage(ctx context.Context, fn string, img Image) ([]byte, error) {
	return m.CallImageInto(ctx, nil, fn, img)
}

// CallImageInto is CallImage with the answer in dst's memory where it fits.
func (m *Module) CallImageInto(ctx context.Context, dst []byte, fn string, img Image) ([]byte, error) {
	if err := img.check(); err != nil {
		return nil, fmt.Errorf("isomer: %s: %w", fn, err)
	}
	c, err := m.begin(ctx, fn, len(img.RGB))
	if err != nil {
		return nil, err
	}
	switch c.f.Convention {
	case abi.Image, abi.WasmtubeImage:
		dst, err = c.dispatch(dst, img.RGB, img.Width, img.Height)
	default:
		err = fmt.Errorf("%w: %s takes no image, its convention is %s (Call)", ErrArgument, fn, c.f.Convention)
	}
	if err = c.end(err, len(dst)); err != nil {
		return nil, err
	}
	return dst, nil
}
