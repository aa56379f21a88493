// Command browser measures MobileNetV2 in Chromium: through the bridge of sdk/js and through onnxruntime-web (WebAssembly with
// SIMD, one thread), on the same page, with the same photo, in turns, answers compared.
//
//	(cd sdk/js && npm ci && npm run build) && cd eval && (cd models/peers && npm install --ignore-scripts --no-package-lock) && go run ./browser
//
// It needs the model and photos of ../shared/data (or ISOMER_DATA), Node.js and Chromium.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// goal is the bridge's time as a part of onnxruntime-web's, at most.
const goal = 0.4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// settings are the flags, and what of them the page reads.
type settings struct {
	data, peers, sdk, chromium, photo string

	Runs  int        `json:"runs"`
	Round int        `json:"round"`
	Warm  int        `json:"warm"` // ms
	Mean  [3]float64 `json:"mean"`
	Std   [3]float64 `json:"std"`
}

func flags(args []string, stderr io.Writer) (settings, error) {
	s := settings{Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}} // ImageNet's, as the compiler takes
	data := os.Getenv("ISOMER_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "shared", "data")
	}
	set := flag.NewFlagSet("browser", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&s.data, "data", data, "folder of models and photos")
	set.StringVar(&s.peers, "peers", filepath.Join("models", "peers"), "folder with onnxruntime-web in its node_modules")
	set.StringVar(&s.sdk, "sdk", filepath.Join("..", "sdk", "js"), "folder of the built bridge")
	set.StringVar(&s.chromium, "chromium", "chromium", "browser")
	set.StringVar(&s.photo, "photo", "", "raw picture of 224×224 (default: the first one of the data)")
	set.IntVar(&s.Runs, "runs", 60, "runs of each contestant after warm-up")
	set.IntVar(&s.Round, "round", 5, "runs of one contestant before the next one's turn")
	set.IntVar(&s.Warm, "warm", 1500, "least milliseconds of warm-up; at least 5 runs")
	if err := set.Parse(args); err != nil {
		return s, err
	}
	if s.Runs < 1 || s.Round < 1 {
		return s, fmt.Errorf("--runs and --round must be at least 1, got %d and %d", s.Runs, s.Round)
	}
	return s, nil
}

// figures are what the page measured.
type figures struct {
	Contestants []contestant
}

type contestant struct {
	Name string
	MS   []float64
	Top  []int
}

func (c contestant) quantile(q float64) float64 {
	s := slices.Sorted(slices.Values(c.MS))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := flags(args, stderr)
	if err != nil {
		return err
	}
	if s.photo == "" {
		all, err := filepath.Glob(filepath.Join(s.data, "mobilenetv2", "images", "*.rgb"))
		if err != nil || len(all) == 0 {
			return fmt.Errorf("no photos in %s (set ISOMER_DATA)", s.data)
		}
		s.photo = all[0]
	}
	if s.chromium, err = exec.LookPath(s.chromium); err != nil {
		return fmt.Errorf("no browser: %w (--chromium)", err)
	}
	site, err := s.site()
	if err != nil {
		return err
	}
	server := httptest.NewServer(site)
	defer server.Close()
	c := exec.CommandContext(ctx, "node", filepath.Join("..", "conformance", "browser", "run.mjs"), s.sdk, s.chromium, server.URL)
	c.Stderr = stderr
	b, err := c.Output()
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	var got struct {
		Value   figures
		Errors  []string
		Version string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return fmt.Errorf("%w in %.200s", err, b)
	}
	if len(got.Errors) > 0 {
		return fmt.Errorf("the page logs: %s", got.Errors[0])
	}
	fmt.Fprintf(stdout, "Chromium %s, onnxruntime-web %s, %s, %d runs each\n\n", got.Version, s.version(), filepath.Base(s.photo), s.Runs)
	return got.Value.print(stdout)
}

// version is that of onnxruntime-web.
func (s settings) version() string {
	b, err := os.ReadFile(filepath.Join(s.peers, "node_modules", "onnxruntime-web", "package.json"))
	if err != nil {
		return "?"
	}
	var p struct{ Version string }
	_ = json.Unmarshal(b, &p) // the line says "?" then
	return p.Version
}

// site is the page with both contestants.
func (s settings) site() (http.Handler, error) {
	onnx := filepath.Join(s.data, "mobilenetv2", "mobilenetv2.onnx")
	built, err := compiler.CompileFile(onnx, compiler.Options{})
	if err != nil {
		return nil, err
	}
	page, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	ort := filepath.Join(s.peers, "node_modules", "onnxruntime-web", "dist")
	for _, need := range []string{ort, filepath.Join(s.sdk, "dist", "index.js")} {
		if _, err := os.Stat(need); err != nil {
			return nil, fmt.Errorf("%w: see the comment at the head of eval/browser/main.go", err)
		}
	}
	mux := http.NewServeMux()
	file := func(at, path string) {
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	}
	content := func(at, kind string, b []byte) {
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(b) // the page says what it misses
		})
	}
	content("/{$}", "text/html", []byte(`<!doctype html><title>race</title><script type="module" src="/page.js"></script>`))
	content("/favicon.ico", "image/x-icon", nil)
	content("/settings.json", "application/json", page)
	content("/model.wasm", "application/wasm", built.Bytes)
	content("/echo.wasm", "application/wasm", enginetest.Guest{Version: "1"}.Build())
	file("/page.js", filepath.Join("browser", "page.js"))
	file("/photo.rgb", s.photo)
	file("/model.onnx", onnx)
	mux.Handle("GET /bridge/", http.StripPrefix("/bridge/", http.FileServer(http.Dir(filepath.Join(s.sdk, "dist")))))
	// The type of a module script, which not every system's table has.
	mux.HandleFunc("GET /ort/{name}", func(w http.ResponseWriter, r *http.Request) {
		if filepath.Ext(r.PathValue("name")) == ".mjs" {
			w.Header().Set("Content-Type", "text/javascript")
		}
		http.ServeFile(w, r, filepath.Join(ort, filepath.Base(r.PathValue("name"))))
	})
	return mux, nil
}

// pairs are who is compared with whom.
var pairs = [][2]string{
	{"picture to top 5, bridge", "picture to top 5, onnxruntime-web"},
	{"tensor to logits, bridge", "tensor to logits, onnxruntime-web"},
	{"tensor to logits, bridge without its worker", "tensor to logits, onnxruntime-web"},
}

func (f figures) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tmedian\tleast\ttop 5")
	named := map[string]contestant{}
	for _, c := range f.Contestants {
		named[c.Name] = c
		fmt.Fprintf(t, "%s\t%.2f ms\t%.2f\t%v\n", c.Name, c.quantile(0.5), c.quantile(0), c.Top)
	}
	fmt.Fprintln(t)
	var differ bytes.Buffer
	for _, p := range pairs {
		a, b := named[p[0]], named[p[1]]
		if len(a.MS) == 0 || len(b.MS) == 0 {
			return fmt.Errorf("no figures of %q or %q", p[0], p[1])
		}
		verdict := "met"
		if a.quantile(0.5) > goal*b.quantile(0.5) {
			verdict = "not met"
		}
		fmt.Fprintf(t, "%s / onnxruntime-web\t%.2f\t%.2f\tgoal %.2f, %s\n", p[0], a.quantile(0.5)/b.quantile(0.5), a.quantile(0)/b.quantile(0), goal, verdict)
		if !slices.Equal(a.Top, b.Top) {
			fmt.Fprintf(&differ, "%s: top 5 %v, onnxruntime-web %v\n", p[0], a.Top, b.Top)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if differ.Len() > 0 {
		return fmt.Errorf("the answers differ: %s", differ.String())
	}
	return nil
}
