package isomer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

// wordsSource is a plain program: it knows nothing of isomer.
const wordsSource = `package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

var calls int

func main() {
	calls++
	words, bytes := 0, 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Text()
		bytes += len(line)
		words += len(strings.Fields(line))
		switch line {
		case "fail":
			fmt.Fprintln(os.Stderr, "line 1: no words")
			os.Exit(3)
		case "panic":
			panic("no way on")
		case "flood":
			for {
				fmt.Println(strings.Repeat("x", 1000))
			}
		}
	}
	fmt.Printf("%d words, %d bytes, run %d of %s\n", words, bytes, calls, os.Args[0])
}
`

var buildWords = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "isomer-words")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(wordsSource), 0o644); err != nil {
		return nil, err
	}
	c := exec.Command("go", "build", "-ldflags", "-s -w", "-o", "words.wasm", "main.go")
	c.Dir = dir
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "words.wasm"))
})

func words(t testing.TB) []byte {
	t.Helper()
	bin, err := buildWords()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestExampleCommand runs the worked example as its comment says.
func TestExampleCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words.wasm")
	c := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./guest/example/command")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bin, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := openBytes(t, bin).Call(t.Context(), "_start", []byte("to be or\nnot to be\n"))
	if err != nil || string(got) != "{\"lines\": 2, \"words\": 6}\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGoCommand runs a real program: it needs a runtime's start, arguments, and exit.
func TestGoCommand(t *testing.T) {
	var out strings.Builder
	m := openBytes(t, words(t), isomer.WithDeadline(time.Minute), isomer.WithMaxOutput(1<<16), isomer.WithOutput(&out))
	if f := m.Functions(); len(f) != 1 || f[0].Name != abi.ExportStart || f[0].Convention != abi.Command {
		t.Fatalf("functions %+v", f)
	}
	for range 3 { // each in an instance of its own, so that it counts from the start
		got, err := m.Call(t.Context(), "_start", []byte("to be or\nnot to be"))
		if err != nil || string(got) != "6 words, 17 bytes, run 1 of module\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	var app *isomer.AppError
	if _, err := m.Call(t.Context(), "_start", []byte("fail")); !errors.As(err, &app) || app.Message != "exit code 3: line 1: no words" {
		t.Errorf("err = %v", err)
	}
	if out.String() != "line 1: no words\n" {
		t.Errorf("standard error went on as %q", &out)
	}
	if _, err := m.Call(t.Context(), "_start", []byte("panic")); !errors.As(err, &app) || !strings.HasPrefix(app.Message, "exit code 2: ") {
		t.Errorf("err = %v", err)
	}
	var limit *isomer.LimitError
	if _, err := m.Call(t.Context(), "_start", []byte("flood")); !errors.As(err, &limit) || limit.Limit != engine.OutputSz {
		t.Errorf("err = %v", err)
	}
	// The answer may lie where the input lay, which the program still reads while it writes.
	in := []byte(strings.Repeat("word ", 20_000) + "\nand a line")
	if got, err := m.CallInto(t.Context(), in, "_start", in); err != nil || string(got) != "20003 words, 100010 bytes, run 1 of module\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCommand(t *testing.T) {
	m := openBytes(t, enginetest.CommandGuest(), isomer.WithQueue(0), isomer.WithMaxOutput(1000))
	for range 3 { // no call waits for the instance of the one before
		if got, err := m.Call(t.Context(), "_start", []byte("hello")); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	var app *isomer.AppError
	if _, err := m.Call(t.Context(), "_start", []byte("!\x07")); !errors.As(err, &app) || app.Message != "exit code 7: !\a" {
		t.Errorf("err = %v", err)
	}
	long := "!\x01" + strings.Repeat("a line of many\n", 1000)
	if _, err := m.Call(t.Context(), "_start", []byte(long)); !errors.As(err, &app) || len(app.Message) > 2100 ||
		!strings.HasPrefix(app.Message, "exit code 1: a line of many\na line") {
		t.Errorf("%d bytes, %.60q", len(app.Message), app.Message)
	}
	if got, err := m.Call(t.Context(), "_start", []byte("!\x00")); err != nil || len(got) != 0 {
		t.Errorf("an exit with 0: %q, %v", got, err)
	}
	var trap *isomer.TrapError
	if _, err := m.Call(t.Context(), "_start", []byte("#")); !errors.As(err, &trap) {
		t.Errorf("err = %v", err)
	}
	var limit *isomer.LimitError
	for _, in := range []string{"~", strings.Repeat("x", 1001)} {
		if _, err := m.Call(t.Context(), "_start", []byte(in)); !errors.As(err, &limit) || limit.Limit != engine.OutputSz {
			t.Errorf("%.9q: %v", in, err)
		}
	}
	if _, err := m.CallScalar(t.Context(), "_start"); !errors.Is(err, isomer.ErrArgument) {
		t.Errorf("as a scalar: %v", err)
	}
	if got, err := m.Call(t.Context(), "_start", []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("after all that: %q, %v", got, err)
	}
}

// endlessCommand is a command that never reads, writes or returns.
func endlessCommand() []byte {
	m := &wasm.Module{}
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 0))
	c := wasm.NewCode()
	c.Loop(func(top wasm.Label) { c.Br(top) })
	m.Export("_start", wasm.KindFunc, m.AddFunc("start", wasm.FuncType{}, c))
	return m.Encode()
}

func TestCommandDeadline(t *testing.T) {
	m := openBytes(t, endlessCommand(), isomer.WithDeadline(50*time.Millisecond))
	for range 2 {
		if _, err := m.Call(t.Context(), "_start", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	}
}

func TestCommandsInParallel(t *testing.T) {
	m := openBytes(t, enginetest.CommandGuest(), isomer.WithInstances(2))
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() {
			for k := range 100 {
				in := fmt.Sprint(n, k)
				if got, err := m.Call(context.Background(), "_start", []byte(in)); err != nil || string(got) != in {
					t.Errorf("%q, %v, want %q", got, err, in)
				}
			}
		})
	}
	callers.Wait()
}

// withManifest adds the manifest section to a module.
func withManifest(t testing.TB, bin []byte, m abi.Manifest) []byte {
	t.Helper()
	payload, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := wasm.SetCustomSection(bin, abi.ManifestSection, payload)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCommandWithManifest(t *testing.T) {
	manifest := abi.Manifest{
		Name: "copy", Version: "1.0.0",
		Functions: []abi.Function{{Name: "_start", Convention: abi.Command, Output: abi.JSON}},
		Golden: []abi.Golden{
			{Function: "_start", Input: []byte("[1.0]"), Output: []byte("[1]"), Tolerance: 1e-9},
			{Function: "_start", Input: []byte("[2]"), Output: []byte("[2]")},
		},
	}
	guest := enginetest.CommandGuest()
	m := openBytes(t, withManifest(t, guest, manifest))
	call := func(version string) {
		t.Helper()
		if got, err := m.Call(t.Context(), "_start", []byte("x")); err != nil || string(got) != "x" || m.Version() != version {
			t.Errorf("%s: %q, %v", m.Version(), got, err)
		}
	}
	call("1.0.0")
	manifest.Version, manifest.Golden[1].Output = "1.0.1", []byte("[3]")
	var refused *isomer.RefusedError
	if err := m.Swap(t.Context(), withManifest(t, guest, manifest)); !errors.As(err, &refused) || refused.Step != isomer.StepGate {
		t.Fatalf("err = %v", err)
	}
	call("1.0.0")
	manifest.Version, manifest.Golden[1].Output = "1.0.2", []byte("[2]")
	if err := m.Swap(t.Context(), withManifest(t, guest, manifest)); err != nil {
		t.Fatal(err)
	}
	call("1.0.2")
	if err := m.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	call("1.0.0")
}

// BenchmarkCommand is a call with its instance: 16 bytes through a small one, and what a runtime adds.
func BenchmarkCommand(b *testing.B) {
	for name, bin := range map[string][]byte{"small": enginetest.CommandGuest(), "go": words(b)} {
		b.Run(name, func(b *testing.B) {
			m := openBytes(b, bin)
			in := []byte("to be or not to ")
			for b.Loop() {
				if _, err := m.Call(b.Context(), "_start", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
