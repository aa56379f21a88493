package onnx

import (
	"fmt"
	"io"
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

// ReadFile reads a model and the files beside it that hold weights. A weights file must be a regular file
// below the model's directory, links included.
func ReadFile(path string) (*Model, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
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
			if data, err = readBeside(root, t.External.Location); err != nil {
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

func readBeside(root *os.Root, name string) ([]byte, error) {
	// Before opening: opening a named pipe would wait for its writer.
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	f, err := root.Open(name)
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
