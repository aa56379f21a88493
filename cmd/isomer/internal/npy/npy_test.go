package npy

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/abi"
)

func file(version byte, header string, data ...byte) []byte {
	b := append([]byte("\x93NUMPY"), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		file  []byte
		dtype abi.DType
		shape []int
		data  []byte
	}{
		{file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 0, 0, 128, 63, 0, 0, 0, 64), abi.F32, []int{2}, []byte{0, 0, 128, 63, 0, 0, 0, 64}},
		{file(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 0, 0, 0, 0, 0, 0, 0xf0, 0x3f), abi.F32, nil, []byte{0, 0, 128, 63}},
		{file(3, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1), }", 7, 8), abi.U8, []int{1, 2, 1}, []byte{7, 8}},
		{file(1, "{'descr': '|b1', 'fortran_order': True, 'shape': (1,), }", 1), abi.Bool, []int{1}, []byte{1}},
	} {
		a, err := Parse(c.file)
		if err != nil || a.DType != c.dtype || !slices.Equal(a.Shape, c.shape) || !slices.Equal(a.Data, c.data) {
			t.Errorf("%q: %+v, %v", c.file, a, err)
		}
	}
	for _, bad := range [][]byte{
		nil, []byte("PK\x03\x04 an archive"), file(4, "{}"),
		file(1, "{'descr': '<f4'}"),
		file(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 0, 0, 0, 0),
		file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 0, 0, 0, 0),
		file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", 0, 0, 0, 0),
		file(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }", 0, 0, 0, 0),
		file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }"),
		file(1, "cut off")[:14],
	} {
		if a, err := Parse(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, %v", bad, a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 0, 0, 128, 63))
	f.Add(file(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }", 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err == nil && len(a.Data) > len(b) {
			t.Fatalf("%d bytes from %d", len(a.Data), len(b))
		}
	})
}
