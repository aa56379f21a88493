package main

import (
	"io/fs"
	"os"
	"path/filepath"
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
		if err := writeFile(path, []byte(s)); err != nil {
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

	if err := writeFile(filepath.Join(dir, "missing", "m.wasm"), nil); err == nil {
		t.Error("no error for a folder that does not exist")
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
