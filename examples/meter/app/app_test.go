package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/examples/meter"
)

// build compiles one version of the classifier as the README's command does.
func build(t *testing.T, m meter.Model) []byte {
	t.Helper()
	built, err := compiler.Compile(m.ONNX, compiler.Options{
		Name: m.Name, Version: m.Version, Labels: meter.Labels(), Mean: meter.Mean[:], Std: meter.Std[:],
	})
	if err != nil {
		t.Fatal(err)
	}
	return built.Bytes
}

func TestWrongUse(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "-module is missing"},
		{[]string{"-module", "m", "-rate", "0"}, "-rate is 0"},
		{[]string{"-module", "m", "-rate", "NaN"}, "-rate is NaN"},
		{[]string{"-module", "m", "-count", "-1"}, "-count is -1"},
		{[]string{"-module", "m", "more"}, `"more"`},
		{[]string{"-nonsense"}, "-nonsense"},
		{[]string{"-module", filepath.Join(folder, "none.wasm")}, "none.wasm"},
		{[]string{"-module", "m", "-frames", folder}, folder},
	} {
		err := run(context.Background(), c.args, io.Discard, io.Discard)
		h, ok := errors.AsType[*hinted](err)
		if !ok || h.hint == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q and a hint", c.args, err, c.want)
		}
	}
	var help strings.Builder
	if err := run(context.Background(), []string{"-help"}, &help, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: error %v", err)
	}
	if !strings.Contains(help.String(), "-module") {
		t.Errorf("-help prints %q", help.String())
	}
}

// TestReplacedWhileItRuns starts the application with version 1, replaces the file, and waits until a
// reading comes from version 2.
func TestReplacedWhileItRuns(t *testing.T) {
	models := meter.Models()
	path := filepath.Join(t.TempDir(), "digits.wasm")
	if err := os.WriteFile(path, build(t, models[0]), 0o644); err != nil {
		t.Fatal(err)
	}
	second := path + ".new"
	if err := os.WriteFile(second, build(t, models[1]), 0o644); err != nil {
		t.Fatal(err)
	}

	// 6,000 frames are a minute: without a swap the test ends by itself and says so.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stdout, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-module", path, "-rate", "100", "-count", "6000"}, w, testLog{t})
		w.CloseWithError(io.EOF)
		ended <- err
	}()

	seen := map[string]int{}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var l struct {
			Module, Digits string
			Probability    float64
			Correct        *bool
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if len(l.Digits) != 6 || l.Correct == nil || l.Probability <= 0 {
			t.Fatalf("a reading without its parts: %s", lines.Bytes())
		}
		if len(seen) == 0 {
			if err := os.Rename(second, path); err != nil {
				t.Fatal(err)
			}
		}
		seen[l.Module]++
		if l.Module == "digits@2.0.0" {
			stop()
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if seen["digits@1.0.0"] == 0 || seen["digits@2.0.0"] == 0 {
		t.Errorf("readings by module: %v, want some of both versions", seen)
	}
}

// testLog shows the application's log where the test fails.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
