// Package picture turns picture files into the bytes that modules take: 8-bit RGB, row by row, the way
// up that the camera meant. Use it to read a file that a user names; never for resizing or normalising,
// which happens inside the module so that each layer gets the same answer.
//
// Internal to the command; v0, so it may change until 1.0.
package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // each import registers a format with image.Decode
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// MaxPixels bounds what a header may claim: a 108-megapixel phone camera passes, a forged header that
// would take gigabytes does not.
const MaxPixels = 120_000_000

// ErrPicture is what every error of this package unwraps to.
var ErrPicture = errors.New("bad picture")

// RGB is a picture: 3 bytes a pixel, rows from the top, no padding.
type RGB struct {
	Width, Height int
	Pix           []byte
}

// Decode reads a JPEG, PNG, GIF (first frame), WebP or BMP. It turns a JPEG upright by its orientation
// tag and lays transparent pixels over white.
func Decode(file []byte) (RGB, error) {
	if len(file) == 0 {
		return RGB{}, fmt.Errorf("%w: the file is empty", ErrPicture)
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(file))
	if errors.Is(err, image.ErrFormat) {
		return RGB{}, fmt.Errorf("%w: not a JPEG, PNG, GIF, WebP or BMP (it begins with %q)", ErrPicture, file[:min(len(file), 8)])
	}
	if err != nil {
		return RGB{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > MaxPixels/cfg.Height {
		return RGB{}, fmt.Errorf("%w: %d×%d pixels, want 1 to %d megapixels", ErrPicture, cfg.Width, cfg.Height, MaxPixels/1_000_000)
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return RGB{}, fmt.Errorf("%w: %s: %w", ErrPicture, format, err)
	}
	p := flatten(img)
	if format == "jpeg" {
		p = p.upright(orientation(file))
	}
	return p, nil
}

// FromRaw takes bytes that are RGB already.
func FromRaw(pix []byte, width, height int) (RGB, error) {
	if width < 1 || height < 1 || width > MaxPixels/height {
		return RGB{}, fmt.Errorf("%w: %d×%d pixels, want 1 to %d megapixels", ErrPicture, width, height, MaxPixels/1_000_000)
	}
	if want := width * height * 3; len(pix) != want {
		return RGB{}, fmt.Errorf("%w: %d bytes, %d×%d RGB has %d", ErrPicture, len(pix), width, height, want)
	}
	return RGB{Width: width, Height: height, Pix: pix}, nil
}

func flatten(img image.Image) RGB {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	// Through image.RGBA: draw has quick paths to it for what the decoders return, At has none.
	rgba := image.NewRGBA(image.Rect(0, 0, w, h))
	if o, ok := img.(interface{ Opaque() bool }); !ok || !o.Opaque() {
		draw.Draw(rgba, rgba.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	}
	draw.Draw(rgba, rgba.Rect, img, b.Min, draw.Over)
	pix := make([]byte, 0, w*h*3)
	for i := 0; i < len(rgba.Pix); i += 4 {
		pix = append(pix, rgba.Pix[i], rgba.Pix[i+1], rgba.Pix[i+2])
	}
	return RGB{Width: w, Height: h, Pix: pix}
}

// upright undoes an EXIF orientation, 1 to 8.
func (p RGB) upright(orientation int) RGB {
	w, h := p.Width, p.Height
	// source gives the stored pixel that belongs at x, y of the upright picture.
	var source func(x, y int) (int, int)
	switch orientation {
	case 2: // mirrored
		source = func(x, y int) (int, int) { return w - 1 - x, y }
	case 3: // half a turn
		source = func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case 4: // upside down, mirrored
		source = func(x, y int) (int, int) { return x, h - 1 - y }
	case 5: // rows are columns
		source = func(x, y int) (int, int) { return y, x }
	case 6: // the camera stood on its right side
		source = func(x, y int) (int, int) { return y, h - 1 - x }
	case 7: // rows are columns, both from the far end
		source = func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }
	case 8: // the camera stood on its left side
		source = func(x, y int) (int, int) { return w - 1 - y, x }
	default:
		return p
	}
	out := RGB{Width: w, Height: h, Pix: make([]byte, 0, len(p.Pix))}
	if orientation >= 5 {
		out.Width, out.Height = h, w
	}
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := source(x, y)
			at := 3 * (sy*w + sx)
			out.Pix = append(out.Pix, p.Pix[at:at+3]...)
		}
	}
	return out
}
