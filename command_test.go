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
		case "quiet":
			os.Exit(4)
		case "panic":
			panic("no way on")
		case "flood":
			for {
				fmt.Println(strings.Repeat("x", 1000))
			}
		case "forever":
			for {
				calls++
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

func newCommand(t testing.TB, bin []byte, opts ...isomer.Option) *isomer.Module {
	t.Helper()
	m, err := isomer.New(t.Context(), bin, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestCommand(t *testing.T) {
	var out strings.Builder
	m := newCommand(t, words(t), isomer.WithDeadline(time.Minute), isomer.WithMaxOutput(1<<16), isomer.WithOutput(&out))
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
	if _, err := m.Call(t.Context(), "_start", []byte("quiet")); !errors.As(err, &app) || app.Message != "exit code 4" {
		t.Errorf("err = %v", err)
	}
	if _, err := m.Call(t.Context(), "_start", []byte("panic")); !errors.As(err, &app) || !strings.HasPrefix(app.Message, "exit code 2: ") {
		t.Errorf("err = %v", err)
	}
	var limit *isomer.LimitError
	if _, err := m.Call(t.Context(), "_start", []byte("flood")); !errors.As(err, &limit) || limit.Limit != engine.OutputSz {
		t.Errorf("err = %v", err)
	}
	if _, err := m.CallScalar(t.Context(), "_start"); !errors.Is(err, isomer.ErrArgument) {
		t.Errorf("as a scalar: %v", err)
	}
	if got, err := m.CallInto(t.Context(), make([]byte, 0, 100), "_start", nil); err != nil || string(got) != "0 words, 0 bytes, run 1 of module\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// The answer may lie where the input lay, which the program still reads while it writes.
func TestCommandIntoItsInput(t *testing.T) {
	m := newCommand(t, words(t))
	in := []byte(strings.Repeat("word ", 20_000) + "\nand a line")
	got, err := m.CallInto(t.Context(), in, "_start", in)
	if err != nil || string(got) != "20003 words, 100010 bytes, run 1 of module\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCommandDeadline(t *testing.T) {
	m := newCommand(t, words(t), isomer.WithDeadline(2*time.Second))
	var limit *isomer.LimitError
	if _, err := m.Call(t.Context(), "_start", []byte("forever")); !errors.As(err, &limit) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestCommandsInParallel(t *testing.T) {
	m := newCommand(t, words(t), isomer.WithInstances(2))
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() {
			for range 5 {
				in := strings.Repeat("w ", n+1)
				got, err := m.Call(context.Background(), "_start", []byte(in))
				if want := fmt.Sprintf("%d words, %d bytes, run 1 of module\n", n+1, len(in)); err != nil || string(got) != want {
					t.Errorf("%q, %v, want %q", got, err, want)
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
		Name: "words", Version: "1.0.0",
		Functions: []abi.Function{{Name: "_start", Convention: abi.Command}},
		Golden: []abi.Golden{
			{Function: "_start", Input: []byte("one two"), Output: []byte("2 words, 7 bytes, run 1 of words\n")},
			{Function: "_start", Input: nil, Output: []byte("0 words, 0 bytes, run 1 of words\n")},
		},
	}
	bin := withManifest(t, words(t), manifest)
	m := newCommand(t, bin)
	got, err := m.Call(t.Context(), "_start", []byte("x"))
	if err != nil || string(got) != "1 words, 1 bytes, run 1 of words\n" {
		t.Fatalf("%q, %v", got, err)
	}
	manifest.Version, manifest.Golden[1].Output = "1.0.1", []byte("something else\n")
	var refused *isomer.RefusedError
	if err := m.Swap(t.Context(), withManifest(t, words(t), manifest)); !errors.As(err, &refused) || refused.Step != isomer.StepGate {
		t.Fatalf("err = %v", err)
	}
	manifest.Version, manifest.Golden = "1.0.2", manifest.Golden[:1]
	if err := m.Swap(t.Context(), withManifest(t, words(t), manifest)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Call(t.Context(), "_start", nil); err != nil || m.Version() != "1.0.2" {
		t.Errorf("%s, %v", m.Version(), err)
	}
}
