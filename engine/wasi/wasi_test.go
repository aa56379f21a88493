package wasi

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/engine"
)

// guest is an instance that is nothing but memory: what a call of WASI sees of one.
type guest struct {
	engine.Instance
	mem  []byte
	sys  *System
	call map[string]engine.HostFunc
}

func (g *guest) Memory() engine.Memory                { return g }
func (g *guest) Bytes() []byte                        { return g.mem }
func (g *guest) Grow(uint32) (before uint32, ok bool) { return 0, false }

func start(t testing.TB, grant engine.WASI) *guest {
	t.Helper()
	sys, err := New(grant)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &guest{mem: make([]byte, 1<<16), sys: sys, call: map[string]engine.HostFunc{}}
	var imports []engine.Import
	for name := range calls {
		imports = append(imports, engine.Import{Module: Module, Name: name, Kind: "func"})
	}
	for _, f := range sys.hostFuncs(imports) {
		g.call[f.Name] = f
	}
	return g
}

// do calls a function and gives its error number.
func (g *guest) do(t testing.TB, name string, args ...uint64) errno {
	t.Helper()
	no, err := g.try(t.Context(), name, args...)
	if err != nil {
		t.Fatalf("%s%x: %v", name, args, err)
	}
	return no
}

func (g *guest) try(ctx context.Context, name string, args ...uint64) (errno, error) {
	stack := make([]uint64, 9)
	copy(stack, args)
	f := g.call[name]
	err := f.Lend(ctx, g, stack[:max(1, len(f.Params))])
	return errno(stack[0]), err
}

// Where tests put what they pass.
const (
	pathAt   = 1024
	vecAt    = 2048
	bufAt    = 4096
	resultAt = 512
)

func (g *guest) u32(at int) uint64 { return uint64(binary.LittleEndian.Uint32(g.mem[at:])) }
func (g *guest) u64(at int) uint64 { return binary.LittleEndian.Uint64(g.mem[at:]) }

// text puts s where paths lie and gives pointer and length.
func (g *guest) text(s string) (uint64, uint64) {
	return pathAt, uint64(copy(g.mem[pathAt:], s))
}

func (g *guest) open(t testing.TB, dir uint64, path string, flags, rights uint64) (uint64, errno) {
	t.Helper()
	ptr, n := g.text(path)
	no := g.do(t, "path_open", dir, follow, ptr, n, flags, rights, 0, 0, resultAt)
	return g.u32(resultAt), no
}

// vector makes a list of one part, which lies at bufAt.
func (g *guest) vector(n int) (uint64, uint64) {
	binary.LittleEndian.PutUint32(g.mem[vecAt:], bufAt)
	binary.LittleEndian.PutUint32(g.mem[vecAt+4:], uint32(n))
	return vecAt, 1
}

func (g *guest) read(t testing.TB, fd uint64, n int) string {
	t.Helper()
	v, k := g.vector(n)
	if no := g.do(t, "fd_read", fd, v, k, resultAt); no != success {
		t.Fatalf("fd_read: errno %d", no)
	}
	return string(g.mem[bufAt : bufAt+int(g.u32(resultAt))])
}

// tree is a directory to read, with all sorts of ways out of it.
func tree(t testing.TB) (inside, outside string) {
	t.Helper()
	top := t.TempDir()
	inside, outside = filepath.Join(top, "in"), filepath.Join(top, "secret")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(inside, "sub", "deep"), 0o755),
		os.WriteFile(filepath.Join(inside, "hello"), []byte("hello, world"), 0o644),
		os.WriteFile(filepath.Join(inside, "sub", "b"), []byte("bb"), 0o644),
		os.WriteFile(filepath.Join(inside, "sub", "a"), []byte("a"), 0o644),
		os.WriteFile(outside, []byte("secret"), 0o644),
		os.Symlink("../hello", filepath.Join(inside, "sub", "near")),
		os.Symlink("../../secret", filepath.Join(inside, "sub", "out")),
		os.Symlink(outside, filepath.Join(inside, "absolute")),
		os.Symlink("..", filepath.Join(inside, "up")),
		os.Symlink("loop", filepath.Join(inside, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return inside, outside
}

const firstDir = 3

func TestDirectoryIsRead(t *testing.T) {
	dir, _ := tree(t)
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/data", Host: dir}}})
	if no := g.do(t, "fd_prestat_get", firstDir, resultAt); no != success || g.u64(resultAt) != 5<<32 {
		t.Fatalf("prestat: errno %d, %x", no, g.u64(resultAt))
	}
	if no := g.do(t, "fd_prestat_dir_name", firstDir, bufAt, 5); no != success || string(g.mem[bufAt:bufAt+5]) != "/data" {
		t.Fatalf("name: errno %d, %q", no, g.mem[bufAt:bufAt+5])
	}
	if no := g.do(t, "fd_prestat_get", firstDir+1, resultAt); no != badf {
		t.Errorf("a second directory: errno %d", no)
	}
	for _, path := range []string{"hello", "./sub/../hello", "sub/near", "sub//near"} {
		fd, no := g.open(t, firstDir, path, 0, 0)
		if no != success {
			t.Fatalf("%s: errno %d", path, no)
		}
		if got := g.read(t, fd, 5) + g.read(t, fd, 100) + g.read(t, fd, 100); got != "hello, world" {
			t.Errorf("%s: %q", path, got)
		}
		if no := g.do(t, "fd_seek", fd, ^uint64(4), fromEnd, resultAt); no != success || g.u64(resultAt) != 7 {
			t.Errorf("seek: errno %d, at %d", no, g.u64(resultAt))
		}
		v, k := g.vector(3)
		if no := g.do(t, "fd_pread", fd, v, k, 1, resultAt); no != success || string(g.mem[bufAt:bufAt+3]) != "ell" {
			t.Errorf("pread: errno %d, %q", no, g.mem[bufAt:bufAt+3])
		}
		if no := g.do(t, "fd_tell", fd, resultAt); no != success || g.u64(resultAt) != 7 {
			t.Errorf("tell: errno %d, at %d", no, g.u64(resultAt))
		}
		if got := g.read(t, fd, 100); got != "world" {
			t.Errorf("after seek: %q", got)
		}
		if no := g.do(t, "fd_filestat_get", fd, bufAt); no != success || g.u64(bufAt+32) != 12 || g.mem[bufAt+16] != regular {
			t.Errorf("stat: errno %d, %d bytes, type %d", no, g.u64(bufAt+32), g.mem[bufAt+16])
		}
		if no := g.do(t, "fd_close", fd); no != success {
			t.Errorf("close: errno %d", no)
		}
		if no := g.do(t, "fd_close", fd); no != badf {
			t.Errorf("close twice: errno %d", no)
		}
	}
}

func TestNothingOutside(t *testing.T) {
	dir, _ := tree(t)
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
	sub, no := g.open(t, firstDir, "sub", wantDir, 0)
	if no != success {
		t.Fatal(no)
	}
	for _, c := range []struct {
		dir  uint64
		path string
		want errno
	}{
		{firstDir, "../secret", notCapable}, {firstDir, "sub/../../secret", notCapable}, {firstDir, "sub/out", notCapable},
		{firstDir, "absolute", notCapable}, {firstDir, "/hello", notCapable}, {firstDir, "up/secret", notCapable},
		{firstDir, "loop", loop}, {firstDir, "nobody", noent}, {firstDir, "hello/x", notdir}, {firstDir, "", noent},
		{firstDir, "a\x00b", inval}, {firstDir, "\xff", ilseq}, {firstDir, strings.Repeat("x", 300), nameTooLong},
		{firstDir, strings.Repeat("./", 5000), nameTooLong},
		{sub, "../hello", notCapable}, {sub, "near", notCapable}, {sub, "a", success},
		{0, "hello", notdir}, {99, "hello", badf},
	} {
		fd, no := g.open(t, c.dir, c.path, 0, 0)
		if no != c.want {
			t.Errorf("open %.20q in %d: errno %d, want %d", c.path, c.dir, no, c.want)
		}
		if no == success {
			g.do(t, "fd_close", fd)
		}
		ptr, n := g.text(c.path)
		if no := g.do(t, "path_filestat_get", c.dir, follow, ptr, n, bufAt); no != c.want {
			t.Errorf("stat %.20q in %d: errno %d, want %d", c.path, c.dir, no, c.want)
		}
	}
	if no := g.do(t, "path_readlink", firstDir, pathAt, uint64(copy(g.mem[pathAt:], "absolute")), bufAt, 100, resultAt); no != notCapable {
		t.Errorf("readlink of an absolute link: errno %d", no)
	}
	if no := g.do(t, "path_readlink", firstDir, pathAt, uint64(copy(g.mem[pathAt:], "sub/near")), bufAt, 5, resultAt); no != success || g.u32(resultAt) != 5 {
		t.Errorf("readlink: errno %d, %d bytes", no, g.u32(resultAt))
	}
	ptr, n := g.text("sub/near")
	if no := g.do(t, "path_open", firstDir, 0, ptr, n, 0, 0, 0, 0, resultAt); no != loop {
		t.Errorf("a link that is not to be followed: errno %d", no)
	}
}

// A directory that becomes a link while the guest looks leads nowhere else, whatever the moment.
func TestNothingOutsideWhileItChanges(t *testing.T) {
	dir, outside := tree(t)
	out := filepath.Join(filepath.Dir(outside), "out")
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "a"), []byte("secret"), 0o644)); err != nil {
		t.Fatal(err)
	}
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
	place, kept := filepath.Join(dir, "sub"), filepath.Join(dir, "kept")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := errors.Join(os.Rename(place, kept), os.Symlink(out, place), os.Remove(place), os.Rename(kept, place)); err != nil {
				done <- err
				return
			}
		}
	}()
	read := 0
	for n := 0; n < 20_000 && read < 500; n++ {
		fd, no := g.open(t, firstDir, "sub/a", 0, 0)
		if no != success {
			continue
		}
		read++
		if got := g.read(t, fd, 100); got != "a" {
			t.Errorf("read %q", got)
		}
		g.do(t, "fd_close", fd)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsWritten(t *testing.T) {
	dir, _ := tree(t)
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
	for _, c := range []struct {
		path          string
		flags, rights uint64
		want          errno
	}{
		{"hello", truncate, 0, rofs}, {"hello", 0, writeRight, rofs}, {"new", create, 0, rofs},
		{"hello", create | exclusive, 0, exist}, {"hello", create, 0, success},
	} {
		if _, no := g.open(t, firstDir, c.path, c.flags, c.rights); no != c.want {
			t.Errorf("open %s, flags %d: errno %d, want %d", c.path, c.flags, no, c.want)
		}
	}
	file := uint64(firstDir + 1) // opened by the last one
	v, k := g.vector(3)
	ptr, n := g.text("hello")
	for name, no := range map[string]errno{
		"fd_write":                g.do(t, "fd_write", file, v, k, resultAt),
		"fd_pwrite":               g.do(t, "fd_pwrite", file, v, k, 0, resultAt),
		"fd_filestat_set_size":    g.do(t, "fd_filestat_set_size", file, 0),
		"fd_allocate":             g.do(t, "fd_allocate", file, 0, 100),
		"fd_filestat_set_times":   g.do(t, "fd_filestat_set_times", file, 0, 0, 0),
		"path_unlink_file":        g.do(t, "path_unlink_file", firstDir, ptr, n),
		"path_create_directory":   g.do(t, "path_create_directory", firstDir, ptr, n),
		"path_remove_directory":   g.do(t, "path_remove_directory", firstDir, ptr, n),
		"path_rename":             g.do(t, "path_rename", firstDir, ptr, n, firstDir, ptr, n),
		"path_link":               g.do(t, "path_link", firstDir, 0, ptr, n, firstDir, ptr, n),
		"path_symlink":            g.do(t, "path_symlink", ptr, n, firstDir, ptr, n),
		"path_filestat_set_times": g.do(t, "path_filestat_set_times", firstDir, 0, ptr, n, 0, 0, 0),
	} {
		if no == success {
			t.Errorf("%s succeeds", name)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "hello")); err != nil || string(got) != "hello, world" {
		t.Errorf("%q, %v", got, err)
	}
}

// names lists a directory through a buffer of size bytes, as libraries do: an entry that is cut off is
// asked for again.
func (g *guest) names(t testing.TB, fd uint64, size int) []string {
	t.Helper()
	var out []string
	cookie := uint64(0)
	for {
		if no := g.do(t, "fd_readdir", fd, bufAt, uint64(size), cookie, resultAt); no != success {
			t.Fatalf("fd_readdir: errno %d", no)
		}
		used := int(g.u32(resultAt))
		for b := g.mem[bufAt : bufAt+used]; len(b) >= 24; {
			n := int(binary.LittleEndian.Uint32(b[16:]))
			if len(b) < 24+n {
				break
			}
			cookie = binary.LittleEndian.Uint64(b)
			out = append(out, string(b[24:24+n]))
			b = b[24+n:]
		}
		if used < size {
			return out
		}
	}
}

func TestDirectoryIsListed(t *testing.T) {
	dir, _ := tree(t)
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
	sub, _ := g.open(t, firstDir, "sub", wantDir, 0)
	want := []string{".", "..", "a", "b", "deep", "near", "out"}
	for _, size := range []int{40, 64, 1000} {
		if got := g.names(t, sub, size); !slices.Equal(got, want) {
			t.Errorf("through %d bytes: %q, want %q", size, got, want)
		}
	}
	// Two at the same time.
	g.do(t, "fd_readdir", sub, bufAt, 60, 0, resultAt)
	g.names(t, firstDir, 1000)
	g.do(t, "fd_readdir", sub, bufAt, 25, 2, resultAt)
	if g.mem[bufAt+24] != 'a' {
		t.Errorf("after another one was listed: %q", g.mem[bufAt+24])
	}
	if no := g.do(t, "fd_readdir", 1, bufAt, 60, 0, resultAt); no != notdir {
		t.Errorf("standard output is listed: errno %d", no)
	}
}

func TestDescriptorsAreBounded(t *testing.T) {
	dir, _ := tree(t)
	g := start(t, engine.WASI{Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
	for n := 0; ; n++ {
		path := [...]string{"hello", "sub"}[n%2]
		if _, no := g.open(t, firstDir, path, 0, 0); no == mfile && n == maxOpen-firstDir-1 {
			break
		} else if no != success {
			t.Fatalf("open number %d: errno %d", n, no)
		}
	}
	g.do(t, "fd_close", 40)
	if fd, no := g.open(t, firstDir, "hello", 0, 0); no != success || fd != 40 {
		t.Errorf("after a close: %d, errno %d", fd, no)
	}
	if no := g.do(t, "fd_renumber", 40, 50); no != success {
		t.Errorf("renumber: errno %d", no)
	}
	if got := g.read(t, 50, 5); got != "hello" {
		t.Errorf("at its new number: %q", got)
	}
	if no := g.do(t, "fd_renumber", 40, 50); no != badf {
		t.Errorf("from a closed one: errno %d", no)
	}
	if no := g.do(t, "fd_renumber", 50, firstDir); no != notsup {
		t.Errorf("onto what the host gave: errno %d", no)
	}
}

func TestHugeListsAndPointers(t *testing.T) {
	g := start(t, engine.WASI{})
	if no := g.do(t, "fd_write", 1, 0, maxVectors+1, resultAt); no != inval {
		t.Errorf("too many parts: errno %d", no)
	}
	for k := 0; k < 1024; k++ { // each names the whole memory
		binary.LittleEndian.PutUint32(g.mem[8*k+4:], 1<<16)
		binary.LittleEndian.PutUint32(g.mem[8*k:], 0)
	}
	if no := g.do(t, "fd_write", 1, 0, 1024, resultAt); no != inval {
		t.Errorf("parts that are more than memory: errno %d", no)
	}
	if no := g.do(t, "random_get", 1<<32-1, 1<<32-1); no != fault {
		t.Errorf("random numbers outside: errno %d", no)
	}
	if no := g.do(t, "poll_oneoff", 0, 0, 1<<32-1, 0); no != inval {
		t.Errorf("too many subscriptions: errno %d", no)
	}
}

type failing struct{ err error }

func (f failing) Write(b []byte) (int, error) {
	if f.err == nil {
		panic("no paper")
	}
	return 0, f.err
}

// A writer of the host that fails is an error number, one that panics ends the call, and so does one
// that met a limit.
func TestWritersThatFail(t *testing.T) {
	limit := &engine.LimitError{Limit: engine.OutputSz}
	for _, c := range []struct {
		w    failing
		no   errno
		text string
	}{
		{failing{io.ErrClosedPipe}, ioError, ""}, {failing{}, 0, "panic: no paper"}, {failing{limit}, 0, limit.Error()},
	} {
		g := start(t, engine.WASI{Stdout: c.w})
		v, k := g.vector(4)
		no, err := g.try(t.Context(), "fd_write", 1, v, k, resultAt)
		if c.text == "" && (err != nil || no < c.no) || c.text != "" && (err == nil || !strings.HasSuffix(err.Error(), c.text)) {
			t.Errorf("%v: errno %d, %v", c.w, no, err)
		}
	}
}

func TestClocks(t *testing.T) {
	g := start(t, engine.WASI{})
	now := func(clock uint64) uint64 {
		if no := g.do(t, "clock_time_get", clock, 0, bufAt); no != success {
			t.Fatal(no)
		}
		return g.u64(bufAt)
	}
	if a, b := now(realtime), now(realtime); a != firstWall || b != a+tick {
		t.Errorf("%d, %d", a, b)
	}
	sub := func(k int, kind byte, clock, ns, flags uint64) {
		b := g.mem[8192+subscription*k:][:subscription]
		clear(b)
		b[0], b[8] = byte(k)+1, kind
		binary.LittleEndian.PutUint32(b[16:], uint32(clock))
		binary.LittleEndian.PutUint64(b[24:], ns)
		binary.LittleEndian.PutUint16(b[40:], uint16(flags))
	}
	ring := func(n uint64) (who []byte) {
		if no := g.do(t, "poll_oneoff", 8192, bufAt, n, resultAt); no != success {
			t.Fatalf("poll: errno %d", no)
		}
		for k := range int(g.u32(resultAt)) {
			who = append(who, g.mem[bufAt+event*k])
		}
		return who
	}
	// A sleep takes no time, but the clock shows that it was slept.
	before := now(monotonic)
	sub(0, onClock, monotonic, 5e9, 0)
	sub(1, onClock, monotonic, 3600e9, 0)
	if got := ring(2); !slices.Equal(got, []byte{1}) {
		t.Errorf("rang: %v", got)
	}
	if got := now(monotonic) - before; got != 5e9+tick {
		t.Errorf("slept %d ns", got)
	}
	sub(0, onClock, realtime, firstWall+100e9, absolute)
	sub(1, onRead, 9, 0, 0)
	if got := ring(1); !slices.Equal(got, []byte{1}) || now(realtime) != firstWall+100e9 {
		t.Errorf("rang: %v", got)
	}
	if got := ring(2); !slices.Equal(got, []byte{1, 2}) || g.mem[bufAt+event+8] != byte(badf) {
		t.Errorf("rang: %v", got)
	}

	g = start(t, engine.WASI{Clock: true})
	if now(realtime) < 1.7e18 {
		t.Error("not the machine's time")
	}
	a := now(monotonic)
	sub(0, onClock, monotonic, 1e6, 0)
	if got := ring(1); !slices.Equal(got, []byte{1}) || now(monotonic)-a < 1e6 {
		t.Errorf("rang: %v after %d ns", got, now(monotonic)-a)
	}
	// Who sleeps for good is woken by the end of the call.
	ctx, cancel := context.WithCancel(t.Context())
	sub(0, onClock, monotonic, 1<<63, 0)
	cancel()
	var limit *engine.LimitError
	if _, err := g.try(ctx, "poll_oneoff", 8192, bufAt, 1, resultAt); !errors.As(err, &limit) || limit.Limit != engine.Canceled {
		t.Errorf("err = %v", err)
	}
}

func TestRandom(t *testing.T) {
	draw := func(real bool) string {
		g := start(t, engine.WASI{Random: real})
		if no := g.do(t, "random_get", bufAt, 32); no != success {
			t.Fatal(no)
		}
		return string(g.mem[bufAt : bufAt+32])
	}
	if first := draw(false); draw(false) != first {
		t.Error("the fixed sequence is none")
	}
	if a := draw(true); a == draw(true) || a == draw(false) {
		t.Error("real random numbers repeat")
	}
}

func TestArgsAndInput(t *testing.T) {
	g := start(t, engine.WASI{Args: []string{"prog", "-v"}, Stdin: strings.NewReader("some input")})
	g.do(t, "args_sizes_get", resultAt, resultAt+4)
	if g.u64(resultAt) != 2|8<<32 {
		t.Fatalf("sizes %x", g.u64(resultAt))
	}
	g.do(t, "args_get", resultAt, bufAt)
	if string(g.mem[bufAt:bufAt+8]) != "prog\x00-v\x00" || g.u64(resultAt) != bufAt|(bufAt+5)<<32 {
		t.Errorf("%q at %x", g.mem[bufAt:bufAt+8], g.u64(resultAt))
	}
	if got := g.read(t, 0, 4) + "|" + g.read(t, 0, 100) + "|" + g.read(t, 0, 100); got != "some| input|" {
		t.Errorf("read %q", got)
	}
	_, err := g.try(t.Context(), "proc_exit", 3)
	var exit *engine.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("exit: %v", err)
	}
}

func TestDirectoryThatIsNotThere(t *testing.T) {
	_, err := New(engine.WASI{Dirs: []engine.Dir{{Guest: "/data", Host: filepath.Join(t.TempDir(), "nowhere")}}})
	if err == nil || !strings.Contains(err.Error(), "/data") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

// FuzzCalls gives every function any arguments and any memory: an error number, and nothing else.
func FuzzCalls(f *testing.F) {
	dir, _ := tree(f)
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	slices.Sort(names)
	for k := range names {
		f.Add(byte(k), uint64(firstDir), uint64(pathAt), uint64(8), uint64(bufAt), uint64(64), []byte("sub/near"))
		f.Add(byte(k), uint64(1), uint64(0), uint64(1), uint64(0xffff_fff0), uint64(1<<40), []byte("\x10\x00\x00\x00\xff\xff\xff\xff"))
	}
	if len(names) < 40 {
		f.Fatal("too few seeds")
	}
	f.Fuzz(func(t *testing.T, which byte, a, b, c, d, e uint64, mem []byte) {
		g := start(t, engine.WASI{Stdin: strings.NewReader("input"), Dirs: []engine.Dir{{Guest: "/", Host: dir}}})
		copy(g.mem, mem)
		copy(g.mem[pathAt:], mem)
		for n := range 3 { // a second call meets what the first one left
			name := names[(int(which)+n*int(a%7))%len(names)]
			no, err := g.try(t.Context(), name, a, b, c, d, e, a, b, c, resultAt)
			if err != nil && name != "proc_exit" {
				t.Fatalf("%s: %v", name, err)
			}
			if no > notCapable && err == nil {
				t.Fatalf("%s: errno %d", name, no)
			}
		}
		if got, err := os.ReadFile(filepath.Join(dir, "hello")); err != nil || string(got) != "hello, world" {
			t.Fatalf("%q, %v", got, err)
		}
	})
}
