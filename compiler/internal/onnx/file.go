package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// external reads one key and value of TensorProto.external_data.
func (m *message) external(to *External, index int) {
	at := m.at
	key, value := readEntry(m.message("external_data", index))
	number := func() int64 {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			m.fail(at, "external_data %s is %q, want a number of bytes", key, value)
		}
		return n
	}
	switch key {
	case "location":
		to.Location = value
	case "offset":
		to.Offset = number()
	case "length":
		to.Length = number()
	}
}

// Bounds of what is read: a sparse file of terabytes costs its writer nothing.
const (
	maxModel   = 2<<30 - 1 // a protobuf message has at most 2 GiB
	maxWeights = 4 << 30   // more does not fit the memory of a module
)

// ReadFile reads a model and the files beside it that hold weights. All must be regular files, the weights
// below the model's directory, links included. A model has at most 2 GiB, a file of weights 4 GiB.
func ReadFile(path string) (*Model, error) {
	b, err := ReadBytes(path)
	if err != nil {
		return nil, err
	}
	return ParseAt(path, b)
}

// ReadBytes returns the file at path as ReadFile reads it, for models of other formats too.
func ReadBytes(path string) ([]byte, error) { return readRegular(path, maxModel, os.Stat, os.Open) }

// ParseAt is ReadFile for a model that was read already.
func ParseAt(path string, b []byte) (*Model, error) {
	m, in, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(in.external) == 0 {
		return m, nil
	}
	// os.Root refuses paths and links that leave the directory, also while another process changes it.
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string][]byte{}
	for _, t := range in.external {
		data, ok := files[t.External.Location]
		if !ok {
			if data, err = readRegular(t.External.Location, maxWeights, root.Stat, root.Open); err != nil {
				return nil, fmt.Errorf("%s: %w", path, t.fail("weights file: %w", err))
			}
			files[t.External.Location] = data
		}
		if err := t.resolve(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return m, nil
}

func readRegular(name string, most int64, stat func(string) (os.FileInfo, error), open func(string) (*os.File, error)) ([]byte, error) {
	// Before opening: opening a named pipe would wait for its writer.
	info, err := stat(name)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Op = "open" // what was asked for
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	if most = min(most, math.MaxInt); info.Size() > most {
		return nil, fmt.Errorf("%q has %d bytes, at most %d are read", name, info.Size(), most)
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return b, nil
}

func (t *Tensor) resolve(file []byte) error {
	e := t.External
	size := int64(len(file))
	if e.Offset > size {
		return t.fail("byte %d is beyond the end of file %q of %d bytes", e.Offset, e.Location, size)
	}
	length := e.Length
	if length < 0 {
		length = size - e.Offset
	}
	if length > size-e.Offset {
		return t.fail("%d bytes from byte %d are beyond the end of file %q of %d bytes", length, e.Offset, e.Location, size)
	}
	t.Raw = file[e.Offset : e.Offset+length : e.Offset+length]
	return nil
}
