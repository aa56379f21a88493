package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

// answer is what a function gave back.
type answer struct {
	body     []byte
	encoding abi.Encoding
	declared bool             // encoding stands in a manifest, and is not only the default
	tensors  []abi.TensorSpec // what body holds, one after the other; nil: not tensors
}

// ask calls a function, with an image if there is one, otherwise with input.
func ask(ctx context.Context, m *isomer.Module, f abi.Function, input []byte, image *isomer.Image) (answer, error) {
	a := answer{}
	_, a.encoding = f.Encodings()
	manifest, _ := m.Manifest()
	a.declared = len(manifest.Functions) > 0
	if f.Convention == abi.Tensors {
		a.tensors = manifest.Outputs
	}
	var err error
	if image != nil {
		a.body, err = m.CallImage(ctx, f.Name, *image)
	} else {
		a.body, err = m.Call(ctx, f.Name, input)
	}
	return a, err
}

// json is the answer as one JSON value: JSON as it is, tensors by name, other bytes as base64. What a
// module without a manifest answers is JSON where it reads as JSON.
func (a answer) json() (json.RawMessage, error) {
	switch {
	case a.tensors != nil:
		return tensorsJSON(a.body, a.tensors)
	case a.encoding == abi.JSON:
		if !json.Valid(a.body) {
			return nil, fmt.Errorf("the function should answer JSON and answered %.40q", a.body)
		}
		return a.body, nil
	case !a.declared && json.Valid(a.body):
		return a.body, nil // most guests without a manifest speak JSON
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(a.body)})
}

// text reports whether the answer can be shown on a terminal: control characters could change it.
func (a answer) text() bool {
	return utf8.Valid(a.body) && !bytes.ContainsFunc(a.body, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
	})
}

// tensorJSON is one tensor with its elements in row-major order.
type tensorJSON struct {
	Name  string          `json:"name"`
	DType abi.DType       `json:"dtype"`
	Shape []int           `json:"shape"`
	Data  json.RawMessage `json:"data"`
}

func tensorsJSON(body []byte, specs []abi.TensorSpec) (json.RawMessage, error) {
	var out struct {
		Outputs []tensorJSON `json:"outputs"`
	}
	for _, s := range specs {
		n, err := s.ByteSize()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Name, err)
		}
		if n > len(body) {
			return nil, fmt.Errorf("tensor %q: %d bytes, want %d", s.Name, len(body), n)
		}
		data, err := elementsJSON(body[:n], s.DType)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Name, err)
		}
		body = body[n:]
		out.Outputs = append(out.Outputs, tensorJSON{s.Name, s.DType, append([]int{}, s.Shape...), data})
	}
	return json.Marshal(out)
}

// elementsJSON writes a JSON array of numbers. JSON has no infinities and no NaN: they become strings.
func elementsJSON(b []byte, d abi.DType) (json.RawMessage, error) {
	out := []byte{'['}
	step := d.Size()
	for i := 0; i < len(b); i += step {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendElement(out, b[i:i+step], d); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func appendElement(out, b []byte, d abi.DType) ([]byte, error) {
	le := binary.LittleEndian
	float := func(v float64, bits int) []byte {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.AppendQuote(out, strconv.FormatFloat(v, 'g', -1, bits))
		}
		return strconv.AppendFloat(out, v, 'g', -1, bits)
	}
	switch d {
	case abi.F32:
		return float(float64(math.Float32frombits(le.Uint32(b))), 32), nil
	case abi.F64:
		return float(math.Float64frombits(le.Uint64(b)), 64), nil
	case abi.I8:
		return strconv.AppendInt(out, int64(int8(b[0])), 10), nil
	case abi.U8:
		return strconv.AppendUint(out, uint64(b[0]), 10), nil
	case abi.I16:
		return strconv.AppendInt(out, int64(int16(le.Uint16(b))), 10), nil
	case abi.U16:
		return strconv.AppendUint(out, uint64(le.Uint16(b)), 10), nil
	case abi.I32:
		return strconv.AppendInt(out, int64(int32(le.Uint32(b))), 10), nil
	case abi.U32:
		return strconv.AppendUint(out, uint64(le.Uint32(b)), 10), nil
	case abi.I64:
		return strconv.AppendInt(out, int64(le.Uint64(b)), 10), nil
	case abi.U64:
		return strconv.AppendUint(out, le.Uint64(b), 10), nil
	case abi.Bool:
		return strconv.AppendBool(out, b[0] != 0), nil
	}
	return nil, hint(fmt.Errorf("dtype %s cannot be shown as numbers", d), "take the bytes with --output FILE")
}
