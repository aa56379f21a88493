package meter

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/png" // the frames' format

	"github.com/isomer-iot/isomer"
)

// ErrPicture is what errors about pictures and regions unwrap to.
var ErrPicture = errors.New("meter: bad picture")

// Region is a rectangle in pixels from the picture's upper left corner.
type Region struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// maxSide bounds a picture's sides: 4096 is beyond any camera that watches a meter.
const maxSide = 4096

// pixelsPerByte bounds what a compressed picture may unpack to. Deflate reaches 1032:1 and only on
// constant bytes; the demo's frames have 1 to 2 pixels a byte.
const pixelsPerByte = 1000

// Crop copies a region out of a picture. A region that leaves the picture is an error: a drum that is
// half missing would be read as some digit.
func Crop(img isomer.Image, r Region) (isomer.Image, error) {
	if err := check(img); err != nil {
		return isomer.Image{}, err
	}
	if err := r.within(img.Width, img.Height); err != nil {
		return isomer.Image{}, err
	}
	out := isomer.Image{Width: r.W, Height: r.H, RGB: make([]byte, 0, r.W*r.H*3)}
	for y := r.Y; y < r.Y+r.H; y++ {
		row := (y*img.Width + r.X) * 3
		out.RGB = append(out.RGB, img.RGB[row:row+r.W*3]...)
	}
	return out, nil
}

func check(img isomer.Image) error {
	if img.Width <= 0 || img.Height <= 0 || img.Width > maxSide || img.Height > maxSide {
		return fmt.Errorf("%w: %d×%d pixels; each side must be 1 to %d", ErrPicture, img.Width, img.Height, maxSide)
	}
	if want := img.Width * img.Height * 3; len(img.RGB) != want {
		return fmt.Errorf("%w: %d×%d pixels need %d bytes, got %d", ErrPicture, img.Width, img.Height, want, len(img.RGB))
	}
	return nil
}

func (r Region) within(width, height int) error {
	// Written as differences: r.X+r.W may overflow for hostile numbers.
	if r.W <= 0 || r.H <= 0 || r.X < 0 || r.Y < 0 || r.W > width || r.H > height || r.X > width-r.W || r.Y > height-r.H {
		return fmt.Errorf("%w: region %d×%d at (%d, %d) is not inside %d×%d pixels",
			ErrPicture, r.W, r.H, r.X, r.Y, width, height)
	}
	return nil
}

// decode reads a PNG of a known size. The size is compared before the pixels are decoded, so that a
// small file cannot ask for a large allocation.
func decode(data []byte, width, height int) (isomer.Image, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return isomer.Image{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if config.Width != width || config.Height != height {
		return isomer.Image{}, fmt.Errorf("%w: %d×%d pixels, want %d×%d", ErrPicture, config.Width, config.Height, width, height)
	}
	if config.Width*config.Height > len(data)*pixelsPerByte {
		return isomer.Image{}, fmt.Errorf("%w: %d bytes cannot hold %d×%d pixels", ErrPicture, len(data), width, height)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return isomer.Image{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return isomer.ImageOf(img), nil
}
