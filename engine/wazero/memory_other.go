//go:build !((linux || darwin) && (amd64 || arm64))

package wazero

import "github.com/tetratelabs/wazero/experimental"

// reserve is nil: with 32-bit addresses a few ceilings would be all of them, and elsewhere nobody has measured.
func reserve(uint64) experimental.LinearMemory { return nil }
