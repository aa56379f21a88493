package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	content := func(path, want string, mode fs.FileMode) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", path, b, err, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	put := func(path, s string) {
		t.Helper()
		if err := writeFile(t.Context(), path, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "m.wasm")
	put(file, "one")
	content(file, "one", 0o644)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	put(file, "two")
	content(file, "two", 0o600) // who may read it stays as it was

	link := filepath.Join(dir, "current.wasm")
	if err := os.Symlink("m.wasm", link); err != nil {
		t.Fatal(err)
	}
	put(link, "three")
	content(file, "three", 0o600)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}

	put(os.DevNull, "four") // written, not replaced
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s became %v, %v", os.DevNull, info.Mode(), err)
	}

	if err := writeFile(t.Context(), filepath.Join(dir, "missing", "m.wasm"), nil); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	// An error names what was asked for, not the temporary file.
	if err := writeFile(t.Context(), filepath.Join(dir, strings.Repeat("n", 250)), nil); err == nil || strings.Contains(err.Error(), "n.") || strings.Contains(err.Error(), ".n") {
		t.Errorf("a name that is too long for a temporary one: %v", err)
	}
	nowhere := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.Symlink("missing", nowhere); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(t.Context(), nowhere, nil); err == nil {
		t.Error("a link to nothing was replaced")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReadRegularIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := readRegular(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := readRegular(path, 4); err == nil || !strings.Contains(err.Error(), "5 bytes, at most 4") {
		t.Errorf("beyond the bound: %v", err)
	}
}

// What waits for the other end of a pipe heeds signals: nobody may ever come.
func TestPipesHeedTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, out := io.Pipe()
	defer out.Close()
	if _, err := readInput(ctx, streams{in: in}, "-"); !errors.Is(err, context.Canceled) {
		t.Errorf("from stdin: %v", err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("no pipes in folders here")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if b, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if _, err := readInput(ctx, streams{}, pipe); !errors.Is(err, context.Canceled) {
		t.Errorf("from a pipe: %v", err)
	}
	if err := writeFile(ctx, pipe, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("to a pipe: %v", err)
	}
}
