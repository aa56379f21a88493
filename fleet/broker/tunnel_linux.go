package broker

import (
	"os"
	"syscall"
	"time"
)

// setUserTimeout bounds how long what was sent may stay unacknowledged (RFC 5482).
func setUserTimeout(fd uintptr, d time.Duration) error {
	const tcpUserTimeout = 0x12
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds())))
}
