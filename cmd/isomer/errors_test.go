package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
)

// A module as large as VGG16's is 553 MB and needs a word on how to let it in.
func TestHintForLargeModule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.wasm")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 553<<20); err != nil { // sparse: it costs nothing
		t.Fatal(err)
	}
	_, err := isomer.Open(t.Context(), path)
	var text bytes.Buffer
	if report(&text, err) == 0 || !strings.Contains(text.String(), "hint: let it have more with --memory MIB") {
		t.Errorf("error reads:\n%s", &text)
	}
}
