package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/guest"
)

// TestNewWithoutTools builds where no compiler is: the error names what is missing, the hint how to get it.
func TestNewWithoutTools(t *testing.T) {
	want := map[string][2]string{
		"go":   {"go is missing", "go.dev/dl"},
		"c":    {"wasm-ld, the linker for WebAssembly, is missing", "apt install clang lld"},
		"rust": {"rustc is missing", "rustup target add wasm32-unknown-unknown"},
		"as":   {"the AssemblyScript compiler is missing", "npm install"},
	}
	t.Setenv("PATH", t.TempDir())
	for _, lang := range guest.Languages() {
		for _, example := range guest.Examples() {
			dir := filepath.Join(t.TempDir(), "meter")
			status, out, talk := command(t, "new", dir, "--lang", lang, "--example", example)
			if status != 0 || !strings.Contains(out, "next: ") {
				t.Fatalf("%s%s", out, talk)
			}
			status, _, talk = command(t, "build", dir)
			if status != exitFailure || !strings.Contains(talk, "error: "+want[lang][0]) || !strings.Contains(talk, want[lang][1]) {
				t.Errorf("%s, %s: status %d, %s", lang, example, status, talk)
			}
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil || strings.Contains(string(readme), "{{") || lang == "as" && !strings.Contains(string(readme), "npm install") {
				t.Errorf("%s: %s, %v", lang, readme, err)
			}
		}
	}
}

func TestNewUsage(t *testing.T) {
	for _, args := range [][]string{{"new"}, {"new", "Big"}, {"new", "x", "--lang", "cobol"}, {"new", "x", "--example", "opera"}} {
		if status, _, talk := command(t, args...); status != exitUsage || !strings.Contains(talk, "hint: ") {
			t.Errorf("%v: status %d, %s", args, status, talk)
		}
	}
}

func TestNewDanglingLink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "meter")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	status, _, talk := command(t, "new", link)
	if status != exitFailure || !strings.Contains(talk, "meter: a symbolic link to what does not exist\nhint: remove it") {
		t.Errorf("status %d, %s", status, talk)
	}
}

func TestNewWhereAFileIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meter")
	replace(t, path, nil)
	status, _, talk := command(t, "new", path)
	if status != exitFailure || !strings.Contains(talk, "meter: a file of this name is there\nhint: remove it") {
		t.Errorf("status %d, %s", status, talk)
	}
}
