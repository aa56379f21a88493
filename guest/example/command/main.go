// Command counts words: a plain program that reads standard input and writes standard output, and knows
// nothing of isomer. A module made of it is called like any function:
//
//	GOOS=wasip1 GOARCH=wasm go build -o words.wasm ./guest/example/command
//	echo to be or not to be | isomer call words.wasm
//
// Use it as a start for programs that exist already; what is called often belongs into a function of a guest
// SDK, because a program begins anew in an instance of its own at each call (7 ms in Go).
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	lines, words := 0, 0
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		lines++
		words += len(strings.Fields(in.Text()))
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err) // becomes the message of the caller's error
		os.Exit(1)
	}
	fmt.Printf("{\"lines\": %d, \"words\": %d}\n", lines, words)
}
