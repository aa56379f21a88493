//go:build ignore

// Static says whether Linux programs run without a loader and without shared libraries:
//
//	go run .ci/static.go FILE...
package main

import (
	"debug/elf"
	"fmt"
	"os"
)

func main() {
	for _, file := range os.Args[1:] {
		if err := check(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

func check(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("needs a loader (PT_INTERP)")
		}
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	if len(libraries) > 0 {
		return fmt.Errorf("needs %v", libraries)
	}
	fmt.Printf("%s %s, static\n", f.Machine, f.Class)
	return nil
}
