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

// remote names the file system of dir where another machine, or a program behind it, can change files
// without an event here. Overlay is none of them: changes through the mount have events, and every
// container would poll.
func remote(dir string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return ""
	}
	return remoteName(uint32(st.Type))
}

// remoteName knows the magic numbers of statfs(2) and linux/magic.h.
func remoteName(magic uint32) string {
	switch magic {
	case 0x6969:
		return "nfs"
	case 0x517b:
		return "smb"
	case 0xfe534d42:
		return "smb2"
	case 0xff534d42:
		return "cifs"
	case 0x65735546:
		return "fuse"
	case 0x01021997:
		return "9p"
	case 0x00c36400:
		return "ceph"
	case 0x5346414f, 0x6b414653:
		return "afs"
	case 0x73757245:
		return "coda"
	case 0x0bd00bd0:
		return "lustre"
	case 0x47504653:
		return "gpfs"
	case 0x7461636f:
		return "ocfs2"
	case 0x01161970:
		return "gfs2"
	case 0x786f4256:
		return "vboxsf"
	case 0xbacbacbc:
		return "vmhgfs"
	}
	return ""
}
