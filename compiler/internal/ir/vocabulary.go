package ir

import (
	"maps"
	"slices"
)

// Vocabulary is what a test of kernels has to cover: the word of each operator, with each of its functions
// where it has a table of them, such as "conv" and "unary sigmoid".
func Vocabulary() []string {
	fns := map[string][]string{
		"unary": slices.Sorted(maps.Keys(unaryFns)), "binary": slices.Sorted(maps.Keys(binaryFns)), "each": slices.Sorted(maps.Keys(eachFns)),
	}
	var words []string
	for _, op := range slices.Sorted(maps.Keys(ops)) {
		if fns[op] == nil {
			words = append(words, op)
		}
		for _, fn := range fns[op] {
			words = append(words, op+" "+fn)
		}
	}
	return words
}
