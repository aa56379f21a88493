//go:build (linux || darwin) && (amd64 || arm64)

package wazero

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// reserve takes addresses for as many bytes, which may not be touched yet: also where the machine promises no more memory
// than it has (vm.overcommit_memory=2), only what is used counts. nil: there are none.
func reserve(bytes uint64) experimental.LinearMemory {
	if bytes == 0 {
		return nil
	}
	b, err := syscall.Mmap(-1, 0, int(bytes), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil
	}
	return &mapping{b: b}
}

type mapping struct {
	b    []byte // all that is reserved; nil: given back
	open int    // bytes of it that may be touched
}

// Reallocate opens memory up to size. nil: the machine has no more, and the guest's memory.grow says so.
func (m *mapping) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	if n := int(size); n > m.open {
		if syscall.Mprotect(m.b[m.open:n], syscall.PROT_READ|syscall.PROT_WRITE) != nil {
			return nil
		}
		m.open = n
	}
	return m.b[:size:size]
}

func (m *mapping) Free() {
	if m.b != nil {
		_ = syscall.Munmap(m.b)
		m.b = nil
	}
}
