// Package bridge compares the bridge with peers: the same C functions, built for each convention, called
// from Go in one process, one thread, through each library's public API.
//
//	cd eval && go test -run '^$' -bench . ./bridge
//
// The table at the end has the quietest batch of calls and the median of all batches, of the rounds in
// which the libraries take turns, so that a busy machine is as busy for each.
package bridge

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/isomer-iot/isomer"
)

//go:generate clang --target=wasm32 -O2 -mbulk-memory -ffreestanding -nostdlib -fvisibility=hidden -Wall -Wl,--no-entry -Wl,--strip-all -Wl,--stack-first -I ../../guest/c -o guest/isomer.wasm guest/isomer.c
//go:generate clang --target=wasm32 -O2 -mbulk-memory -ffreestanding -nostdlib -fvisibility=hidden -Wall -Wl,--no-entry -Wl,--strip-all -Wl,--stack-first -o guest/extism.wasm guest/extism.c

var (
	//go:embed guest/isomer.wasm
	isomerGuest []byte
	//go:embed guest/extism.wasm
	extismGuest []byte
)

// rival is one library with the guest loaded.
type rival struct {
	name  string
	raw   func(in []byte) ([]byte, error)
	typed func(in reading) (reading, error)
	image func(fn string, width, height int, rgb []byte) ([]byte, error)
	swap  func() error
	close func() error
}

var versions uint64

// another is the guest with other data: a section that nobody reads would not do, since an engine that
// rewrites the module finds the same code in its cache.
func another(guest []byte) []byte {
	versions++
	return bytes.Replace(guest, []byte("version 00000000"), fmt.Appendf(nil, "version %08d", versions), 1)
}

type reading struct {
	Meter string  `json:"meter"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	OK    bool    `json:"ok"`
}

func openIsomer(t testing.TB) rival {
	t.Helper()
	ctx := context.Background()
	m, err := isomer.New(ctx, isomerGuest)
	if err != nil {
		t.Fatal(err)
	}
	return rival{
		name:  "isomer",
		raw:   func(in []byte) ([]byte, error) { return m.Call(ctx, "echo", in) },
		typed: func(in reading) (reading, error) { return isomer.CallJSON[reading](ctx, m, "echo", in) },
		image: func(fn string, width, height int, rgb []byte) ([]byte, error) {
			return m.CallImage(ctx, fn, isomer.Image{Width: width, Height: height, RGB: rgb})
		},
		swap:  func() error { return m.Swap(ctx, another(isomerGuest)) },
		close: m.Close,
	}
}

func openExtism(t testing.TB) rival {
	t.Helper()
	ctx := context.Background()
	// One cache for all plugins, so that a swap does not compile Extism's kernel again.
	cache := wazero.NewCompilationCache()
	load := func() (*extism.Plugin, error) {
		manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: another(extismGuest)}}}
		return extism.NewPlugin(ctx, manifest, extism.PluginConfig{RuntimeConfig: wazero.NewRuntimeConfig().WithCompilationCache(cache)}, nil)
	}
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	call := func(fn string, in []byte) ([]byte, error) {
		_, out, err := p.Call(fn, in)
		return out, err
	}
	return rival{
		name: "extism",
		raw:  func(in []byte) ([]byte, error) { return call("echo", in) },
		typed: func(in reading) (out reading, err error) {
			b, err := json.Marshal(in)
			if err != nil {
				return out, err
			}
			if b, err = call("echo", b); err != nil {
				return out, err
			}
			return out, json.Unmarshal(b, &out)
		},
		// Without width and height, which this guest does not need: nothing is added to its work.
		image: func(fn string, _, _ int, rgb []byte) ([]byte, error) { return call(fn, rgb) },
		swap: func() error {
			next, err := load()
			if err != nil {
				return err
			}
			old := p
			p = next
			return old.Close(ctx)
		},
		close: func() error { return errors.Join(p.Close(ctx), cache.Close(ctx)) },
	}
}

// task is a row of the table. batch is how many calls are timed together: long enough for the clock,
// short enough to fit between two turns of the scheduler.
type task struct {
	name  string
	batch int
	do    func(rival) error
}

func tasks() []task {
	hundred := bytes.Repeat([]byte("x"), 100)
	in := reading{Meter: "gas-7", Value: 1234.5, Unit: "m3", OK: true}
	picture := func(name, fn string, side, batch int) task {
		rgb := make([]byte, side*side*3)
		for k := range rgb {
			rgb[k] = byte(k)
		}
		return task{fmt.Sprintf("%s, %d kB", name, len(rgb)/1000), batch, func(r rival) error {
			out, err := r.image(fn, side, side, rgb)
			if err == nil && len(out) < len(`{"size":0}`) {
				err = fmt.Errorf("%s answered %q", r.name, out)
			}
			return err
		}}
	}
	return []task{
		{"100 bytes in and out", 200, func(r rival) error {
			out, err := r.raw(hundred)
			if err == nil && len(out) != len(hundred) {
				err = fmt.Errorf("%s answered %q", r.name, out)
			}
			return err
		}},
		{"small JSON both ways, typed", 100, func(r rival) error {
			out, err := r.typed(in)
			if err == nil && out != in {
				err = fmt.Errorf("%s answered %+v", r.name, out)
			}
			return err
		}},
		picture("picture in, JSON out, looked at", "average", 224, 2),
		picture("picture in, JSON out, looked at", "average", 447, 1),
		picture("picture in, JSON out, not looked at", "first", 224, 10),
		picture("picture in, JSON out, not looked at", "first", 447, 5),
		{"swap for another module", 1, func(r rival) error { return r.swap() }},
	}
}

// rounds is how often the libraries take turns.
const rounds = 60

// times are a library's batches of one task, in ns a call.
func times(b testing.TB, r rival, t task, n int) []float64 {
	b.Helper()
	out := make([]float64, n)
	for k := range out {
		begin := time.Now()
		for range t.batch {
			if err := t.do(r); err != nil {
				b.Fatal(err)
			}
		}
		out[k] = float64(time.Since(begin).Nanoseconds()) / float64(t.batch)
	}
	return out
}

// BenchmarkPeers prints the table. It does its own timing: what testing.B would say of one library after
// the other depends on what the machine did meanwhile.
func BenchmarkPeers(b *testing.B) {
	rivals := []rival{openIsomer(b), openExtism(b)}
	defer func() {
		for _, r := range rivals {
			_ = r.close()
		}
	}()
	for b.Loop() {
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "\ntask\tisomer best\tmedian\textism best\tmedian\tratio of best\tof median")
	for _, t := range tasks() {
		all := make([][]float64, len(rivals))
		for range rounds {
			for k, r := range rivals {
				_ = times(b, r, t, 1) // warm: the caches have the other's data
				all[k] = append(all[k], times(b, r, t, 5)...)
			}
		}
		for k := range all {
			slices.Sort(all[k])
		}
		best := func(k int) float64 { return all[k][0] }
		median := func(k int) float64 { return all[k][len(all[k])/2] }
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\t%.1f\n", t.name, human(best(0)), human(median(0)), human(best(1)), human(median(1)),
			best(1)/best(0), median(1)/median(0))
		if best(1) < best(0) {
			b.Errorf("%s: extism is faster", t.name)
		}
	}
}

func human(ns float64) string {
	return time.Duration(ns).Round(max(1, time.Duration(ns/1000))).String()
}

// Both libraries do the same work.
func TestSameAnswers(t *testing.T) {
	a, b := openIsomer(t), openExtism(t)
	defer func() { _, _ = a.close(), b.close() }()
	rgb := make([]byte, 30*20*3)
	for k := range rgb {
		rgb[k] = byte(7 * k)
	}
	for _, fn := range []string{"average", "first"} {
		x, err1 := a.image(fn, 30, 20, rgb)
		y, err2 := b.image(fn, 30, 20, rgb)
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) || len(x) == 0 {
			t.Errorf("%s: %q %v, %q %v", fn, x, err1, y, err2)
		}
	}
	for _, task := range tasks() {
		for _, r := range []rival{a, b} {
			for range 3 {
				if err := task.do(r); err != nil {
					t.Errorf("%s: %s: %v", r.name, task.name, err)
				}
			}
		}
	}
}
