package onnx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be a model is refused by its kind and size, before anything is read or allocated.
func TestReadFileRefusesWhatIsNoModel(t *testing.T) {
	dir := t.TempDir()
	sparse := filepath.Join(dir, "sparse.onnx")
	write(t, sparse, "")
	if err := os.Truncate(sparse, maxModel+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "not a regular file", sparse: "2147483648 bytes, at most 2147483647"} {
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
