package picture

import (
	"bytes"
	"encoding/binary"
)

// orientation finds the orientation tag (0x0112) of a JPEG's EXIF segment: 1 to 8, and 1 where there is
// none or it does not parse, since a picture with a broken tag is still a picture.
//
// Sources: ITU-T T.81 annex B for the markers, Exif 2.32 §4.5 and §4.7 for the segment, TIFF 6.0 §2 for
// the directory inside it.
func orientation(jpeg []byte) int {
	b := jpeg
	if !bytes.HasPrefix(b, []byte{0xff, 0xd8}) {
		return 1
	}
	b = b[2:]
	for len(b) >= 4 && b[0] == 0xff {
		marker := b[1]
		if marker == 0xff { // fill byte
			b = b[1:]
			continue
		}
		if marker == 0xda || marker == 0xd9 { // the picture itself begins, or nothing follows
			return 1
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < 2 || size > len(b)-2 {
			return 1
		}
		body := b[4 : 2+size]
		if tiff, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return tiffOrientation(tiff)
		}
		b = b[2+size:]
	}
	return 1
}

func tiffOrientation(b []byte) int {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 1
	}
	if len(b) < 8 {
		return 1
	}
	at := uint64(order.Uint32(b[4:]))
	if at+2 > uint64(len(b)) {
		return 1
	}
	count := int(order.Uint16(b[at:]))
	const entry, tag, short = 12, 0x0112, 3
	for entries := b[at+2:]; count > 0 && len(entries) >= entry; count-- {
		// A SHORT stands in the first two bytes of the value field, in either byte order.
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short && order.Uint32(entries[4:]) == 1 {
			if v := int(order.Uint16(entries[8:])); v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
		entries = entries[entry:]
	}
	return 1
}
