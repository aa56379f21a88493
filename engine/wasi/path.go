package wasi

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"
)

// prestat says under which name the guest knows a directory that it was given. Standard input and
// output answer as directories without a name, as they do in wazero.
func prestat(s *System, a []uint64) errno {
	d := s.fd(a[0])
	if d == nil || !d.stdio() && !d.preopened {
		return badf
	}
	return s.put64(a[1], uint64(len(d.guest))<<32)
}

func prestatName(s *System, a []uint64) errno {
	d := s.fd(a[0])
	switch {
	case d == nil || !d.stdio() && !d.preopened:
		return badf
	case a[2] > uint64(len(d.guest)):
		return nameTooLong
	}
	b := s.span(a[1], a[2])
	if b == nil {
		return fault
	}
	copy(b, d.guest)
	return success
}

// maxPath is Linux's PATH_MAX.
const maxPath = 4096

// place is a directory of the guest's and a path in it.
type place struct {
	dir  *descriptor
	name string
}

func (p place) guest() string { return path.Join(p.dir.guest, p.name) }

// place checks what can be checked without the file system. What leads out of the directory is found by
// os.Root, which looks at each step of the way, also while somebody changes it.
func (s *System) place(fd, ptr, n uint64) (place, errno) {
	d := s.fd(fd)
	switch {
	case d == nil:
		return place{}, badf
	case d.root == nil:
		return place{}, notdir
	case n > maxPath:
		return place{}, nameTooLong
	}
	b := s.span(ptr, n)
	switch {
	case b == nil:
		return place{}, fault
	case n == 0:
		return place{}, noent
	case !utf8.Valid(b):
		return place{}, ilseq
	case strings.ContainsRune(string(b), 0):
		return place{}, inval
	case b[0] == '/':
		return place{}, notCapable
	}
	return place{dir: d, name: string(b)}, success
}

// Flags of paths and of path_open.
const (
	follow    = 1 << 0 // a link at the end of the path
	create    = 1 << 0
	wantDir   = 1 << 1
	exclusive = 1 << 2
	truncate  = 1 << 3
)

func (p place) stat(flags uint64) (fs.FileInfo, error) {
	if flags&follow != 0 {
		return p.dir.root.Stat(p.name)
	}
	return p.dir.root.Lstat(p.name)
}

func pathFilestat(s *System, a []uint64) errno {
	p, no := s.place(a[0], a[2], a[3])
	if no != success {
		return no
	}
	b := s.span(a[4], 64)
	if b == nil {
		return fault
	}
	st, err := p.stat(a[1])
	if err != nil {
		return errnoOf(err)
	}
	filestat(b, p.guest(), st)
	return success
}

func pathReadlink(s *System, a []uint64) errno {
	p, no := s.place(a[0], a[1], a[2])
	if no != success {
		return no
	}
	b := s.span(a[3], a[4])
	if b == nil || s.span(a[5], 4) == nil {
		return fault
	}
	to, err := p.dir.root.Readlink(p.name)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return inval // no link
	case err != nil:
		return errnoOf(err)
	case path.IsAbs(to) || strings.ContainsRune(to, '\\'):
		return notCapable // where the host keeps its files is not the guest's business
	}
	return s.put32(a[5], uint32(copy(b, to)))
}

func pathOpen(s *System, a []uint64) errno {
	p, no := s.place(a[0], a[2], a[3])
	if no != success {
		return no
	}
	flags, rights := a[4], a[5]
	switch {
	case s.span(a[8], 4) == nil:
		return fault
	case flags&truncate != 0, rights&writeRight != 0:
		return rofs
	case s.full():
		return mfile
	}
	st, err := p.stat(a[1])
	switch {
	case errors.Is(err, fs.ErrNotExist) && flags&create != 0:
		return rofs
	case err != nil:
		return errnoOf(err)
	case flags&create != 0 && flags&exclusive != 0:
		return exist
	case st.Mode()&fs.ModeSymlink != 0:
		return loop // which it was told not to follow
	}
	d := &descriptor{guest: p.guest()}
	if st.IsDir() {
		if d.root, err = p.dir.root.OpenRoot(p.name); err != nil {
			return errnoOf(err)
		}
		return s.put32(a[8], s.add(d))
	}
	if flags&wantDir != 0 {
		return notdir
	}
	if d.file, no = p.open(st); no != success {
		return no
	}
	return s.put32(a[8], s.add(d))
}

// open opens a regular file and nothing else: a pipe would wait for its other end, and a device may
// already do something when it is opened.
func (p place) open(st fs.FileInfo) (*os.File, errno) {
	if !st.Mode().IsRegular() {
		return nil, acces
	}
	f, err := p.dir.root.OpenFile(p.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errnoOf(err)
	}
	if st, err = f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close() // it was another one a moment ago
		return nil, acces
	}
	return f, success
}
