package wasi

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/engine"
)

// maxOpen bounds the descriptors of an instance: a process has 1024 for everything, where nobody raised it.
const maxOpen = 128

// descriptor is what a number stands for: an input, an output, a directory or a file.
type descriptor struct {
	in        io.Reader
	out       io.Writer
	root      *os.Root
	file      *os.File
	guest     string // path by which the guest reached it
	preopened bool
	at        int64 // position in file
}

func (d *descriptor) stdio() bool { return d.in != nil || d.out != nil }

func (d *descriptor) close() error {
	if d.root != nil {
		return d.root.Close()
	}
	if d.file != nil {
		return d.file.Close()
	}
	return nil
}

func (s *System) fd(n uint64) *descriptor {
	if n >= uint64(len(s.fds)) {
		return nil
	}
	return s.fds[n]
}

// full reports whether there is no number left.
func (s *System) full() bool { return len(s.fds) >= maxOpen && !slices.Contains(s.fds, nil) }

// add gives d the lowest number that is free, as POSIX does.
func (s *System) add(d *descriptor) uint32 {
	n := slices.Index(s.fds, nil)
	if n < 0 {
		n = len(s.fds)
		s.fds = append(s.fds, nil)
	}
	s.fds[n] = d
	return uint32(n)
}

func fdClose(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	_ = d.close() // nothing was written
	s.fds[a[0]] = nil
	if s.listing.of == d {
		s.listing = listing{}
	}
	return success
}

// renumber moves what a guest opened onto another number that it opened.
func renumber(s *System, a []uint64) errno {
	from, to := s.fd(a[0]), s.fd(a[1])
	switch {
	case from == nil || to == nil:
		return badf
	case from.stdio() || to.stdio() || from.preopened || to.preopened:
		return notsup
	case from == to:
		return success
	}
	_ = fdClose(s, a[1:])
	s.fds[a[1]], s.fds[a[0]] = from, nil
	return success
}

func fdRead(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil || d.in == nil && d.root == nil && d.file == nil {
		return badf
	}
	v, no := s.vectors(a[1], a[2])
	switch {
	case no != success:
		return no
	case d.root != nil:
		return isdir
	case s.span(a[3], 4) == nil:
		return fault
	}
	var n uint32
	var err error
	if d.file != nil {
		n, err = s.readAt(d, v, d.at)
		d.at += int64(n)
	} else {
		n, err = v.each(d.in.Read)
	}
	return s.moved(n, err, a[3])
}

func fdPread(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	v, no := s.vectors(a[1], a[2])
	switch {
	case no != success:
		return no
	case d.stdio():
		return spipe
	case d.root != nil:
		return isdir
	case a[3] > math.MaxInt64:
		return inval
	case s.span(a[4], 4) == nil:
		return fault
	}
	n, err := s.readAt(d, v, int64(a[3]))
	return s.moved(n, err, a[4])
}

// readAt reads from at on, and moves no position.
func (s *System) readAt(d *descriptor, v vectors, at int64) (uint32, error) {
	return v.each(func(b []byte) (int, error) {
		n, err := d.file.ReadAt(b, at)
		at += int64(n)
		return n, err
	})
}

// moved answers a call that moved n bytes until err. An error behind the first byte waits for the next
// call, as POSIX has it, but a limit of the host's ends the call.
func (s *System) moved(n uint32, err error, where uint64) errno {
	if limit := (*engine.LimitError)(nil); errors.As(err, &limit) {
		s.end = limit
		return ioError
	}
	if err != nil && err != io.EOF && n == 0 {
		return max(ioError, errnoOf(err))
	}
	return s.put32(where, n)
}

func fdWrite(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil || d.out == nil {
		return badf
	}
	v, no := s.vectors(a[1], a[2])
	if no != success {
		return no
	}
	if s.span(a[3], 4) == nil {
		return fault
	}
	n, err := v.each(d.out.Write)
	return s.moved(n, err, a[3])
}

func fdPwrite(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil || !d.stdio() {
		return badf
	}
	if _, no := s.vectors(a[1], a[2]); no != success {
		return no
	}
	return spipe
}

// Where fd_seek counts from.
const (
	fromStart   = 0
	fromCurrent = 1
	fromEnd     = 2
)

func fdSeek(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	if no := positioned(d); no != success {
		return no
	}
	var base int64
	switch a[2] {
	case fromStart:
	case fromCurrent:
		base = d.at
	case fromEnd:
		st, err := d.file.Stat()
		if err != nil {
			return errnoOf(err)
		}
		base = st.Size()
	default:
		return inval
	}
	to := base + int64(a[1])
	if to < 0 { // also where the sum is beyond 63 bits
		return inval
	}
	if no := s.put64(a[3], uint64(to)); no != success {
		return no
	}
	d.at = to
	return success
}

func fdTell(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	if no := positioned(d); no != success {
		return no
	}
	return s.put64(a[1], uint64(d.at))
}

// positioned says why a descriptor has no position.
func positioned(d *descriptor) errno {
	switch {
	case d.stdio():
		return spipe
	case d.root != nil:
		return isdir
	}
	return success
}

// advices is how many kinds of advice there are; none of them changes anything.
const advices = 6

func advise(s *System, a []uint64) errno {
	switch {
	case s.fd(a[0]) == nil:
		return badf
	case byte(a[3]) >= advices:
		return inval
	}
	return success
}

// setFlags takes what changes nothing. Go's runtime asks for nonblock, and goes on without it.
func setFlags(s *System, a []uint64) errno {
	const nonblock, syncs = 1 << 2, 1<<1 | 1<<3 | 1<<4
	switch {
	case a[1]&syncs != 0:
		return inval
	case s.fd(a[0]) == nil:
		return badf
	case a[1]&nonblock != 0:
		return nosys
	}
	return success
}

// Types of files.
const (
	unknown     = 0
	blockDevice = 1
	charDevice  = 2
	directory   = 3
	regular     = 4
	socket      = 6
	symbolic    = 7
)

// Rights, as far as they say what works. wasi-libc asks a directory which rights it hands on.
const (
	stdioRights = 1<<0 | fileRights | 1<<4 | 1<<6 | 1<<8 | 1<<22 | 1<<23
	fileRights  = 1<<1 | 1<<2 | 1<<3 | 1<<5 | 1<<7 | 1<<21 | 1<<27 // read, seek, set flags, tell, advise, stat, poll
	dirRights   = 1<<3 | 1<<13 | 1<<14 | 1<<15 | 1<<18 | 1<<21     // set flags, open, list, read links, stat both ways
	writeRight  = 1 << 6
)

func fdstat(s *System, a []uint64) errno {
	b := s.span(a[1], 24)
	if b == nil {
		return fault
	}
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	kind, rights, handedOn := byte(blockDevice), uint64(stdioRights), uint64(0)
	switch {
	case d.root != nil:
		kind, rights, handedOn = directory, dirRights, dirRights|fileRights
	case d.file != nil:
		kind, rights = regular, fileRights
	}
	clear(b)
	b[0] = kind
	binary.LittleEndian.PutUint64(b[8:], rights)
	binary.LittleEndian.PutUint64(b[16:], handedOn)
	return success
}

func fdFilestat(s *System, a []uint64) errno {
	b := s.span(a[1], 64)
	if b == nil {
		return fault
	}
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	var st fs.FileInfo
	var err error
	switch {
	case d.root != nil:
		st, err = d.root.Stat(".")
	case d.file != nil:
		st, err = d.file.Stat()
	default:
		clear(b)
		b[16] = blockDevice
		b[24] = 1 // links
		return success
	}
	if err != nil {
		return errnoOf(err)
	}
	filestat(b, d.guest, st)
	return success
}

// filestat writes what is the same on each system: the host's numbers of devices and inodes, and the
// size of a directory, are not.
func filestat(b []byte, guest string, st fs.FileInfo) {
	clear(b)
	binary.LittleEndian.PutUint64(b[8:], inode(guest))
	b[16] = fileType(st.Mode())
	b[24] = 1 // links
	if st.Mode().IsRegular() {
		binary.LittleEndian.PutUint64(b[32:], uint64(st.Size()))
	}
	for at := 40; at < 64; at += 8 { // read, changed, changed in its attributes
		binary.LittleEndian.PutUint64(b[at:], uint64(st.ModTime().UnixNano()))
	}
}

func fileType(m fs.FileMode) byte {
	switch {
	case m.IsRegular():
		return regular
	case m.IsDir():
		return directory
	case m&fs.ModeSymlink != 0:
		return symbolic
	case m&fs.ModeCharDevice != 0:
		return charDevice
	case m&fs.ModeDevice != 0:
		return blockDevice
	case m&fs.ModeSocket != 0:
		return socket
	}
	return unknown
}

// inode is a number for a path, the same wherever it is asked for.
func inode(guest string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, guest)
	return h.Sum64()
}

// listing is the directory that was listed last. One is enough for programs that list one after the
// other, and bounds what a guest makes the host remember.
type listing struct {
	of      *descriptor
	entries []fs.DirEntry // by name, since the order on disk differs between systems
}

// maxEntries bounds a directory that can be listed, which costs the host ≈ 100 bytes an entry.
const maxEntries = 1 << 16

func (s *System) list(d *descriptor) errno {
	f, err := d.root.Open(".")
	if err != nil {
		return errnoOf(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	switch {
	case err != nil && err != io.EOF:
		return errnoOf(err)
	case len(entries) > maxEntries:
		return overflow
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	s.listing = listing{of: d, entries: entries}
	return success
}

// fdReaddir writes entries until the buffer is full, the last one cut off where it ends there. The
// directory is read when the guest begins at its start, and again where another was listed meanwhile.
func fdReaddir(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil {
		return badf
	}
	if d.root == nil {
		return notdir
	}
	buf := s.span(a[1], a[2])
	if buf == nil || s.span(a[4], 4) == nil {
		return fault
	}
	if a[3] == 0 || s.listing.of != d {
		if no := s.list(d); no != success {
			return no
		}
	}
	const head, dots = 24, 2 // bytes before the name; "." and ".."
	used := 0
	for k := a[3]; used < len(buf) && k < uint64(len(s.listing.entries)+dots); k++ {
		name, kind := "..", byte(directory)
		switch {
		case k == 0:
			name = "."
		case k >= dots:
			e := s.listing.entries[k-dots]
			name, kind = e.Name(), fileType(e.Type())
		}
		var h [head]byte
		binary.LittleEndian.PutUint64(h[0:], k+1)
		binary.LittleEndian.PutUint64(h[8:], inode(path.Join(d.guest, name)))
		binary.LittleEndian.PutUint32(h[16:], uint32(len(name)))
		h[20] = kind
		used += copy(buf[used:], h[:])
		used += copy(buf[used:], name)
	}
	return s.put32(a[4], uint32(used))
}
