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
	_ "image/gif" // each import registers a format with image.Decode
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"

	"github.com/isomer-iot/isomer"
)

// MaxPixels bounds what a header may claim: a 108-megapixel phone camera passes, a forged header that
// would take gigabytes does not.
const MaxPixels = 120_000_000

// ErrPicture is what every error of this package unwraps to.
var ErrPicture = errors.New("bad picture")

// Decode reads a JPEG, PNG, GIF (first frame), WebP or BMP. It turns a JPEG upright by its orientation
// tag; what is transparent is black, as isomer.ImageOf has it.
func Decode(file []byte) (isomer.Image, error) {
	if len(file) == 0 {
		return isomer.Image{}, fmt.Errorf("%w: the file is empty", ErrPicture)
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(file))
	if errors.Is(err, image.ErrFormat) {
		return isomer.Image{}, fmt.Errorf("%w: not a JPEG, PNG, GIF, WebP or BMP (it begins with %q)", ErrPicture, file[:min(len(file), 8)])
	}
	if err != nil {
		return isomer.Image{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > MaxPixels/cfg.Height {
		return isomer.Image{}, fmt.Errorf("%w: %d×%d pixels, want 1 to %d megapixels", ErrPicture, cfg.Width, cfg.Height, MaxPixels/1_000_000)
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return isomer.Image{}, fmt.Errorf("%w: %s: %w", ErrPicture, format, err)
	}
	p := isomer.ImageOf(img)
	if format == "jpeg" {
		p = upright(p, orientation(file))
	}
	return p, nil
}

// FromRaw takes bytes that are RGB already.
func FromRaw(pix []byte, width, height int) (isomer.Image, error) {
	if width < 1 || height < 1 || width > MaxPixels/height {
		return isomer.Image{}, fmt.Errorf("%w: %d×%d pixels, want 1 to %d megapixels", ErrPicture, width, height, MaxPixels/1_000_000)
	}
	if want := width * height * 3; len(pix) != want {
		return isomer.Image{}, fmt.Errorf("%w: %d bytes, %d×%d RGB has %d", ErrPicture, len(pix), width, height, want)
	}
	return isomer.Image{Width: width, Height: height, RGB: pix}, nil
}

// upright undoes an EXIF orientation, 1 to 8.
func upright(p isomer.Image, orientation int) isomer.Image {
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
	out := isomer.Image{Width: w, Height: h, RGB: make([]byte, 0, len(p.RGB))}
	if orientation >= 5 {
		out.Width, out.Height = h, w
	}
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := source(x, y)
			at := 3 * (sy*w + sx)
			out.RGB = append(out.RGB, p.RGB[at:at+3]...)
		}
	}
	return out
}
