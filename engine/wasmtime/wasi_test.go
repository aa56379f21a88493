//go:build wasmtime

package wasmtime_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wasmtime"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/wasm"
)

// wasiSignatures are the functions of wasi_snapshot_preview1: i for i32, I for i64.
var wasiSignatures = map[string]string{
	"args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii", "clock_res_get": "ii",
	"clock_time_get": "iIi", "fd_advise": "iIIi", "fd_allocate": "iII", "fd_close": "i", "fd_datasync": "i",
	"fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "iII", "fd_filestat_get": "ii",
	"fd_filestat_set_size": "iI", "fd_filestat_set_times": "iIIi", "fd_pread": "iiiIi", "fd_prestat_dir_name": "iii",
	"fd_prestat_get": "ii", "fd_pwrite": "iiiIi", "fd_read": "iiii", "fd_readdir": "iiiIi", "fd_renumber": "ii",
	"fd_seek": "iIii", "fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii", "path_create_directory": "iii",
	"path_filestat_get": "iiiii", "path_filestat_set_times": "iiiiIIi", "path_link": "iiiiiii", "path_open": "iiiiiIIii",
	"path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii", "path_symlink": "iiiii",
	"path_unlink_file": "iii", "poll_oneoff": "iiii", "proc_raise": "i", "random_get": "ii", "sched_yield": "",
	"sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}

// forwarder exports each function of WASI under its own name, and "exit" for proc_exit.
func forwarder() []byte {
	m := &wasm.Module{}
	types := map[string]wasm.FuncType{}
	index := map[string]uint32{}
	names := make([]string, 0, len(wasiSignatures))
	for name, sig := range wasiSignatures {
		typ := wasm.FuncType{Results: []wasm.ValType{wasm.I32}}
		for _, p := range sig {
			typ.Params = append(typ.Params, map[rune]wasm.ValType{'i': wasm.I32, 'I': wasm.I64}[p])
		}
		types[name], names = typ, append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		index[name] = m.ImportFunc("wasi_snapshot_preview1", name, types[name])
	}
	exit := m.ImportFunc("wasi_snapshot_preview1", "proc_exit", wasm.FuncType{Params: []wasm.ValType{wasm.I32}})
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 1))
	m.AddData(64, []byte("\x80\x00\x00\x00\x05\x00\x00\x00hello")) // an iovec of 5 bytes at 128
	m.AddData(128, []byte("hello"))
	for _, name := range names {
		c := wasm.NewCode(types[name].Params...)
		for k := range types[name].Params {
			c.Get(c.Param(k))
		}
		m.Export(name, wasm.KindFunc, m.AddFunc(name, types[name], c.Call(index[name])))
	}
	m.Export("exit", wasm.KindFunc, m.AddFunc("exit", wasm.FuncType{}, wasm.NewCode().I32(3).Call(exit)))
	return m.Encode()
}

// answers calls everything with small and with absurd arguments and writes down what comes back.
func answers(t *testing.T, e engine.Engine) []string {
	t.Helper()
	defer e.Close()
	c, err := e.Compile(t.Context(), forwarder(), engine.CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []string
	for _, name := range sortedNames() {
		for _, args := range [][]uint64{
			{0, 64, 1, 1024, 2048}, {1, 64, 1, 1024, 2048}, {2, 64, 1, 2048}, {3, 64, 1, 1024, 2048},
			{1, 64, 1, 0xffff_fff0}, {1, 0xffff_fff0, 8}, {64, 1024, 1, 2048}, {64, 1024, 0, 2048}, {0, 1024, 1, 2048}, {1, 1, 1024, 1024},
			{0xffff_ffff, 0, 0, 0}, {4096, 16}, {0, 0, 4096},
		} {
			out = append(out, answer(t, c, name, args))
		}
	}
	return append(out, answer(t, c, "exit", nil))
}

func sortedNames() []string {
	var names []string
	for name := range wasiSignatures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// answer is one call on a new instance: error number, memory, output, or the trap.
func answer(t *testing.T, c engine.Code, name string, args []uint64) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{WASI: &engine.WASI{Stdout: &stdout, Stderr: &stderr}})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	stack := make([]uint64, 9)
	copy(stack, args)
	var trap *engine.TrapError
	if err := i.Func(name).Call(t.Context(), stack); errors.As(err, &trap) {
		return fmt.Sprintf("%s %x: trap: %s", name, args, trap.Reason)
	} else if err != nil {
		return fmt.Sprintf("%s %x: %v", name, args, err)
	}
	return fmt.Sprintf("%s %x: errno %d, memory %x, stdout %q, stderr %q", name, args, stack[0], changes(i.Memory().Bytes()), &stdout, &stderr)
}

// changes lists the words of memory that are not zero.
func changes(b []byte) []uint64 {
	var out []uint64
	for at := 256; at+8 <= len(b); at += 8 {
		if v := binary.LittleEndian.Uint64(b[at:]); v != 0 {
			out = append(out, uint64(at), v)
		}
	}
	return out
}

// TestWASIAnswers compares each function of WASI with the default engine's.
func TestWASIAnswers(t *testing.T) {
	ours, err := wasmtime.New()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	got, want := answers(t, ours), answers(t, theirs)
	for n := range want {
		if got[n] != want[n] && !bothRefuseFiles(got[n], want[n]) {
			t.Errorf("\n%s\nwazero: %s", got[n], want[n])
		}
	}
	if len(want) < 500 {
		t.Errorf("%d answers compared", len(want))
	}
}

// bothRefuseFiles allows another error number, and nothing else, in calls that need a file or a socket:
// the order in which arguments are checked is no promise. wazero 1.12 traps in fd_filestat_set_times.
func bothRefuseFiles(got, want string) bool {
	refused := regexp.MustCompile(`^(path_|sock_|fd_readdir|fd_filestat_set_times)\S* \[[^]]*\]: (errno [1-9]\d*, memory \[\],|trap: runtime error: invalid memory address)`)
	return refused.MatchString(got) && refused.MatchString(want)
}

type failing struct{ panics bool }

func (f failing) Write([]byte) (int, error) {
	if f.panics {
		panic("no paper")
	}
	return 0, io.ErrClosedPipe
}

// A writer of the host that fails is an error number, and one that panics costs one call.
func TestWritersThatFail(t *testing.T) {
	const errnoIO = 29
	call := func(w io.Writer) (uint64, error) {
		i := start(t, forwarder(), engine.CompileConfig{}, engine.InstanceConfig{WASI: &engine.WASI{Stdout: w}})
		stack := []uint64{1, 64, 1, 1024}
		err := i.Func("fd_write").Call(t.Context(), stack)
		return stack[0], err
	}
	if errno, err := call(failing{}); err != nil || errno != errnoIO {
		t.Errorf("errno %d, %v", errno, err)
	}
	var trap *engine.TrapError
	if _, err := call(failing{panics: true}); !errors.As(err, &trap) || trap.Reason != "panic in fd_write: no paper" {
		t.Errorf("err = %v", err)
	}
}
