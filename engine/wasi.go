package engine

import (
	"errors"
	"fmt"
	"io"
)

// WASI grants wasi_snapshot_preview1. The zero value is the smallest grant on which compiled Go, Rust or
// C runs: no files, no arguments, no input, and a clock and a random source that are the same in each
// instance, so that a module computes the same on each layer. Package wasi carries it out.
type WASI struct {
	Stdin          io.Reader // nil: at its end from the start
	Stdout, Stderr io.Writer // nil discards

	// Args are the arguments; the first one is the program's name.
	Args []string
	// Clock gives the machine's time, and lets the guest sleep. Otherwise time begins at
	// 2022-01-01 00:00 UTC and goes on by a millisecond a reading, and by what a guest sleeps at once.
	Clock bool
	// Random gives real random numbers; otherwise always the same sequence.
	Random bool
	// Dirs are the directories that the guest may read, with everything below them.
	Dirs []Dir
}

// Dir is a directory of the host that a guest may read and never write. Nothing outside it can be
// reached from inside, be it by "..", a symbolic link, or a path that changes meanwhile.
type Dir struct {
	Guest string // the name by which the guest knows it, such as "/data"
	Host  string // where it is
}

// ExitError is a guest that ended itself with proc_exit. Func.Call returns it within a *TrapError,
// because the instance can only be closed, also where the code is 0.
type ExitError struct{ Code uint32 }

func (e *ExitError) Error() string { return fmt.Sprintf("the module exited with code %d", e.Code) }

// Reason is what a *TrapError says of a call that err ended from outside.
func Reason(err error) string {
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		return exit.Error()
	}
	return err.Error()
}
