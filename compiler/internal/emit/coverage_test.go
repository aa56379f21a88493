package emit

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// checked counts the graphs that hold each word of the vocabulary and whose kernels agreed with Eval.
var checked = map[string]int{}

func count(g *ir.Graph) {
	words := map[string]bool{}
	for _, n := range g.Nodes {
		word := n.Op.Name()
		if fn := reflect.ValueOf(n.Op).FieldByName("Fn"); fn.IsValid() && (word == "unary" || word == "binary" || word == "each") {
			word += " " + fn.String()
		}
		words[word] = true
	}
	for w := range words {
		checked[w]++
	}
}

// leastGraphs is on how many graphs each operator has to agree with its Eval. Those with attributes have hundreds.
const leastGraphs = 4

// TestMain fails when all tests ran and an operator, or a function of one, has too few that compare its
// kernel with Eval: a new one comes with a test.
func TestMain(m *testing.M) {
	code := m.Run()
	if flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && code == 0 && !testing.Short() {
		for _, word := range ir.Vocabulary() {
			if checked[word] < leastGraphs {
				fmt.Printf("the kernel of %q is compared with Eval on %d graphs, fewer than %d\n", word, checked[word], leastGraphs)
				code = 1
			}
		}
	}
	os.Exit(code)
}
