package abi_test

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/isomer-iot/isomer/abi"
)

// The numbers are those of the authors' own program for the seed 42.
func TestFixedRandomIsSplitMix64(t *testing.T) {
	var r abi.FixedRandom
	b := make([]byte, 24)
	for _, part := range [][]byte{b[:1], b[1:11], b[11:]} { // however it is asked for
		if _, err := io.ReadFull(&r, part); err != nil {
			t.Fatal(err)
		}
	}
	for k, want := range []uint64{13679457532755275413, 2949826092126892291, 5139283748462763858} {
		if got := binary.LittleEndian.Uint64(b[8*k:]); got != want {
			t.Errorf("word %d is %d, want %d", k, got, want)
		}
	}
}
