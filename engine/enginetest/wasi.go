package enginetest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// WASISignatures are the parameters of the functions of wasi_snapshot_preview1, i for i32 and I for i64.
// Each returns an i32. proc_exit is not among them.
var WASISignatures = map[string]string{
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

// WASINames are those functions in order.
func WASINames() []string {
	var names []string
	for name := range WASISignatures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// WASIForwarder exports each function of WASI under its own name, so that a test calls it with any
// arguments, "exit" for proc_exit(3), and one page of memory, in which a list of one part at 64 names the
// five bytes "hello" at 128.
func WASIForwarder() []byte {
	m := &wasm.Module{}
	types := map[string]wasm.FuncType{}
	index := map[string]uint32{}
	for _, name := range WASINames() {
		t := wasm.FuncType{Results: []wasm.ValType{i32}}
		for _, p := range WASISignatures[name] {
			t.Params = append(t.Params, map[rune]wasm.ValType{'i': i32, 'I': wasm.I64}[p])
		}
		types[name], index[name] = t, m.ImportFunc(preview1, name, t)
	}
	exit := m.ImportFunc(preview1, "proc_exit", wasm.FuncType{Params: []wasm.ValType{i32}})
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 1))
	m.AddData(64, []byte("\x80\x00\x00\x00\x05\x00\x00\x00"))
	m.AddData(128, []byte("hello"))
	for _, name := range WASINames() {
		t := types[name]
		c := wasm.NewCode(t.Params...)
		for k := range t.Params {
			c.Get(c.Param(k))
		}
		m.Export(name, wasm.KindFunc, m.AddFunc(name, t, c.Call(index[name])))
	}
	m.Export("exit", wasm.KindFunc, m.AddFunc("exit", typeNone, wasm.NewCode().I32(3).Call(exit)))
	return m.Encode()
}

// CommandGuest is a WASI command that copies standard input to standard output. Where a read begins with
// '!', it writes the read to standard error and exits with the second byte as its code; with '#' it traps,
// with '~' it writes its first byte without end.
func CommandGuest() []byte {
	const buffer, room = 4096, 32 << 10
	m := &wasm.Module{}
	read := m.ImportFunc(preview1, "fd_read", typeAlloc)
	write := m.ImportFunc(preview1, "fd_write", typeAlloc)
	exit := m.ImportFunc(preview1, "proc_exit", wasm.FuncType{Params: []wasm.ValType{i32}})
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	c := wasm.NewCode()
	list := func(n func()) {
		c.I32(iovecAt).I32(buffer).Store(wasm.I32Store, 0).I32(iovecAt)
		n()
		c.Store(wasm.I32Store, 4)
	}
	got := func() { c.I32(iovecAt+8).Load(wasm.I32Load, 0) }
	first := func(is byte, then func()) {
		c.I32(buffer).Load(wasm.I32Load8U, 0).I32(int32(is)).Op(wasm.I32Eq).If(then)
	}
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			list(func() { c.I32(room) })
			c.I32(0).I32(iovecAt).I32(1).I32(iovecAt + 8).Call(read).Drop()
			got()
			c.Op(wasm.I32Eqz).BrIf(out)
			list(got)
			first('!', func() {
				c.I32(2).I32(iovecAt).I32(1).I32(iovecAt + 8).Call(write).Drop()
				c.I32(buffer+1).Load(wasm.I32Load8U, 0).Call(exit)
			})
			first('#', func() { c.Unreachable() })
			first('~', func() {
				c.Loop(func(again wasm.Label) {
					c.I32(1).I32(iovecAt).I32(1).I32(iovecAt + 8).Call(write).Drop().Br(again)
				})
			})
			c.I32(1).I32(iovecAt).I32(1).I32(iovecAt + 8).Call(write).Drop().Br(top)
		})
	})
	m.Export(abi.ExportStart, wasm.KindFunc, m.AddFunc("start", typeNone, c))
	return m.Encode()
}

// wasiCaller calls functions of WASI in an instance of WASIForwarder.
type wasiCaller struct {
	t testing.TB
	i engine.Instance
}

func forward(t testing.TB, e engine.Engine, grant engine.WASI) wasiCaller {
	t.Helper()
	i, err := compile(t, e, WASIForwarder(), engine.CompileConfig{}).Instantiate(t.Context(), engine.InstanceConfig{WASI: &grant})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return wasiCaller{t, i}
}

// do gives the error number.
func (w wasiCaller) do(name string, args ...uint64) uint64 {
	w.t.Helper()
	stack := make([]uint64, 9)
	copy(stack, args)
	if err := w.i.Func(name).Call(w.t.Context(), stack); err != nil {
		w.t.Fatalf("%s%v: %v", name, args, err)
	}
	return stack[0]
}

// Places in the forwarder's memory, and numbers of errors.
const (
	wasiPath, wasiList, wasiBuffer, wasiResult = 1024, 2048, 4096, 512

	errnoNoEntry       = 44
	errnoReadOnly      = 69
	errnoNotCapable    = 76
	firstDir           = 3
	followLinks, write = 1, 1 << 6
)

func (w wasiCaller) u32(at int) uint64 {
	return uint64(binary.LittleEndian.Uint32(w.i.Memory().Bytes()[at:]))
}

func (w wasiCaller) open(path string, rights uint64) (fd, errno uint64) {
	n := copy(w.i.Memory().Bytes()[wasiPath:], path)
	errno = w.do("path_open", firstDir, followLinks, wasiPath, uint64(n), 0, rights, 0, 0, wasiResult)
	return w.u32(wasiResult), errno
}

func testWASIFiles(t *testing.T, e engine.Engine) {
	top := t.TempDir()
	dir := filepath.Join(top, "granted")
	for _, err := range []error{
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "reading"), []byte("21.5 degrees"), 0o644),
		os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o644),
		os.Symlink("../secret", filepath.Join(dir, "out")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w := forward(t, e, engine.WASI{Dirs: []engine.Dir{{Guest: "/sensors", Host: dir}}})
	if no := w.do("fd_prestat_get", firstDir, wasiResult); no != 0 || w.u32(wasiResult+4) != uint64(len("/sensors")) {
		t.Errorf("prestat: errno %d, %d bytes", no, w.u32(wasiResult+4))
	}
	fd, no := w.open("reading", 0)
	if no != 0 {
		t.Fatalf("open: errno %d", no)
	}
	mem := w.i.Memory().Bytes()
	binary.LittleEndian.PutUint32(mem[wasiList:], wasiBuffer)
	binary.LittleEndian.PutUint32(mem[wasiList+4:], 100)
	if no := w.do("fd_seek", fd, 5, 0, wasiResult); no != 0 {
		t.Errorf("seek: errno %d", no)
	}
	if no := w.do("fd_read", fd, wasiList, 1, wasiResult); no != 0 || string(mem[wasiBuffer:wasiBuffer+w.u32(wasiResult)]) != "degrees" {
		t.Errorf("read: errno %d, %q", no, mem[wasiBuffer:wasiBuffer+w.u32(wasiResult)])
	}
	for path, want := range map[string]uint64{"out": errnoNotCapable, "../secret": errnoNotCapable, "/etc/passwd": errnoNotCapable, "gone": errnoNoEntry} {
		if _, no := w.open(path, 0); no != want {
			t.Errorf("open %s: errno %d, want %d", path, no, want)
		}
	}
	if _, no := w.open("reading", write); no != errnoReadOnly {
		t.Errorf("open to write: errno %d", no)
	}
	if no := w.do("fd_readdir", firstDir, wasiBuffer, 1000, 0, wasiResult); no != 0 {
		t.Errorf("readdir: errno %d", no)
	}
	if list := string(mem[wasiBuffer : wasiBuffer+w.u32(wasiResult)]); !strings.Contains(list, "out") || !strings.HasSuffix(list, "reading") {
		t.Errorf("listing %q", list)
	}
	_, err := compile(t, e, WASIForwarder(), engine.CompileConfig{}).Instantiate(t.Context(), engine.InstanceConfig{
		WASI: &engine.WASI{Dirs: []engine.Dir{{Guest: "/sensors", Host: filepath.Join(top, "nowhere")}}}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/sensors") {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func testWASIGrants(t *testing.T, e engine.Engine) {
	read := func(grant engine.WASI) (clock uint64, random string) {
		w := forward(t, e, grant)
		if no := w.do("clock_time_get", 0, 0, wasiBuffer) + w.do("random_get", wasiBuffer+8, 16); no != 0 {
			t.Fatalf("errno %d", no)
		}
		mem := w.i.Memory().Bytes()[wasiBuffer:]
		return binary.LittleEndian.Uint64(mem), string(mem[8:24])
	}
	// What golden cases may have recorded, on whichever engine.
	const wantClock, wantRandom = 1640995200 * 1e9, "956eeb2f2632d7bd03f166b233e3ef28"
	clock, random := read(engine.WASI{})
	if clock != wantClock || len(random) != 16 || hex.EncodeToString([]byte(random)) != wantRandom {
		t.Errorf("without a grant: %d, %s", clock, hex.EncodeToString([]byte(random)))
	}
	clock, random = read(engine.WASI{Clock: true, Random: true})
	if _, again := read(engine.WASI{Random: true}); clock < 1.7e18 || random == again || hex.EncodeToString([]byte(random)) == wantRandom {
		t.Errorf("granted: %d, %s", clock, hex.EncodeToString([]byte(random)))
	}
}

func testWASICommand(t *testing.T, e engine.Engine) {
	c := compile(t, e, CommandGuest(), engine.CompileConfig{})
	run := func(in string) (stdout, stderr string, err error) {
		var out, errs bytes.Buffer
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{WASI: &engine.WASI{Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errs}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		err = i.Func(abi.ExportStart).Call(t.Context(), nil)
		return out.String(), errs.String(), err
	}
	long := strings.Repeat("a long text. ", 10_000)
	if out, _, err := run(long); err != nil || out != long {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	_, errs, err := run("!\x03 no")
	var trap *engine.TrapError
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || !errors.As(err, &trap) || trap.Reason != "the module exited with code 3" || errs != "!\x03 no" {
		t.Errorf("err = %v, standard error %q", err, errs)
	}
	if _, _, err := run("!\x00"); !errors.As(err, &exit) || exit.Code != 0 {
		t.Errorf("err = %v", err)
	}
	if _, _, err := run("#"); !errors.As(err, &trap) || trap.Reason != "unreachable" {
		t.Errorf("err = %v", err)
	}
}
