package isomer

import (
	"os"
	"syscall"
)

// writers asks the kernel whether anyone has f open for writing: a read lease is granted only while
// no one has. It is given up at once. The lease needs the file's owner (or CAP_LEASE) and a file
// system that knows leases; otherwise the answer is unknown.
func writers(f *os.File) writing {
	const setLease, readLock, unlock = 1024, 0, 2 // F_SETLEASE, F_RDLCK, F_UNLCK
	conn, err := f.SyscallConn()
	if err != nil {
		return unknown
	}
	state := unknown
	_ = conn.Control(func(fd uintptr) {
		switch _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, setLease, readLock); errno {
		case 0:
			state = notWritten
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setLease, unlock)
		case syscall.EAGAIN:
			state = beingWritten
		}
	})
	return state
}
