package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/guest"
)

// missing names the tool that the language lacks here, "" for none. ISOMER_NODE_MODULES is a folder into
// which npm installed assemblyscript.
func missing(lang string) string {
	tools := map[string][]string{"go": {"go"}, "c": {"clang", "wasm-ld"}, "rust": {"cargo", "rustc"}}[lang]
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			return t
		}
	}
	switch lang {
	case "as":
		if os.Getenv("ISOMER_NODE_MODULES") == "" {
			return "assemblyscript (ISOMER_NODE_MODULES is not set)"
		}
	case "rust":
		out, err := exec.Command("rustc", "--print", "target-libdir", "--target", "wasm32-unknown-unknown").Output()
		if err == nil {
			_, err = os.Stat(strings.TrimSpace(string(out)))
		}
		if err != nil {
			return "Rust's library for wasm32-unknown-unknown"
		}
	}
	return ""
}

// command runs the CLI in this process.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	status = execute(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &talk})
	return status, out.String(), talk.String()
}

// newMeter begins a project in lang, or skips where that language's tools are not here.
func newMeter(t *testing.T, lang string) (dir string) {
	t.Helper()
	if tool := missing(lang); tool != "" {
		t.Skipf("%s is not here", tool)
	}
	dir = filepath.Join(t.TempDir(), "meter")
	if status, _, talk := command(t, "new", dir, "--lang", lang); status != 0 {
		t.Fatal(talk)
	}
	linkModules(t, lang, dir)
	return dir
}

// TestGuests begins, builds and calls a project in each language: the same cases for all.
func TestGuests(t *testing.T) {
	for _, lang := range guest.Languages() {
		t.Run(lang, func(t *testing.T) {
			dir := newMeter(t, lang)
			if status, out, talk := command(t, "build", dir); status != 0 || !strings.Contains(out, "4 cases passed") {
				t.Fatalf("%s%s", out, talk)
			}
			m, err := isomer.Open(t.Context(), filepath.Join(dir, "meter.wasm"), isomer.WithWatch(false))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if manifest, ok := m.Manifest(); !ok || m.Name() != "meter" || m.Version() != "0.1.0" || len(manifest.Golden) != 2 {
				t.Errorf("manifest %+v", manifest)
			}
			type energy struct{ KWh float64 }
			for range 1000 { // enough for an allocator that leaks 64 KiB a call to meet its limit
				in := make([]int, 1000)
				in[7] = 2500
				if got, err := isomer.CallJSON[energy](t.Context(), m, "total", in); err != nil || got.KWh != 2.5 {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			// The same bytes in each language.
			for in, want := range map[string]string{"[]": "0", "[0]": "0", "[1]": "0.001", "[10,20]": "0.03", "[ 1200 ]": "1.2", "[999999]": "999.999", "[123456789012]": "123456789.012", "[5000,\n 5]": "5.005"} {
				if out, err := m.Call(t.Context(), "total", []byte(in)); err != nil || string(out) != `{"kWh":`+want+`}` {
					t.Errorf("%s: %s, %v; want %s", in, out, err, want)
				}
			}
			for _, bad := range []string{"", "[", "{}", "[1,", "[1]x", "[1,,2]", "[,1]", `["a"]`, "[1.5]", "[-3]"} {
				var app *isomer.AppError
				if out, err := m.Call(t.Context(), "total", []byte(bad)); !errors.As(err, &app) {
					t.Errorf("%q: %s, %v", bad, out, err)
				}
			}
		})
	}
}

// TestGuestCMemory uses what clang turns into calls of a C library, of which a module has none.
func TestGuestCMemory(t *testing.T) {
	if tool := missing("c"); tool != "" {
		t.Skipf("%s is not here", tool)
	}
	dir := filepath.Join(t.TempDir(), "meter")
	if status, _, talk := command(t, "new", dir, "--lang", "c"); status != 0 {
		t.Fatal(talk)
	}
	source := `#define ISOMER_IMPLEMENTATION
#include "isomer.h"
static uint8_t last[64];
ISOMER_BYTES(total) { /* the order of this input and the one before */
    uint8_t copy[64] = {0};
    __builtin_memcpy(copy, input.data, input.len);
    int order = __builtin_memcmp(copy, last, input.len);
    __builtin_memmove(last, copy, sizeof last);
    return isomer_ok(order < 0 ? "-" : order > 0 ? "+" : "=", 1);
}`
	project := `{"name": "meter", "language": "c", "functions": [{"name": "total", "convention": "bytes"}], "cases": [
	{"function": "total", "input": "b\u0080", "output": "+"}, {"function": "total", "input": "b\u0080", "output": "="},
	{"function": "total", "input": "b", "output": "="}, {"function": "total", "input": "a\u0080", "output": "-"},
	{"function": "total", "input": "", "output": "="}]}`
	for name, text := range map[string]string{"main.c": source, "isomer.json": project} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, out, talk := command(t, "build", dir); status != 0 || !strings.Contains(out, "5 cases passed") {
		t.Fatalf("%s%s", out, talk)
	}
}

// TestGuestPanic has a module die with words: they reach whoever asked for its output.
func TestGuestPanic(t *testing.T) {
	for lang, edit := range map[string]struct{ file, old, new string }{
		"go":   {"main.go", `return energy{}, errors.New("a pulse count is below 0")`, `panic(errors.New("a pulse count is below 0"))`},
		"rust": {"src/lib.rs", `return Err("a pulse count is below 0".to_string())`, `panic!("a pulse count is below 0")`},
		"as":   {"index.ts", `return fail("a pulse count is below 0")`, `throw new Error("a pulse count is below 0")`},
	} {
		t.Run(lang, func(t *testing.T) {
			dir := newMeter(t, lang)
			replaceIn(t, filepath.Join(dir, edit.file), edit.old, edit.new)
			replaceIn(t, filepath.Join(dir, "isomer.json"), `    {"function": "total", "input": [-1], "error": "below 0"},`, "")
			if status, out, talk := command(t, "build", dir); status != 0 {
				t.Fatalf("%s%s", out, talk)
			}
			var words bytes.Buffer
			m, err := isomer.Open(t.Context(), filepath.Join(dir, "meter.wasm"), isomer.WithWatch(false), isomer.WithOutput(&words))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			_, err = m.Call(t.Context(), "total", []byte("[-1]"))
			var trap *isomer.TrapError
			if !errors.As(err, &trap) || !strings.Contains(words.String(), "a pulse count is below 0") || !strings.Contains(trap.Stderr, "a pulse count is below 0") {
				t.Errorf("%v, words %q", err, words.String())
			}
		})
	}
}

// replaceIn edits a file that has old in one place.
func replaceIn(t *testing.T, file, old, new string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), old) != 1 {
		t.Fatalf("%s: %v, or not one %q", file, err, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGuestRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "meter")
	if status, _, talk := command(t, "new", dir); status != 0 {
		t.Fatal(talk)
	}
	file := filepath.Join(dir, "isomer.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ old, new, want string }{
		{`"kWh": 1}`, `"kWh": 2}`, "kWh differs"},
		{`"below 0"`, `"above 9"`, "below 0"},
		{`"cases"`, `"casse"`, `unknown field "casse"`},
		{`"language": "go"`, `"language": "cobol"`, `"cobol" is none of`},
		{`{"function": "total", "input": []`, `{"function": "sum", "input": []`, "cases[1]"},
	}
	for _, tt := range tests {
		if err := os.WriteFile(file, bytes.Replace(good, []byte(tt.old), []byte(tt.new), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		if status, _, talk := command(t, "build", dir); status != exitFailure || !strings.Contains(talk, tt.want) {
			t.Errorf("%s: status %d, %s", tt.new, status, talk)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "meter.wasm")); err == nil {
		t.Error("a module that was refused was written")
	}
	for _, args := range [][]string{{"new", dir}, {"build", t.TempDir()}} {
		if status, _, talk := command(t, args...); status != exitFailure || !strings.Contains(talk, "hint: ") {
			t.Errorf("%v: status %d, %s", args, status, talk)
		}
	}
	for _, args := range [][]string{{"new", "Big"}, {"new", dir + "2", "--lang", "cobol"}, {"build", dir, "--top", "3"}} {
		if status, _, talk := command(t, args...); status != exitUsage {
			t.Errorf("%v: status %d, %s", args, status, talk)
		}
	}
}
