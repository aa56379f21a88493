package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

// callOperands takes FILE and FUNCTION; a command has but one function, whose name nobody has to know.
func callOperands(c *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return operands("FILE", "FUNCTION")(c, args)
}

// choose finds the function that is to be called: the one named, or that of a command.
func choose(c *cobra.Command, m *isomer.Module, name []string) (abi.Function, error) {
	if len(name) > 0 {
		return find(m, name[0])
	}
	have := m.Functions()
	if k := slices.IndexFunc(have, func(f abi.Function) bool { return f.Convention == abi.Command }); k >= 0 {
		return have[k], nil
	}
	return abi.Function{}, usage(c, "FUNCTION is missing")
}
