package binding

import (
	"bytes"
	"encoding/binary"
	"os"
	"syscall"
)

// watch calls heard for each file of dir that is closed after writing or moved there, and with an empty name for
// what else happens. It is made of inotify itself, since the word that a file is closed is what tells that it
// is whole. watched false: it cannot be watched, as where there are no watches left.
func watch(dir string, heard func(name string)) (stop func(), watched bool) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return func() {}, false
	}
	file := os.NewFile(uintptr(fd), "inotify") // not blocking: Close ends Read
	const what = syscall.IN_CLOSE_WRITE | syscall.IN_MOVED_TO | syscall.IN_CREATE | syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF | syscall.IN_ONLYDIR
	if _, err := syscall.InotifyAddWatch(fd, dir, what); err != nil {
		_ = file.Close()
		return func() {}, false
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 16<<10)
		for {
			n, err := file.Read(buf)
			if err != nil {
				return
			}
			for rest := buf[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
				mask := binary.NativeEndian.Uint32(rest[4:])
				size := int(binary.NativeEndian.Uint32(rest[12:]))
				rest = rest[syscall.SizeofInotifyEvent:]
				if size > len(rest) {
					break
				}
				name := string(bytes.TrimRight(rest[:size], "\x00"))
				rest = rest[size:]
				if mask&(syscall.IN_CLOSE_WRITE|syscall.IN_MOVED_TO) == 0 {
					name = ""
				}
				heard(name)
			}
		}
	}()
	return func() {
		_ = file.Close()
		<-done
	}, true
}
