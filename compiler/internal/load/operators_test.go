package load

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOperatorsAreDocumented compares docs/operators.md with the table of converters.
func TestOperatorsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "operators.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.Contains(line, "operator |") {
			documented = append(documented, regexp.MustCompile(`([a-z]+\.)*[A-Z]\w+`).FindAllString(cells[1], -1)...)
		}
	}
	for _, name := range documented {
		if converters[name] == nil {
			t.Errorf("docs/operators.md lists %s, which the compiler does not take", name)
		}
	}
	for name := range converters {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/operators.md does not list %s", name)
		}
	}
}
