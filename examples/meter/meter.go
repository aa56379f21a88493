// Package meter is a core application in small: it reads the digits of a utility meter from camera
// pictures. Use it for the demo, for tests that want a real model with real pictures, and as a pattern
// for your own application; never as a library, for it knows one meter.
//
// It holds two versions of a digit classifier (ONNX, trained by the scripts in train), the frames of a
// counter that advances, and a Reader that cuts the drums out of a frame and calls the module for each.
//
// Version 0: anything here may change until the project's 1.0.
package meter

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/isomer-iot/isomer"
)

//go:embed models/digits-v1.onnx models/digits-v2.onnx models/labels.txt
//go:embed frames/*.png frames/meter.json
//go:embed testdata/expected.json
var files embed.FS

// Side is the width and height of the model's input in pixels.
const Side = 32

// Scale, Mean and Std are the preparation that the models were trained with, in R, G, B order:
// x' = (x*Scale - Mean) / Std.
var (
	Scale = 1.0 / 255
	Mean  = [3]float64{0.44, 0.42, 0.42}
	Std   = [3]float64{0.26, 0.25, 0.25}
)

// Model is one version of the digit classifier: input "image" float32 [batch, 3, 32, 32], output
// "logits" float32 [batch, 10].
type Model struct {
	Name    string // "digits"
	Version string // "1.0.0"
	ONNX    []byte
}

// Models are all versions, oldest first.
func Models() []Model {
	return []Model{
		{Name: "digits", Version: "1.0.0", ONNX: mustRead("models/digits-v1.onnx")},
		{Name: "digits", Version: "2.0.0", ONNX: mustRead("models/digits-v2.onnx")},
	}
}

// Labels are the names of the classes, "0" to "9".
func Labels() []string {
	return strings.Fields(string(mustRead("models/labels.txt")))
}

// Demo is the meter of the demo with its 24 frames.
func Demo() (*Meter, error) {
	frames, err := fs.Sub(files, "frames")
	if err != nil {
		return nil, err
	}
	return Load(frames)
}

// Case is one digit crop with the logits that ONNX Runtime gives for it.
type Case struct {
	Name    string
	Label   int
	Picture isomer.Image
	// Logits by model version ("1.0.0"), ten each. Crops of another size than Side were resized in
	// float32 with a triangle filter before the normalisation.
	Logits map[string][]float32
}

// Cases are the crops that a compiled model must agree on.
func Cases() ([]Case, error) {
	var file struct {
		Cases []struct {
			Name          string
			Label         int
			Width, Height int
			RGB           []byte
			Logits        map[string][]float32
		}
	}
	if err := json.Unmarshal(mustRead("testdata/expected.json"), &file); err != nil {
		return nil, fmt.Errorf("meter: expected.json: %w", err)
	}
	versions := map[string]string{"v1": "1.0.0", "v2": "2.0.0"}
	cases := make([]Case, 0, len(file.Cases))
	for _, c := range file.Cases {
		p := isomer.Image{Width: c.Width, Height: c.Height, RGB: c.RGB}
		if err := check(p); err != nil {
			return nil, fmt.Errorf("meter: expected.json: case %q: %w", c.Name, err)
		}
		logits := make(map[string][]float32, len(c.Logits))
		for v, values := range c.Logits {
			logits[versions[v]] = values
		}
		cases = append(cases, Case{Name: c.Name, Label: c.Label, Picture: p, Logits: logits})
	}
	return cases, nil
}

// mustRead reads an embedded file: the compiler has already refused a build without it.
func mustRead(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return data
}
