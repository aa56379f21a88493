package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// moduleFigures are what a device pays for MobileNetV2 beside time: bytes, and the time until it serves.
type moduleFigures struct {
	Compile    float64 `json:"compile_ms"`   // median of builds from the ONNX file
	Load       float64 `json:"load_cold_ms"` // median of loads in new processes, nothing cached
	LoadInt8   float64 `json:"load_cold_int8_ms"`
	LoadQDQ    float64 `json:"load_cold_qdq_ms"`
	Weights    int     `json:"weights"` // bytes of the model's parameters in f32
	Arena      int     `json:"arena"`
	Memory     int     `json:"memory"` // of an instance, after runs
	Module     int     `json:"module"`
	ModuleInt8 int     `json:"module_int8"`
	ModuleQDQ  int     `json:"module_qdq"`
	Photos     int     `json:"photos"`
	// How many photos have the same first class.
	Int8AsF32   int `json:"int8_as_f32"`
	QDQAsNative int `json:"qdq_as_native"` // -1: native did not run
	F32AsNative int `json:"f32_as_native"`
}

// photo is a picture as the network takes it.
type photo struct {
	name  string
	input []byte
}

// photos are the shared pictures, normalised, in planes.
func (h *harness) photos() ([]photo, error) {
	files, err := filepath.Glob(filepath.Join(h.data, "mobilenetv2", "images", "*.rgb"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no photos in %s: %w", h.data, err)
	}
	var out []photo
	for _, file := range files {
		rgb, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		planes := make([]byte, 0, 4*len(rgb))
		for c := range 3 {
			for i := c; i < len(rgb); i += 3 {
				planes = appendFloat(planes, float32((float64(rgb[i])/255-compiler.ImageNetMean[c])/compiler.ImageNetStd[c]))
			}
		}
		out = append(out, photo{strings.TrimSuffix(filepath.Base(file), ".rgb"), planes})
	}
	return out, nil
}

// module measures MobileNetV2 as a file and as an instance. The result is nil where the model is absent.
func (h *harness) module(ctx context.Context) (*moduleFigures, error) {
	path, err := h.path(ctx, "mobilenetv2/mobilenetv2.onnx", false)
	if err != nil || path == "" {
		return nil, err
	}
	quantised, err := h.path(ctx, "mobilenetv2/mobilenetv2_qdq.onnx", false)
	if err != nil || quantised == "" {
		return nil, err
	}
	f := &moduleFigures{}
	var builds []float64
	for range 5 {
		quiet()
		start := time.Now()
		if _, err := compiler.CompileFile(path, compiler.Options{}); err != nil {
			return nil, err
		}
		builds = append(builds, float64(time.Since(start).Microseconds())/1e3)
	}
	f.Compile = median(builds)
	s, m, err := h.build(path, compiler.Options{}, true)
	if err != nil {
		return nil, err
	}
	small, mSmall, err := h.build(path, compiler.Options{Weights: compiler.WeightsInt8}, true)
	if err != nil {
		return nil, err
	}
	bytes, mBytes, err := h.build(quantised, compiler.Options{}, true)
	if err != nil {
		return nil, err
	}
	f.Weights, f.Arena = 4*m.Stats.Parameters, m.Stats.Arena
	f.Module, f.ModuleInt8, f.ModuleQDQ = len(m.Bytes), len(mSmall.Bytes), len(mBytes.Bytes)
	for _, x := range []struct {
		ms *float64
		s  *subject
	}{{&f.Load, s}, {&f.LoadInt8, small}, {&f.LoadQDQ, bytes}} {
		if *x.ms, err = h.coldMedian(ctx, x.s.wasm); err != nil {
			return nil, err
		}
	}
	return f, h.classes(ctx, f, s, small, bytes)
}

// classes fills the figures that running on photos gives.
func (h *harness) classes(ctx context.Context, f *moduleFigures, s, small, bytes *subject) error {
	photos, err := h.photos()
	if err != nil {
		return err
	}
	ours := func() contestant {
		return &embedded{open: func() (engine.Engine, error) { return wazero.New() }}
	}
	f32 := ours().(*embedded)
	runs := []contestant{f32, ours(), ours()}
	subjects := []*subject{s, small, bytes}
	f.F32AsNative, f.QDQAsNative, f.Photos = -1, -1, len(photos)
	if h.versions[native] != "" {
		runs = append(runs, &process{dir: h.peers, kind: native}, &process{dir: h.peers, kind: native})
		subjects = append(subjects, s, bytes)
		f.F32AsNative, f.QDQAsNative = 0, 0
	}
	var classes [][]int
	for k, c := range runs {
		found, err := classify(ctx, c, *subjects[k], photos)
		if c == f32 && err == nil {
			f.Memory = len(f32.inst.Memory().Bytes())
		}
		_ = c.Close()
		if err != nil {
			return err
		}
		classes = append(classes, found)
	}
	for i := range photos {
		f.Int8AsF32 += same(classes[0][i], classes[1][i])
		if len(classes) > 3 {
			f.F32AsNative += same(classes[0][i], classes[3][i])
			f.QDQAsNative += same(classes[2][i], classes[4][i])
		}
	}
	return nil
}

func same(a, b int) int {
	if a == b {
		return 1
	}
	return 0
}

// classify is the first class of each photo.
func classify(ctx context.Context, c contestant, s subject, photos []photo) ([]int, error) {
	var out []int
	for i, p := range photos {
		s.inputs = [][]byte{p.input}
		var outputs [][]byte
		var err error
		if e, ok := c.(*embedded); ok && i > 0 {
			outputs, err = e.compute(ctx, &s)
		} else {
			outputs, err = c.Load(ctx, &s)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		out = append(out, top(outputs[0]))
	}
	return out, nil
}

// coldMedian lets five new processes load a module.
func (h *harness) coldMedian(ctx context.Context, module string) (float64, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	var ms []float64
	for range 5 {
		b, err := exec.CommandContext(ctx, exe, "-cold", module).Output()
		if err != nil {
			return 0, fmt.Errorf("%s -cold: %w", exe, err)
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
		if err != nil {
			return 0, err
		}
		ms = append(ms, x)
	}
	return median(ms), nil
}

// cold is the new process: compile and instantiate, without the reading of the file.
func cold(ctx context.Context, module string, out io.Writer) error {
	bin, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	start := time.Now()
	eng, err := wazero.New()
	if err != nil {
		return err
	}
	defer eng.Close()
	code, err := eng.Compile(ctx, bin, engine.CompileConfig{Interruptible: true})
	if err != nil {
		return err
	}
	defer code.Close()
	inst, err := code.Instantiate(ctx, engine.InstanceConfig{})
	if err != nil {
		return err
	}
	defer inst.Close()
	_, err = fmt.Fprintf(out, "%.1f\n", float64(time.Since(start).Microseconds())/1e3)
	return err
}

func (f *moduleFigures) print(out io.Writer) {
	mb := func(n int) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
	of := func(n int) string {
		if n < 0 {
			return "not run"
		}
		return fmt.Sprintf("%d of %d photos", n, f.Photos)
	}
	fmt.Fprint(out, "### MobileNetV2 as a module\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| what\t| measured\t| goal\t|\n|---\t|---\t|---\t|")
	for _, row := range [][3]string{
		{"compile", fmt.Sprintf("%.0f ms", f.Compile), "≤ 1500 ms"},
		{"load in wazero, new process, nothing cached: f32, int8 weights, QDQ", fmt.Sprintf("%.0f, %.0f, %.0f ms", f.Load, f.LoadInt8, f.LoadQDQ), "≤ 300 ms"},
		{"activations' arena", mb(f.Arena), "≤ 6 MB"},
		{"instance's memory − weights", fmt.Sprintf("%s − %s = %s", mb(f.Memory), mb(f.Weights), mb(f.Memory-f.Weights)), "≤ 8 MB"},
		{"module, f32 − weights", fmt.Sprintf("%s − %s = %.0f kB", mb(f.Module), mb(f.Weights), float64(f.Module-f.Weights)/1e3), "≤ 150 kB"},
		{"module, int8 weights", mb(f.ModuleInt8), "≤ 3.8 MB"},
		{"module, QDQ", mb(f.ModuleQDQ), ""},
		{"int8 weights: first class as f32", of(f.Int8AsF32), "all"},
		{"f32: first class as native", of(f.F32AsNative), "all"},
		{"QDQ: first class as native", of(f.QDQAsNative), "all"},
	} {
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t|\n", row[0], row[1], row[2])
	}
	_ = w.Flush() // to stdout
	fmt.Fprintln(out)
}
