package sensors

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// recorded is a tree of a gateway with a BME280, a converter MCP3208, a processor and a fan controller. It
// is one file, since iio:device0 cannot be a file's name in a Go module.
//
//go:embed testdata/sys.json
var recorded []byte

// Recorded is the recording that comes with the example.
func Recorded() []byte { return recorded }

// Unpack writes a recording, a JSON object from path to content, into dir: the sys of Scan.
func Unpack(recording []byte, dir string) error {
	var files map[string]string
	if err := json.Unmarshal(recording, &files); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	for name, content := range files {
		local := filepath.FromSlash(name)
		if !filepath.IsLocal(local) {
			return fmt.Errorf("recording: %q is outside the tree", name)
		}
		path := filepath.Join(dir, local)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
	}
	return nil
}
