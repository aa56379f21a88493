package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/isomer-iot/isomer"
)

func demo(t testing.TB) *Meter {
	t.Helper()
	m, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDemoFrames(t *testing.T) {
	m := demo(t)
	if len(m.Frames) != 24 || len(m.Regions) != 6 {
		t.Fatalf("%d frames with %d drums, want 24 with 6", len(m.Frames), len(m.Regions))
	}
	last := ""
	for _, f := range m.Frames {
		if f.Reading < last {
			t.Errorf("%s: reading %s after %s: a meter does not run backwards", f.File, f.Reading, last)
		}
		last = f.Reading
		if err := check(f.Picture); err != nil {
			t.Errorf("%s: %v", f.File, err)
		}
	}
	if first := m.Frames[0].Reading; first == last {
		t.Errorf("the reading stays at %s over all frames", first)
	}
}

// The repository carries these files for good, so their size is a promise (issue: models under 300 kB).
func TestSizes(t *testing.T) {
	for _, m := range Models() {
		if len(m.ONNX) >= 300_000 {
			t.Errorf("%s %s has %d bytes, want < 300000", m.Name, m.Version, len(m.ONNX))
		}
	}
	err := fs.WalkDir(files, "frames", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 25_000 {
			t.Errorf("%s has %d bytes, want at most 25000", path, info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLabels(t *testing.T) {
	if got := strings.Join(Labels(), ""); got != "0123456789" {
		t.Errorf("labels %q", got)
	}
}

func TestCases(t *testing.T) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	small, large := 0, 0
	for _, c := range cases {
		if c.Picture.Width == Side {
			small++
		} else {
			large++
		}
		for _, m := range Models() {
			logits := c.Logits[m.Version]
			if len(logits) != 10 {
				t.Fatalf("%s: %d logits for %s", c.Name, len(logits), m.Version)
			}
			best := 0
			for i, v := range logits {
				if v > logits[best] {
					best = i
				}
			}
			if m.Version == "2.0.0" && best != c.Label {
				t.Errorf("%s: version %s says %d, the drum shows %d", c.Name, m.Version, best, c.Label)
			}
		}
	}
	if small < 5 || large < 1 {
		t.Errorf("%d crops of the model's size and %d of another, want at least 5 and 1", small, large)
	}
}

func TestCrop(t *testing.T) {
	img := image.NewNRGBA(image.Rect(10, 20, 14, 23)) // bounds that do not start at 0
	for y := range 3 {
		for x := range 4 {
			img.SetNRGBA(10+x, 20+y, color.NRGBA{R: uint8(x), G: uint8(y), B: 7, A: 255})
		}
	}
	got, err := Crop(isomer.ImageOf(img), Region{X: 1, Y: 1, W: 2, H: 2})
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{1, 1, 7, 2, 1, 7, 1, 2, 7, 2, 2, 7}; string(got.RGB) != string(want) {
		t.Errorf("got % d, want % d", got.RGB, want)
	}
	const far = int(^uint(0) >> 1)
	for _, r := range []Region{
		{}, {W: 5, H: 1}, {W: 1, H: 4}, {X: -1, W: 1, H: 1}, {X: 4, W: 1, H: 1}, {Y: 3, W: 1, H: 1},
		{X: far, W: 1, H: 1}, {X: 1, W: far, H: 1}, {W: 1, H: -1},
	} {
		if _, err := Crop(isomer.ImageOf(img), r); !errors.Is(err, ErrPicture) {
			t.Errorf("%+v: error %v, want ErrPicture", r, err)
		}
	}
	if _, err := Crop(isomer.Image{Width: 2, Height: 2, RGB: make([]byte, 11)}, Region{W: 1, H: 1}); !errors.Is(err, ErrPicture) {
		t.Errorf("a picture with a byte missing: error %v", err)
	}
}

func TestLoadBadFolders(t *testing.T) {
	frame, err := files.ReadFile("frames/frame-00.png")
	if err != nil {
		t.Fatal(err)
	}
	one := func(layout string) fstest.MapFS {
		return fstest.MapFS{"meter.json": {Data: []byte(layout)}, "a.png": {Data: frame}}
	}
	const good = `{"width":240,"height":96,"decimals":0,"regions":[{"x":0,"y":0,"w":9,"h":9}],"frames":[{"file":"a.png","reading":"1"}]}`
	if m, err := Load(one(good)); err != nil || len(m.Frames) != 1 {
		t.Fatalf("a good folder: %v", err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"not JSON":           {good, `{"width":`, "meter.json"},
		"no regions":         {`{"x":0,"y":0,"w":9,"h":9}`, ``, "no regions"},
		"region outside":     {`"x":0`, `"x":232`, "regions[0]"},
		"too many decimals":  {`"decimals":0`, `"decimals":2`, "decimals is 2"},
		"other picture size": {`"width":240`, `"width":239`, "240×96 pixels, want 239×96"},
		"hostile size":       {`"width":240`, `"width":1000000000000`, "must be 1 to"},
		"no such frame":      {`a.png`, `b.png`, "b.png"},
		"frame elsewhere":    {`a.png`, `../a.png`, "../a.png"},
		"not a picture":      {`a.png`, `meter.json`, "meter.json"},
		"reading too long":   {`"reading":"1"`, `"reading":"12"`, "want 1 digits"},
		"reading no digit":   {`"reading":"1"`, `"reading":"x"`, "want 1 digits"},
		"no frames":          {`{"file":"a.png","reading":"1"}`, ``, "no frames"},
	} {
		_, err := Load(one(strings.Replace(good, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := Load(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: error %v", err)
	}
}

// callFunc lets a test answer in the module's place, for answers that no compiled model gives.
type callFunc func(function string, p isomer.Image) ([]byte, error)

func (f callFunc) CallImage(_ context.Context, function string, p isomer.Image) ([]byte, error) {
	return f(function, p)
}

func TestReaderPutsTheDrumsTogether(t *testing.T) {
	m := demo(t)
	n := 0
	r := Reader{Regions: m.Regions, Decimals: m.Decimals, Module: callFunc(func(function string, p isomer.Image) ([]byte, error) {
		if want := m.Regions[n]; function != "classify" || p.Width != want.W || p.Height != want.H {
			t.Errorf("call %d: %s with %d×%d pixels", n, function, p.Width, p.Height)
		}
		n++
		probability := 0.99
		if n == 4 {
			probability = 0.5
		}
		return fmt.Appendf(nil, `{"top":[{"index":%d,"label":"%d","probability":%g},{"label":"0","probability":0}]}`, n-1, n-1, probability), nil
	})}
	got, err := r.Read(context.Background(), m.Frames[0].Picture)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Reading{Digits: "012345", Value: "123.45", Probability: 0.5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReaderBadAnswers(t *testing.T) {
	m := demo(t)
	for _, answer := range []string{
		``, `null`, `[]`, `{}`, `{"top":[]}`, `{"top":[{"label":"12","probability":1}]}`, `{"top":[{"label":"x","probability":1}]}`,
		`{"top":[{"label":"1"}]}`, `{"top":[{"label":"1","probability":1.5}]}`, `{"top":[{"label":"1","probability":-1}]}`,
	} {
		r := Reader{Regions: m.Regions, Module: callFunc(func(string, isomer.Image) ([]byte, error) { return []byte(answer), nil })}
		_, err := r.Read(context.Background(), m.Frames[0].Picture)
		if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "drum 0") {
			t.Errorf("answer %q: error %v", answer, err)
		}
	}
	failed := errors.New("trap")
	r := Reader{Regions: m.Regions, Module: callFunc(func(string, isomer.Image) ([]byte, error) { return nil, failed })}
	if _, err := r.Read(context.Background(), m.Frames[0].Picture); !errors.Is(err, failed) {
		t.Errorf("a failed call: error %v", err)
	}
	if _, err := (&Reader{}).Read(context.Background(), m.Frames[0].Picture); !errors.Is(err, ErrPicture) {
		t.Errorf("no regions: error %v", err)
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		digits   string
		decimals int
		want     string
	}{{"041794", 2, "417.94"}, {"000004", 2, "0.04"}, {"000000", 0, "0"}, {"120", 0, "120"}, {"12", 2, "0.12"}} {
		if got := value(c.digits, c.decimals); got != c.want {
			t.Errorf("value(%q, %d) = %q, want %q", c.digits, c.decimals, got, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	frame, err := files.ReadFile("frames/frame-00.png")
	if err != nil {
		f.Fatal(err)
	}
	const layout = `{"width":240,"height":96,"decimals":2,"unit":"m³","regions":[{"x":18,"y":29,"w":36,"h":36},` +
		`{"x":188,"y":33,"w":36,"h":36}],"frames":[{"file":"frame-00.png","reading":"04"}]}`
	var tiny bytes.Buffer
	if err := png.Encode(&tiny, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(layout), frame)
	f.Add([]byte(layout), frame[:len(frame)/2])
	f.Add([]byte(`{"width":3,"height":2,"regions":[{"x":1,"w":2,"h":1}],"frames":[{"file":"frame-00.png"}]}`), tiny.Bytes())
	f.Fuzz(func(t *testing.T, layout, frame []byte) {
		m, err := Load(fstest.MapFS{"meter.json": {Data: layout}, "frame-00.png": {Data: frame}})
		if err != nil {
			return
		}
		for _, r := range m.Regions {
			for _, f := range m.Frames {
				if _, err := Crop(f.Picture, r); err != nil {
					t.Errorf("loaded, but %+v cannot be cut: %v", r, err)
				}
			}
		}
	})
}
