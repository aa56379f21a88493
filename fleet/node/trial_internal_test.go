package node

import (
	"path/filepath"
	"testing"
)

// BenchmarkMark is what a call costs more while its release is on trial.
func BenchmarkMark(b *testing.B) {
	m := mark{path: filepath.Join(b.TempDir(), "trials", "meter.serves")}
	if err := m.watch("digest"); err != nil {
		b.Fatal(err)
	}
	defer m.done()
	for b.Loop() {
		m.enter()
		m.leave()
	}
}
