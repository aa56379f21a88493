package wazero_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// wasiArguments are small and absurd ones, for every function of WASI.
var wasiArguments = [][]uint64{
	{0, 64, 1, 1024, 2048}, {1, 64, 1, 1024, 2048}, {2, 64, 1, 2048}, {3, 64, 1, 1024, 2048},
	{1, 64, 1, 0xffff_fff0}, {1, 0xffff_fff0, 8}, {64, 1024, 1, 2048}, {64, 1024, 0, 2048}, {0, 1024, 1, 2048}, {1, 1, 1024, 1024},
	{0xffff_ffff, 0, 0, 0}, {4096, 16}, {0, 0, 4096},
}

// changed lists the words of memory behind what the forwarder begins with.
func changed(b []byte) (out []uint64) {
	for at := 256; at+8 <= len(b); at += 8 {
		if v := binary.LittleEndian.Uint64(b[at:]); v != 0 {
			out = append(out, uint64(at), v)
		}
	}
	return out
}

// TestWASIAnswersAsTheLibrary compares our WASI with the one that comes with wazero, which other programs
// in Go run their modules on.
func TestWASIAnswersAsTheLibrary(t *testing.T) {
	ctx, bin := t.Context(), enginetest.WASIForwarder()
	e := open(t)
	defer e.Close()
	code, err := e.Compile(ctx, bin, engine.CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close()
	ours := func(name string, args []uint64) string {
		var out bytes.Buffer
		i, err := code.Instantiate(ctx, engine.InstanceConfig{WASI: &engine.WASI{Stdout: &out, Stderr: &out}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		stack := append(args[:len(args):len(args)], make([]uint64, 9)...)
		if err := i.Func(name).Call(ctx, stack); err != nil {
			exit := (*engine.ExitError)(nil)
			return fmt.Sprintf("trap, exit %t", errors.As(err, &exit) && exit.Code == 3)
		}
		return fmt.Sprintf("errno %d, memory %x, output %q", stack[0], changed(i.Memory().Bytes()), &out)
	}

	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	compiled, err := rt.CompileModule(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(name string, args []uint64) string {
		var out bytes.Buffer
		m, err := rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStdout(&out).WithStderr(&out).WithRandSource(&abi.FixedRandom{}))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(ctx)
		stack := append(args[:len(args):len(args)], make([]uint64, 9)...)
		if err := m.ExportedFunction(name).CallWithStack(ctx, stack); err != nil {
			exit := (*sys.ExitError)(nil)
			return fmt.Sprintf("trap, exit %t", errors.As(err, &exit) && exit.ExitCode() == 3)
		}
		b, _ := m.Memory().Read(0, m.Memory().Size())
		return fmt.Sprintf("errno %d, memory %x, output %q", stack[0], changed(b), &out)
	}

	compared := 0
	for _, name := range enginetest.WASINames() {
		for _, args := range wasiArguments {
			compared++
			if got, want := ours(name, args), theirs(name, args); got != want && !differs(name, got, want) {
				t.Errorf("%s%d: %s\nwazero's: %s", name, args, got, want)
			}
		}
	}
	if got, want := ours("exit", nil), theirs("exit", nil); got != want {
		t.Errorf("exit: %s, wazero's: %s", got, want)
	}
	if compared < 500 {
		t.Errorf("%d answers compared", compared)
	}
}

// stricter are the functions that refuse more than the library's: positions in standard input and output,
// which have none; more than 1024 parts or subscriptions; a count that cannot be stored, before anything is
// written.
var stricter = []string{"fd_pread", "fd_pwrite", "fd_read", "fd_write", "poll_oneoff"}

// differs allows what is meant to differ: the number of an error, where both refuse and leave memory as it
// was, and what is stricter.
func differs(name, got, want string) bool {
	refused := regexp.MustCompile(`^(errno [1-9]\d*, memory \[\], output ""|trap, exit false)$`)
	return refused.MatchString(got) && (refused.MatchString(want) || slices.Contains(stricter, name))
}
