package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"

	"github.com/isomer-iot/isomer"
)

// corners is a 32×16 picture, each quarter in one colour: red, green on top, blue, white below. The
// quarters are whole JPEG blocks, so compression keeps them.
func corners() *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, 32, 16))
	for y := range 16 {
		for x := range 32 {
			m.Set(x, y, []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}[x/16+2*(y/8)])
		}
	}
	return m
}

// layout names the colours of the four quarters, as seen: top left, top right, bottom left, bottom right.
func layout(p isomer.Image) string {
	name := func(x, y int) string {
		at := 3 * (y*p.Width + x)
		s := ""
		for i, c := range "RGB" {
			if p.RGB[at+i] > 127 {
				s += string(c)
			}
		}
		return s
	}
	x, y := p.Width/4, p.Height/4
	return strings.Join([]string{name(x, y), name(3*x, y), name(x, 3*y), name(3*x, 3*y)}, " ")
}

func encodeJPEG(t testing.TB) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, corners(), &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// exif is an APP1 segment with one tag before the orientation.
func exif(order byteOrder, orientation uint16) []byte {
	mark := "II*\x00"
	if order.Uint16([]byte{1, 0}) != 1 {
		mark = "MM\x00*"
	}
	tiff := order.AppendUint32([]byte(mark), 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, e := range [][2]uint16{{0x0100, 7}, {0x0112, orientation}} {
		tiff = order.AppendUint16(tiff, e[0])
		tiff = order.AppendUint16(tiff, 3)
		tiff = order.AppendUint32(tiff, 1)
		tiff = order.AppendUint16(tiff, e[1])
		tiff = order.AppendUint16(tiff, 0)
	}
	return segment(append([]byte("Exif\x00\x00"), tiff...))
}

func segment(body []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2)), body...)
}

// withSegment puts a segment behind the first marker.
func withSegment(file, seg []byte) []byte {
	return append(append(append([]byte{}, file[:2]...), seg...), file[2:]...)
}

func TestOrientation(t *testing.T) {
	file := encodeJPEG(t)
	want := map[uint16]string{
		1: "R G B RGB", 2: "G R RGB B", 3: "RGB B G R", 4: "B RGB R G",
		5: "R B G RGB", 6: "B R RGB G", 7: "RGB G B R", 8: "G RGB R B",
		0: "R G B RGB", 9: "R G B RGB",
	}
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for o, seen := range want {
			t.Run(fmt.Sprint(order, o), func(t *testing.T) {
				p, err := Decode(withSegment(file, exif(order, o)))
				if err != nil {
					t.Fatal(err)
				}
				if got := layout(p); got != seen {
					t.Errorf("%s, want %s", got, seen)
				}
				w, h := 32, 16
				if o >= 5 && o <= 8 {
					w, h = h, w
				}
				if p.Width != w || p.Height != h || len(p.RGB) != w*h*3 {
					t.Errorf("%d×%d, %d bytes", p.Width, p.Height, len(p.RGB))
				}
			})
		}
	}
}

// A broken EXIF segment costs the orientation, not the picture.
func TestBrokenExif(t *testing.T) {
	whole := exif(binary.LittleEndian, 6)[4:]
	for n := range len(whole) {
		if got := orientation(withSegment([]byte("\xff\xd8\xff\xd9"), segment(whole[:n]))); got != 1 {
			t.Errorf("%d of %d bytes: orientation %d", n, len(whole), got)
		}
	}
	for name, b := range map[string][]byte{
		"not a JPEG":              []byte("PNG"),
		"empty":                   nil,
		"segment beyond the end":  []byte("\xff\xd8\xff\xe1\xff\xff"),
		"size below itself":       []byte("\xff\xd8\xff\xe1\x00\x01"),
		"directory beyond":        withSegment([]byte("\xff\xd8"), segment([]byte("Exif\x00\x00II*\x00\xff\xff\xff\xff"))),
		"more entries than bytes": withSegment([]byte("\xff\xd8"), segment([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff"))),
		"other byte order mark":   withSegment([]byte("\xff\xd8"), segment([]byte("Exif\x00\x00XX*\x00\x08\x00\x00\x00\xff\xff"))),
	} {
		if got := orientation(b); got != 1 {
			t.Errorf("%s: orientation %d", name, got)
		}
	}
	filled := []byte("\xff\xd8\xff\xff\xff" + string(exif(binary.BigEndian, 3)[1:]))
	if got := orientation(filled); got != 3 {
		t.Errorf("fill bytes before the marker: orientation %d", got)
	}
}

func TestFormats(t *testing.T) {
	encoders := map[string]func(*bytes.Buffer) error{
		"png":  func(b *bytes.Buffer) error { return png.Encode(b, corners()) },
		"gif":  func(b *bytes.Buffer) error { return gif.Encode(b, corners(), nil) },
		"bmp":  func(b *bytes.Buffer) error { return bmp.Encode(b, corners()) },
		"jpeg": func(b *bytes.Buffer) error { return jpeg.Encode(b, corners(), nil) },
	}
	for name, encode := range encoders {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			t.Fatal(err)
		}
		p, err := Decode(b.Bytes())
		if err != nil || layout(p) != "R G B RGB" {
			t.Errorf("%s: %v, %v", name, layout(p), err)
		}
	}
}

func TestBadPictures(t *testing.T) {
	var huge bytes.Buffer
	if err := bmp.Encode(&huge, corners()); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(huge.Bytes()[18:], 60_000)
	binary.LittleEndian.PutUint32(huge.Bytes()[22:], 60_000)
	cases := []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "empty"},
		{"text", []byte("hello, world"), `begins with "hello, w"`},
		{"header alone", encodeJPEG(t)[:20], "EOF"},
		{"truncated", encodeJPEG(t)[:400], "EOF"},
		{"forged size", huge.Bytes(), "60000×60000 pixels"},
	}
	for _, c := range cases {
		if _, err := Decode(c.in); !errors.Is(err, ErrPicture) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFromRaw(t *testing.T) {
	if p, err := FromRaw(make([]byte, 18), 3, 2); err != nil || p.Width != 3 || p.Height != 2 {
		t.Errorf("%v, %v", p, err)
	}
	for _, size := range [][2]int{{0, 0}, {-1, 2}, {3, 3}, {math.MaxInt, math.MaxInt}} {
		if _, err := FromRaw(make([]byte, 18), size[0], size[1]); !errors.Is(err, ErrPicture) {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// The photos and the RGB bytes made from them by another program show the same: where a photo is cropped
// to the square and shrunk by averaging, the mean difference stays small.
func TestPhotos(t *testing.T) {
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../../../../shared/data"
	}
	photos, err := filepath.Glob(filepath.Join(dir, "mobilenetv2/images/*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if len(photos) == 0 {
		t.Skipf("no photos in %s (set ISOMER_DATA)", dir)
	}
	for _, path := range photos {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decode(file)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		want, err := os.ReadFile(strings.TrimSuffix(path, ".jpg") + ".rgb")
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(p, want, 224); d > 12 {
			t.Errorf("%s: mean difference %.1f of 255", path, d)
		}
	}
}

// difference compares 8×8 block means of the centre square with those of an n×n picture.
func difference(p isomer.Image, want []byte, n int) float64 {
	side := min(p.Width, p.Height)
	x0, y0 := (p.Width-side)/2, (p.Height-side)/2
	sum, count := 0.0, 0
	mean := func(pix []byte, stride, x0, y0, x1, y1, c int) float64 {
		s := 0
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				s += int(pix[3*(y*stride+x)+c])
			}
		}
		return float64(s) / float64((y1-y0)*(x1-x0))
	}
	const blocks = 8
	for by := range blocks {
		for bx := range blocks {
			for c := range 3 {
				a := mean(p.RGB, p.Width, x0+bx*side/blocks, y0+by*side/blocks, x0+(bx+1)*side/blocks, y0+(by+1)*side/blocks, c)
				b := mean(want, n, bx*n/blocks, by*n/blocks, (bx+1)*n/blocks, (by+1)*n/blocks, c)
				sum += max(a-b, b-a)
				count++
			}
		}
	}
	return sum / float64(count)
}

func FuzzOrientation(f *testing.F) {
	f.Add(withSegment(encodeJPEG(f), exif(binary.LittleEndian, 6)))
	f.Add(withSegment([]byte("\xff\xd8\xff\xd9"), exif(binary.BigEndian, 8)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o := orientation(b); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
