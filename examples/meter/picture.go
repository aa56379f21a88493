package meter

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/png" // the frames' format
)

// ErrPicture is what errors about pictures and regions unwrap to.
var ErrPicture = errors.New("meter: bad picture")

// Picture is three bytes a pixel, rows from the top without padding: what a module takes.
type Picture struct {
	Width, Height int
	RGB           []byte // Width*Height*3 bytes
}

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

func (p Picture) check() error {
	if p.Width <= 0 || p.Height <= 0 || p.Width > maxSide || p.Height > maxSide {
		return fmt.Errorf("%w: %d×%d pixels; each side must be 1 to %d", ErrPicture, p.Width, p.Height, maxSide)
	}
	if want := p.Width * p.Height * 3; len(p.RGB) != want {
		return fmt.Errorf("%w: %d×%d pixels need %d bytes, got %d", ErrPicture, p.Width, p.Height, want, len(p.RGB))
	}
	return nil
}

// Crop copies a region out of the picture. A region that leaves the picture is an error: a drum that
// is half missing would be read as some digit.
func (p Picture) Crop(r Region) (Picture, error) {
	if err := p.check(); err != nil {
		return Picture{}, err
	}
	if err := r.within(p.Width, p.Height); err != nil {
		return Picture{}, err
	}
	out := Picture{Width: r.W, Height: r.H, RGB: make([]byte, 0, r.W*r.H*3)}
	for y := r.Y; y < r.Y+r.H; y++ {
		row := (y*p.Width + r.X) * 3
		out.RGB = append(out.RGB, p.RGB[row:row+r.W*3]...)
	}
	return out, nil
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
func decode(data []byte, width, height int) (Picture, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if config.Width != width || config.Height != height {
		return Picture{}, fmt.Errorf("%w: %d×%d pixels, want %d×%d", ErrPicture, config.Width, config.Height, width, height)
	}
	if config.Width*config.Height > len(data)*pixelsPerByte {
		return Picture{}, fmt.Errorf("%w: %d bytes cannot hold %d×%d pixels", ErrPicture, len(data), width, height)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return Picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return FromImage(img), nil
}

// FromImage converts any image of the standard library; transparency becomes black.
func FromImage(img image.Image) Picture {
	b := img.Bounds()
	p := Picture{Width: b.Dx(), Height: b.Dy(), RGB: make([]byte, 0, b.Dx()*b.Dy()*3)}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red, green, blue, _ := img.At(x, y).RGBA()
			p.RGB = append(p.RGB, byte(red>>8), byte(green>>8), byte(blue>>8))
		}
	}
	return p
}
