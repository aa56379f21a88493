//go:build unix

package descriptors

import "syscall"

// Limit is the process's limit of open files, which Go raises to the hard one at its start.
func Limit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || uint64(l.Cur) > Unknown {
		return Unknown
	}
	return int(l.Cur)
}
