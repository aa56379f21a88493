package wasm

import "math/bits"

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendU32Wide pads to width bytes, as linkers do for sizes that they patch later.
func appendU32Wide(b []byte, v uint32, width int) []byte {
	for i := 1; i < width || v >= 0x80; i++ {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7F)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// sizeU32 is the length of the shortest encoding.
func sizeU32(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

func appendName(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}

func sizeName(s string) int { return sizeU32(uint32(len(s))) + len(s) }
