package wasi

import (
	"errors"
	"io/fs"
	"syscall"
)

// errno is an error number of WASI.
type errno uint32

const (
	success     errno = 0
	acces       errno = 2
	badf        errno = 8
	exist       errno = 20
	fault       errno = 21
	ilseq       errno = 25
	inval       errno = 28
	ioError     errno = 29
	isdir       errno = 31
	loop        errno = 32
	mfile       errno = 33
	nameTooLong errno = 37
	noent       errno = 44
	nosys       errno = 52
	notdir      errno = 54
	notsup      errno = 58
	overflow    errno = 61
	rofs        errno = 69
	spipe       errno = 70
	notCapable  errno = 76
)

// errnoOf is what a guest learns of an error of the file system. What has no number of the system's is
// a path that leads out of its directory: os.Root has no error for it that could be asked for.
func errnoOf(err error) errno {
	var no syscall.Errno
	switch {
	case err == nil:
		return success
	case errors.Is(err, fs.ErrNotExist):
		return noent
	case errors.Is(err, fs.ErrPermission):
		return acces
	case errors.Is(err, syscall.ENOTDIR):
		return notdir
	case errors.Is(err, syscall.EISDIR):
		return isdir
	case errors.Is(err, syscall.ELOOP):
		return loop
	case errors.Is(err, syscall.ENAMETOOLONG):
		return nameTooLong
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return mfile
	case errors.As(err, &no):
		return ioError
	}
	return notCapable
}
