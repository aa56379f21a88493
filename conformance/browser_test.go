package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// strict are the rules of the pages: nothing inline, nothing from elsewhere, workers from the page's own host, and
// WebAssembly, which needs leave of its own.
const strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self'"

// pageSite serves a page of conformance/browser with the bridge.
type pageSite struct {
	*http.ServeMux
	sdk, chromium string
}

// newPageSite skips the test, with the reason, where something that a browser's test needs is not there.
func newPageSite(t *testing.T) *pageSite {
	t.Helper()
	s := &pageSite{ServeMux: http.NewServeMux(), sdk: filepath.Join("..", "sdk", "js")}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no Node.js: install it for the tests of the JavaScript bridge in Chromium")
	}
	s.chromium = findChromium()
	if s.chromium == "" {
		t.Skip("no Chromium: apt-get install chromium for the tests of the JavaScript bridge in a browser")
	}
	for _, need := range []string{"dist/index.js", "node_modules/playwright-core/package.json"} {
		if _, err := os.Stat(filepath.Join(s.sdk, need)); err != nil {
			t.Skip("the JavaScript bridge is not built: cd sdk/js && npm ci && npm run build")
		}
	}
	s.folder("/bridge/", filepath.Join(s.sdk, "dist"))
	s.file("/cases.js", filepath.Join(s.sdk, "test", "cases.js"))
	s.file("/contract.json", contractFile)
	return s
}

// findChromium is the browser's path; empty: there is none.
func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func (s *pageSite) folder(at, dir string) {
	s.Handle("GET "+at, http.StripPrefix(at, http.FileServer(http.Dir(dir))))
}

func (s *pageSite) file(at, path string) {
	s.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
}

func (s *pageSite) bytes(at, kind string, b []byte) {
	s.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(b) // the page says what it misses
	})
}

func (s *pageSite) json(t *testing.T, at string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	s.bytes(at, "application/json", b)
}

func (s *pageSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", strict)
	s.ServeMux.ServeHTTP(w, r)
}

// open opens the script in Chromium and decodes its value. What the page logs as an error is one, and so is a request to
// another host.
func (s *pageSite) open(t *testing.T, script string, value any) {
	t.Helper()
	s.file("/"+script, filepath.Join("browser", script))
	s.bytes("/{$}", "text/html; charset=utf-8", fmt.Appendf(nil, `<!doctype html><title>bridge</title><script type="module" src="/%s"></script>`, script))
	s.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewServer(s)
	defer server.Close()
	c := exec.CommandContext(t.Context(), "node", filepath.Join("browser", "run.mjs"), s.sdk, s.chromium, server.URL)
	var said bytes.Buffer
	c.Stderr = &said
	b, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.Bytes())
	}
	out := struct {
		Value             any
		Errors, Elsewhere []string
		Version           string
	}{Value: value}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	t.Logf("Chromium %s", out.Version)
	for _, e := range out.Errors {
		t.Errorf("the page logs: %s", e)
	}
	for _, u := range out.Elsewhere {
		t.Errorf("the page asks another host: %s", u)
	}
}

// live serves the module that was chosen last, with an ETag.
func (s *pageSite) live(modules map[string][]byte) {
	var chosen atomic.Value
	var asked, unchanged, version atomic.Int64
	s.HandleFunc("POST /live", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("module")
		if modules[name] == nil {
			http.Error(w, "no module "+name, http.StatusNotFound)
			return
		}
		version.Add(1)
		chosen.Store(name)
	})
	s.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"asked":%d,"unchanged":%d}`, asked.Load(), unchanged.Load())
	})
	s.HandleFunc("GET /live.wasm", func(w http.ResponseWriter, r *http.Request) {
		name := chosen.Load().(string)
		asked.Add(1)
		tag := fmt.Sprintf("%q", fmt.Sprint(name, version.Load()))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/wasm")
		_, _ = w.Write(modules[name])
	})
}

// picture is a file with what Go makes of it.
type decoded struct {
	URL    string `json:"url"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	RGB    []byte `json:"rgb"`
	Within int    `json:"within"` // how far a byte may be from Go's
}

// pictures serves files of each kind, and what Go's bridge takes them for.
func (s *pageSite) pictures(t *testing.T) {
	t.Helper()
	const w, h = 61, 40
	box := image.Rect(0, 0, w, h)
	opaque, clear, grey, deep := image.NewNRGBA(box), image.NewNRGBA(box), image.NewGray(box), image.NewNRGBA64(box)
	table := image.NewPaletted(box, color.Palette{color.NRGBA{200, 10, 30, 255}, color.NRGBA{1, 2, 3, 255}, color.NRGBA{255, 255, 255, 255}})
	smooth := image.NewNRGBA(box)
	for y := range h {
		for x := range w {
			n := x*7919 + y*104729
			c := color.NRGBA{uint8(n), uint8(n >> 3), uint8(n >> 6), 255}
			opaque.SetNRGBA(x, y, c)
			c.A = uint8(n >> 5)
			clear.SetNRGBA(x, y, c)
			grey.SetGray(x, y, color.Gray{uint8(n)})
			deep.SetNRGBA64(x, y, color.NRGBA64{uint16(n), uint16(n >> 2), uint16(n >> 4), 0xffff})
			table.SetColorIndex(x, y, uint8(n%3))
			smooth.SetNRGBA(x, y, color.NRGBA{uint8(4 * x), uint8(6 * y), uint8(2 * (x + y)), 255})
		}
	}
	var all []decoded
	add := func(name, kind string, within int, write func(b *bytes.Buffer) error) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		at := "/pictures/" + name
		s.bytes(at, kind, bytes.Clone(b.Bytes()))
		src, _, err := image.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		p := isomer.ImageOf(src)
		all = append(all, decoded{at, p.Width, p.Height, p.RGB, within})
	}
	for name, p := range map[string]struct {
		image.Image
		within int
	}{"opaque.png": {opaque, 0}, "grey.png": {grey, 0}, "palette.png": {table, 0}, "deep.png": {deep, 1}, "clear.png": {clear, 1}} {
		add(name, "image/png", p.within, func(b *bytes.Buffer) error { return png.Encode(b, p.Image) })
	}
	// JPEG leaves its inverse transform and the upsampling of colours to the decoder.
	add("smooth.jpg", "image/jpeg", 12, func(b *bytes.Buffer) error { return jpeg.Encode(b, smooth, &jpeg.Options{Quality: 90}) })
	s.json(t, "/pictures.json", all)
}

// TestBrowser runs the bridge in Chromium: the cases of the contract, and the life of a module.
func TestBrowser(t *testing.T) {
	s := newPageSite(t)
	s.live(contractModules())
	s.pictures(t)
	var got struct {
		Results     []struct{ Name, Error string }
		Differences map[string]int
	}
	s.open(t, "page.js", &got)
	if len(got.Results) == 0 {
		t.Error("the page ran nothing")
	}
	for _, r := range got.Results {
		t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
	t.Logf("largest difference of a byte from Go's decoder: %v", got.Differences)
}

// TestBrowserMobileNet calls MobileNetV2 in Chromium: tensors and pictures give Go's bytes; a JPEG file, which each decodes
// with its own decoder, Go's first class.
func TestBrowserMobileNet(t *testing.T) {
	s := newPageSite(t)
	bin := mobileNet(t)
	m, err := isomer.New(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	type call struct {
		jsCase
		Want []byte `json:"want"`
	}
	input := floats(3 * 224 * 224)
	want, err := m.Call(t.Context(), "run", input)
	if err != nil {
		t.Fatal(err)
	}
	calls := []call{{jsCase{Function: "run", Input: input}, want}}
	type photo struct {
		URL  string          `json:"url"`
		Want json.RawMessage `json:"want"`
	}
	var files []photo
	for _, path := range photos(t) {
		rgb, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want, err = m.CallImage(t.Context(), "classify", isomer.Image{Width: 224, Height: 224, RGB: rgb}); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call{jsCase{Function: "classify", Width: 224, Height: 224, Input: rgb}, want})
		path = strings.TrimSuffix(path, ".rgb") + ".jpg"
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		src, _, err := image.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want, err = m.CallImage(t.Context(), "classify", isomer.ImageOf(src)); err != nil {
			t.Fatal(err)
		}
		files = append(files, photo{"/photos/" + filepath.Base(path), want})
		s.file(files[len(files)-1].URL, path)
	}
	s.bytes("/module.wasm", "application/wasm", bin)
	s.json(t, "/calls.json", calls)
	s.json(t, "/files.json", files)
	var got struct {
		Different []string
		Calls     int
		Logit     float64
	}
	s.open(t, "mobilenet.js", &got)
	if got.Calls != len(calls)+len(files) {
		t.Errorf("%d calls, want %d", got.Calls, len(calls)+len(files))
	}
	for _, d := range got.Different {
		t.Error(d)
	}
	t.Logf("%d calls; from JPEG a logit of the first class differs by at most %.3f", got.Calls, got.Logit)
}

// twoReleases are a module that classifies as 1.0.0 and 2.0.0, each with a golden case.
func twoReleases(t *testing.T, bin []byte) map[string][]byte {
	t.Helper()
	m, err := isomer.New(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := abi.Golden{Function: "classify", Width: 64, Height: 64, Input: bytes.Repeat([]byte{10, 200, 30, 40, 50, 60}, 64*32), Tolerance: 1e-3}
	if c.Output, err = m.CallImage(t.Context(), c.Function, isomer.Image{Width: c.Width, Height: c.Height, RGB: c.Input}); err != nil {
		t.Fatal(err)
	}
	payload, _, err := wasm.CustomSection(bin, abi.ManifestSection)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := abi.ParseManifest(payload)
	if err != nil {
		t.Fatal(err)
	}
	manifest.Golden = []abi.Golden{c}
	out := map[string][]byte{}
	for name, version := range map[string]string{"a": "1.0.0", "b": "2.0.0"} {
		manifest.Version = version
		payload, err := manifest.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if out[name], err = wasm.SetCustomSection(bin, abi.ManifestSection, payload); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestBrowserSwapUnderLoad swaps a module while the page calls it 60 times a second, by hand and by ETag: no call and no swap
// fails. The page's frames are measured. They are held to 50 ms where ISOMER_SWAPS asks for a number of swaps, on a machine
// that has nothing else to do; otherwise they may be the neighbours'. A call of MobileNetV2 takes longer than 1/60 s.
func TestBrowserSwapUnderLoad(t *testing.T) {
	t.Run("meter", func(t *testing.T) { swapUnderLoad(t, digits(t)[1]) })
	t.Run("MobileNetV2", func(t *testing.T) { swapUnderLoad(t, mobileNet(t)) })
}

func swapUnderLoad(t *testing.T, bin []byte) {
	t.Helper()
	s := newPageSite(t)
	modules := twoReleases(t, bin)
	s.live(modules)
	s.bytes("/a.wasm", "application/wasm", modules["a"])
	s.bytes("/b.wasm", "application/wasm", modules["b"])
	swaps, err := strconv.Atoi(cmp.Or(os.Getenv("ISOMER_SWAPS"), "4"))
	if err != nil {
		t.Fatalf("ISOMER_SWAPS: %v", err)
	}
	measured := os.Getenv("ISOMER_SWAPS") != ""
	rest := 300
	if measured {
		rest = 5000
	}
	s.json(t, "/settings.json", map[string]int{"swaps": swaps, "rest": rest, "pause": rest / 10})
	type summary struct {
		N                      int
		Median, P95, P99, Most float64
	}
	type frames struct {
		Frames summary
		Over50 int
		Long   []float64
	}
	var got struct {
		Failed                                     []string
		Calls, Swaps, Refused, Most, Held, Answers int
		Latency, Took                              summary
		Before, During                             frames
	}
	s.open(t, "swap.js", &got)
	for _, f := range got.Failed[:min(len(got.Failed), 3)] {
		t.Error(f)
	}
	if len(got.Failed) > 0 || got.Swaps != swaps || got.Refused > 0 || got.Answers != 1 {
		t.Errorf("%d of %d calls failed; %d swaps, want %d; %d refused; %d different answers, want 1", len(got.Failed), got.Calls, got.Swaps, swaps, got.Refused, got.Answers)
	}
	if measured && (got.During.Over50 > 0 || len(got.During.Long) > 0) {
		t.Errorf("%d frames over 50 ms, long tasks %v ms", got.During.Over50, got.During.Long)
	}
	t.Logf("%d calls (%d more were not begun, the machine being slow), at most %d at a time, latency %+v ms; %d swaps, %+v ms", got.Calls, got.Held, got.Most, got.Latency, got.Swaps, got.Took)
	t.Logf("frames at rest %+v; during swaps %+v", got.Before, got.During)
}
