//go:build wasmtime

package wasmtime

import (
	"encoding/binary"
	"math/rand"
)

// wasiImports are the functions of wasi_snapshot_preview1 by name: all of them are there, because
// language runtimes import more than they use, and those about files find none.
var wasiImports = map[string]wasiImport{
	"args_get":          {"ii", noString},
	"args_sizes_get":    {"ii", noStrings},
	"environ_get":       {"ii", noString},
	"environ_sizes_get": {"ii", noStrings},
	"clock_res_get":     {"ii", clockRes},
	"clock_time_get":    {"iIi", clockTime},
	"random_get":        {"ii", randomGet},
	"sched_yield":       {"", nothing},
	"poll_oneoff":       {"iiii", poll},
	"proc_exit":         {"i", nil},
	"proc_raise":        {"i", unsupported},

	"fd_advise":             {"iIIi", advise},
	"fd_allocate":           {"iII", stdio(nosys)},
	"fd_close":              {"i", fdClose},
	"fd_datasync":           {"i", stdio(success)},
	"fd_fdstat_get":         {"ii", fdstat},
	"fd_fdstat_set_flags":   {"ii", setFlags},
	"fd_fdstat_set_rights":  {"iII", unsupported},
	"fd_filestat_get":       {"ii", filestat},
	"fd_filestat_set_size":  {"iI", stdio(nosys)},
	"fd_filestat_set_times": {"iIIi", stdio(nosys)},
	"fd_pread":              {"iiiIi", positioned},
	"fd_prestat_dir_name":   {"iii", noDirName},
	"fd_prestat_get":        {"ii", noDir},
	"fd_pwrite":             {"iiiIi", positioned},
	"fd_read":               {"iiii", fdRead},
	"fd_readdir":            {"iiiIi", noFile},
	"fd_renumber":           {"ii", renumber},
	"fd_seek":               {"iIii", stdio(nosys)},
	"fd_sync":               {"i", stdio(success)},
	"fd_tell":               {"ii", stdio(nosys)},
	"fd_write":              {"iiii", fdWrite},

	"path_create_directory":   {"iii", stdio(notdir)},
	"path_filestat_get":       {"iiiii", stdio(notdir)},
	"path_filestat_set_times": {"iiiiIIi", stdio(notdir)},
	"path_link":               {"iiiiiii", stdio(notdir)},
	"path_open":               {"iiiiiIIii", stdio(notdir)},
	"path_readlink":           {"iiiiii", stdio(notdir)},
	"path_remove_directory":   {"iii", stdio(notdir)},
	"path_rename":             {"iiiiii", stdio(notdir)},
	"path_symlink":            {"iiiii", noFile},
	"path_unlink_file":        {"iii", stdio(notdir)},

	"sock_accept":   {"iii", noFile},
	"sock_recv":     {"iiiiii", noFile},
	"sock_send":     {"iiiii", noFile},
	"sock_shutdown": {"ii", noFile},
}

func nothing(*wasi, []byte, []uint64) uint32 { return success }

func unsupported(*wasi, []byte, []uint64) uint32 { return nosys }

func noFile(*wasi, []byte, []uint64) uint32 { return badf }

// stdio is a call that makes no difference to standard input and output, which answer errno.
func stdio(errno uint32) wasiCall {
	return func(w *wasi, _ []byte, a []uint64) uint32 {
		if !w.open(a[0]) {
			return badf
		}
		return errno
	}
}

// noString copies the strings of an empty list.
func noString(_ *wasi, mem []byte, a []uint64) uint32 {
	if span(mem, a[0], 0) == nil || span(mem, a[1], 0) == nil {
		return fault
	}
	return success
}

func noStrings(_ *wasi, mem []byte, a []uint64) uint32 {
	return max(put32(mem, a[0], 0), put32(mem, a[1], 0))
}

// Clocks.
const (
	realtime  = 0
	monotonic = 1
)

func clockRes(_ *wasi, mem []byte, a []uint64) uint32 {
	switch uint32(a[0]) {
	case realtime:
		return put64(mem, a[1], 1000)
	case monotonic:
		return put64(mem, a[1], 1)
	}
	return inval
}

func clockTime(w *wasi, mem []byte, a []uint64) uint32 {
	var now int64
	switch uint32(a[0]) {
	case realtime:
		now = w.wall
		w.wall += tick
	case monotonic:
		now = w.mono
		w.mono += tick
	default:
		return inval
	}
	return put64(mem, a[2], uint64(now))
}

func randomGet(w *wasi, mem []byte, a []uint64) uint32 {
	b := span(mem, a[0], a[1])
	if b == nil {
		return fault
	}
	if w.random == nil { // 5 KB that few modules need
		w.random = rand.New(rand.NewSource(seed))
	}
	w.random.Read(b)
	return success
}

func fdClose(w *wasi, _ []byte, a []uint64) uint32 {
	if !w.open(a[0]) {
		return badf
	}
	w.gone[a[0]] = true
	return success
}

// advices is how many kinds of advice there are; none of them changes anything.
const advices = 6

func advise(w *wasi, _ []byte, a []uint64) uint32 {
	if !w.open(a[0]) {
		return badf
	}
	if byte(a[3]) >= advices {
		return inval
	}
	return success
}

// Flags of a file descriptor.
const (
	flagNonblock = 1 << 2
	flagsSync    = 1<<1 | 1<<3 | 1<<4
)

func setFlags(w *wasi, _ []byte, a []uint64) uint32 {
	switch {
	case a[1]&flagsSync != 0:
		return inval
	case !w.open(a[0]):
		return badf
	case a[1]&flagNonblock != 0:
		return nosys
	}
	return success
}

// noDir describes standard input and output as directories without a name.
func noDir(w *wasi, mem []byte, a []uint64) uint32 {
	if !w.open(a[0]) {
		return badf
	}
	return put64(mem, a[1], 0)
}

func noDirName(w *wasi, mem []byte, a []uint64) uint32 {
	switch {
	case !w.open(a[0]):
		return badf
	case a[2] > 0:
		return nameTooLong
	case span(mem, a[1], 0) == nil:
		return fault
	}
	return success
}

func renumber(w *wasi, _ []byte, a []uint64) uint32 {
	if !w.open(a[0]) || int32(a[1]) < 0 {
		return badf
	}
	return notsup
}

// positioned reads or writes at a position, which standard input and output have none of.
func positioned(w *wasi, mem []byte, a []uint64) uint32 {
	if !w.open(a[0]) {
		return badf
	}
	vectors := span(mem, a[1], 8*a[2])
	if vectors == nil {
		return fault
	}
	for ; len(vectors) > 0; vectors = vectors[8:] {
		n := binary.LittleEndian.Uint32(vectors[4:])
		if span(mem, uint64(binary.LittleEndian.Uint32(vectors)), uint64(n)) == nil {
			return fault
		}
		if n > 0 {
			return badf
		}
	}
	return put32(mem, a[4], 0)
}

// What standard input and output say of themselves: a device, and all rights that files have.
const (
	blockDevice = 1
	fileRights  = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<21 | 1<<22 | 1<<23 | 1<<27
)

func fdstat(w *wasi, mem []byte, a []uint64) uint32 {
	b := span(mem, a[1], 24)
	if b == nil {
		return fault
	}
	if !w.open(a[0]) {
		return badf
	}
	clear(b)
	b[0] = blockDevice
	binary.LittleEndian.PutUint64(b[8:], fileRights)
	return success
}

func filestat(w *wasi, mem []byte, a []uint64) uint32 {
	b := span(mem, a[1], 64)
	if b == nil {
		return fault
	}
	if !w.open(a[0]) {
		return badf
	}
	clear(b)
	b[16] = blockDevice
	b[24] = 1 // links
	return success
}

// fdRead finds standard input at its end.
func fdRead(w *wasi, mem []byte, a []uint64) uint32 {
	if !w.open(a[0]) {
		return badf
	}
	vectors := span(mem, a[1], 8*a[2])
	if vectors == nil {
		return fault
	}
	for ; len(vectors) > 0; vectors = vectors[8:] {
		n := binary.LittleEndian.Uint32(vectors[4:])
		if n == 0 {
			continue
		}
		if span(mem, uint64(binary.LittleEndian.Uint32(vectors)), uint64(n)) == nil {
			return fault
		}
		if a[0] != 0 {
			return badf
		}
		break
	}
	return put32(mem, a[3], 0)
}

func fdWrite(w *wasi, mem []byte, a []uint64) uint32 {
	if !w.open(a[0]) || a[0] == 0 {
		return badf
	}
	vectors := span(mem, a[1], 8*a[2])
	if vectors == nil {
		return fault
	}
	written := uint32(0)
	for ; len(vectors) > 0; vectors = vectors[8:] {
		b := span(mem, uint64(binary.LittleEndian.Uint32(vectors)), uint64(binary.LittleEndian.Uint32(vectors[4:])))
		if b == nil {
			return fault
		}
		n, err := w.outputs[a[0]].Write(b)
		if err != nil {
			return ioError
		}
		written += uint32(n)
	}
	return put32(mem, a[3], written)
}

// Sizes and kinds of what poll_oneoff waits for.
const (
	subscription = 48
	event        = 32
	onClock      = 0
	onRead       = 1
	onWrite      = 2
)

// poll never waits: time passes by being asked for.
func poll(w *wasi, mem []byte, a []uint64) uint32 {
	n := a[2]
	if n == 0 {
		return inval
	}
	in, out := span(mem, a[0], n*subscription), span(mem, a[1], n*event)
	if in == nil || out == nil {
		return fault
	}
	clear(out)
	if errno := put32(mem, a[3], uint32(n)); errno != success {
		return errno
	}
	for ; len(in) > 0; in, out = in[subscription:], out[event:] {
		kind, errno := in[8], byte(success)
		switch kind {
		case onClock:
			switch binary.LittleEndian.Uint16(in[40:]) {
			case 0:
			case 1: // a point in time
				return notsup
			default:
				return inval
			}
		case onRead, onWrite:
			fd := uint64(binary.LittleEndian.Uint32(in[16:]))
			if !w.open(fd) {
				errno = badf
			} else if kind == onWrite {
				errno = notsup
			}
		default:
			return inval
		}
		copy(out, in[:8])
		out[8], out[10] = errno, kind
	}
	return success
}
