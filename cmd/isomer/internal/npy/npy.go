// Package npy reads arrays that NumPy saved (numpy.save, format 1.0 to 3.0). Use it for the inputs of cases,
// never for archives (.npz) or arrays of objects.
//
// Compatibility: internal to the command; it promises none.
package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/isomer-iot/isomer/abi"
)

// Array holds the elements in row-major order, little-endian. Floats of 64 bits are rounded to f32, the only
// floats that compiled models compute with.
type Array struct {
	DType abi.DType
	Shape []int
	Data  []byte
}

// ErrFormat is what every error of Parse unwraps to.
var ErrFormat = errors.New("bad .npy file")

// dtypes are the element types by NumPy's kind and size.
var dtypes = map[string]abi.DType{
	"f4": abi.F32, "f8": abi.F64, "i1": abi.I8, "i2": abi.I16, "i4": abi.I32, "i8": abi.I64,
	"u1": abi.U8, "u2": abi.U16, "u4": abi.U32, "u8": abi.U64, "b1": abi.Bool,
}

var (
	descrField   = regexp.MustCompile(`'descr':\s*'([^']*)'`)
	fortranField = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	shapeField   = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
)

// Parse reads a file.
func Parse(b []byte) (Array, error) {
	header, data, err := split(b)
	if err != nil {
		return Array{}, err
	}
	descr, fortran, dims := descrField.FindStringSubmatch(header), fortranField.FindStringSubmatch(header), shapeField.FindStringSubmatch(header)
	if descr == nil || fortran == nil || dims == nil {
		return Array{}, fmt.Errorf("%w: the header lacks descr, fortran_order or shape", ErrFormat)
	}
	kind := strings.TrimLeft(descr[1], "<|=")
	d, ok := dtypes[kind]
	if !ok {
		return Array{}, fmt.Errorf("%w: elements %q are none of little-endian floats of 32 and 64 bits, integers and booleans", ErrFormat, descr[1])
	}
	a := Array{DType: d}
	left := len(data) / d.Size() // elements that there can be
	for part := range strings.SplitSeq(dims[1], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 || n > left {
			return Array{}, fmt.Errorf("%w: shape (%s) does not fit %d bytes of %s", ErrFormat, dims[1], len(data), kind)
		}
		left /= n
		a.Shape = append(a.Shape, n)
	}
	elems := 1
	for _, n := range a.Shape {
		elems *= n
	}
	if elems*d.Size() != len(data) {
		return Array{}, fmt.Errorf("%w: shape (%s) does not fit %d bytes of %s", ErrFormat, dims[1], len(data), kind)
	}
	if fortran[1] == "True" && len(a.Shape) > 1 {
		return Array{}, fmt.Errorf("%w: the columns come first (fortran_order); save numpy.ascontiguousarray(x)", ErrFormat)
	}
	a.Data = data
	if d == abi.F64 {
		a.DType, a.Data = abi.F32, make([]byte, 4*elems)
		for i := range elems {
			v := float32(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
			binary.LittleEndian.PutUint32(a.Data[4*i:], math.Float32bits(v))
		}
	}
	return a, nil
}

// split gives the text of the header and what follows it.
func split(b []byte) (header string, data []byte, err error) {
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return "", nil, fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	at, n := 10, int(binary.LittleEndian.Uint16(b[8:]))
	switch {
	case b[6] == 2 || b[6] == 3:
		at, n = 12, int(binary.LittleEndian.Uint32(b[8:]))
	case b[6] != 1:
		return "", nil, fmt.Errorf("%w: version %d.%d, known are 1 to 3", ErrFormat, b[6], b[7])
	}
	if n > len(b)-at {
		return "", nil, fmt.Errorf("%w: it ends within its header", ErrFormat)
	}
	return string(b[at : at+n]), b[at+n:], nil
}
