package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/picture"
)

// readPicture reads a picture from a file, or from stdin for "-".
func readPicture(ctx context.Context, std streams, path, size string, spec *abi.ImageSpec) (isomer.Image, error) {
	file, err := readInput(ctx, std, path)
	if err != nil {
		return isomer.Image{}, err
	}
	return pictureOf(file, path, size, spec)
}

// pictureOf is decodePicture for what was read from path.
func pictureOf(file []byte, path, size string, spec *abi.ImageSpec) (isomer.Image, error) {
	p, err := decodePicture(file, strings.EqualFold(filepath.Ext(path), ".rgb"), size, spec)
	if err != nil {
		if path == "-" {
			path = "stdin"
		}
		return isomer.Image{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// decodePicture reads a picture. Raw RGB has no header, so its size comes from size ("640x480") or, where
// the number of bytes agrees, from the size that the module works at. Without size and not known to be
// raw, the picture formats are tried first.
func decodePicture(file []byte, raw bool, size string, spec *abi.ImageSpec) (isomer.Image, error) {
	if size != "" {
		var w, h int
		var rest string
		if n, _ := fmt.Sscanf(size, "%dx%d%s", &w, &h, &rest); n != 2 {
			return isomer.Image{}, hint(fmt.Errorf("size %q", size), "give width and height in pixels, such as --size 640x480")
		}
		return picture.FromRaw(file, w, h)
	}
	fits := spec != nil && len(file) == spec.Width*spec.Height*3
	if !raw {
		p, err := picture.Decode(file)
		if err == nil || !fits {
			return p, err
		}
	}
	if !fits {
		return isomer.Image{}, hint(fmt.Errorf("the size of a raw picture of %d bytes is not known", len(file)),
			"give width and height in pixels, such as --size 640x480")
	}
	return picture.FromRaw(file, spec.Width, spec.Height)
}

// strictJSON reads one value, with no field that v lacks and nothing behind it.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// readJSON checks JSON that was typed, so that a slip is told before the module guesses at it.
func readJSON(text, advice string) ([]byte, error) {
	var v any
	err := json.Unmarshal([]byte(text), &v)
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		err = fmt.Errorf("%w, at character %d of %s", s, s.Offset, text)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("the input is not JSON: %w", err), "%s", advice)
	}
	return []byte(text), nil
}
