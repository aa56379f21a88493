package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/npy"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/picture"
	"github.com/isomer-iot/isomer/compiler"
)

// modelCase is one input of a model: a picture or tensors, and the outputs where they were given.
type modelCase struct {
	name    string
	image   *isomer.Image
	inputs  [][]byte // of the network; of a picture, what is prepared of it
	outputs [][]byte // nil: none given
}

// caseAdvice tells what --case takes.
const caseAdvice = "give a picture, x.npy, x.pb, input=x.npy,other=y.npy, or a folder with input_0.pb and output_0.pb"

// readCase reads what --case names: FILE, NAME=FILE,… or a folder.
func readCase(text string, m abi.Manifest) (modelCase, error) {
	c := modelCase{name: text}
	info, err := os.Stat(text)
	switch {
	case err == nil && info.IsDir():
		return c, c.folder(text, m)
	case err == nil && isPicture(text):
		return c, c.picture(text, m)
	case err == nil && len(m.Inputs) != 1:
		return c, hint(fmt.Errorf("%s: the model takes %s: %s", text, plural(len(m.Inputs), "input"), specNames(m.Inputs)),
			"name each, such as --case %s=%s,…", m.Inputs[0].Name, text)
	case err == nil:
		b, err := readTensor(text, m.Inputs[0])
		c.inputs = [][]byte{b}
		return c, err
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(text, "="):
		return c, c.named(text, m)
	}
	return c, hint(err, caseAdvice)
}

func isPicture(path string) bool {
	return !slices.Contains([]string{".npy", ".pb"}, strings.ToLower(filepath.Ext(path)))
}

func (c *modelCase) picture(path string, m abi.Manifest) error {
	if m.Image == nil {
		return hint(fmt.Errorf("%s: the model takes no picture", path), "give its tensors as .npy or .pb")
	}
	file, err := readRegular(path, maxModule)
	if err != nil {
		return err
	}
	p, err := picture.Decode(file)
	if err != nil {
		return hint(fmt.Errorf("%s: %w", path, err), caseAdvice)
	}
	c.image = &p
	return nil
}

// prepare makes the network's input of a picture.
func (c *modelCase) prepare(ref *compiler.Reference) error {
	if c.image == nil {
		return nil
	}
	b, err := ref.Prepare(c.image.Width, c.image.Height, c.image.RGB)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.inputs = [][]byte{b}
	return nil
}

// named reads NAME=FILE,NAME=FILE.
func (c *modelCase) named(text string, m abi.Manifest) error {
	c.inputs = make([][]byte, len(m.Inputs))
	for part := range strings.SplitSeq(text, ",") {
		at := strings.LastIndex(part, "=") // names may have a "=" in them
		if at < 1 {
			return hint(fmt.Errorf("case %q: %q is not NAME=FILE", text, part), caseAdvice)
		}
		k := slices.IndexFunc(m.Inputs, func(s abi.TensorSpec) bool { return s.Name == part[:at] })
		if k < 0 {
			return hint(fmt.Errorf("case %q: the model has no input %q", text, part[:at]), "its inputs are %s", specNames(m.Inputs))
		}
		b, err := readTensor(part[at+1:], m.Inputs[k])
		if err != nil {
			return err
		}
		c.inputs[k] = b
	}
	if k := slices.IndexFunc(c.inputs, func(b []byte) bool { return b == nil }); k >= 0 {
		return hint(fmt.Errorf("case %q: input %q is missing", text, m.Inputs[k].Name), caseAdvice)
	}
	return nil
}

// folder reads a data set as ONNX test cases have it.
func (c *modelCase) folder(dir string, m abi.Manifest) error {
	read := func(kind string, specs []abi.TensorSpec) ([][]byte, error) {
		out := make([][]byte, len(specs))
		for k, s := range specs {
			path := filepath.Join(dir, kind+"_"+strconv.Itoa(k)+".pb")
			if _, err := os.Stat(path); err != nil {
				path = strings.TrimSuffix(path, ".pb") + ".npy"
			}
			var err error
			if out[k], err = readTensor(path, s); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	var err error
	if c.inputs, err = read("input", m.Inputs); err != nil {
		return hint(err, caseAdvice)
	}
	if given, _ := filepath.Glob(filepath.Join(dir, "output_*")); len(given) > 0 {
		c.outputs, err = read("output", m.Outputs)
	}
	return err
}

// readTensor reads a tensor of that type and shape. Axes of one element more or less do not matter.
func readTensor(path string, want abi.TensorSpec) ([]byte, error) {
	file, err := readRegular(path, maxTensor)
	if err != nil {
		return nil, err
	}
	var got compiler.Value
	if bytes.HasPrefix(file, []byte("\x93NUMPY")) {
		var a npy.Array
		a, err = npy.Parse(file)
		got = compiler.Value(a)
	} else {
		got, err = compiler.ParseValue(file)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", path, err), caseAdvice)
	}
	ones := func(shape []int) []int {
		return slices.DeleteFunc(slices.Clone(shape), func(n int) bool { return n == 1 })
	}
	if got.DType != want.DType || !slices.Equal(ones(got.Shape), ones(want.Shape)) {
		return nil, fmt.Errorf("%s: is %s%v, %q is %s%v", path, got.DType, got.Shape, want.Name, want.DType, want.Shape)
	}
	return got.Data, nil
}

func specNames(specs []abi.TensorSpec) string {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// difference is how far an output is from what it should be.
type difference struct {
	Output   string  `json:"output"`
	Abs      float64 `json:"maxAbs"`
	Rel      float64 `json:"maxRel"`      // of |want|, where that is at least 1
	Over     float64 `json:"ofTolerance"` // the largest difference as a part of what is tolerated; beyond 1 fails
	Got      float64 `json:"-"`
	Want     float64 `json:"-"`
	At       int     `json:"-"` // the element where it is largest
	SameBest bool    `json:"sameBest"`
}

// compareTensor compares an output. Integers and booleans tolerate half a unit, that is nothing, unless steps are allowed.
func compareTensor(spec abi.TensorSpec, got, want []byte, tol tolerance) difference {
	d := difference{Output: spec.Name}
	g, w := numbersOf(got, spec.DType), numbersOf(want, spec.DType)
	var noise, signal float64 // sums of squares
	for i := range w {
		signal += w[i] * w[i]
		abs := math.Abs(g[i] - w[i])
		if g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i]) {
			continue
		}
		allowed := tol.value * max(1, math.Abs(w[i]))
		if spec.DType != abi.F32 {
			allowed = 0.5 + tol.steps
		}
		over := abs / allowed
		if math.IsNaN(over) || math.IsInf(over, 0) {
			over, abs = math.MaxFloat64, math.MaxFloat64
		}
		noise += abs * abs
		d.Abs = max(d.Abs, abs)
		d.Rel = max(d.Rel, abs/max(1, math.Abs(w[i])))
		if over > d.Over {
			d.Over, d.At, d.Got, d.Want = over, i, g[i], w[i]
		}
	}
	if tol.rms && spec.DType == abi.F32 {
		if d.Over = math.Sqrt(noise) / (tol.value * math.Sqrt(max(signal, 1e-6*float64(len(w))))); !(d.Over < math.MaxFloat64) {
			d.Over = math.MaxFloat64
		}
	}
	d.SameBest = len(w) > 0 && best(g) == best(w)
	return d
}

func best(v []float64) int {
	at := 0
	for i := range v {
		if v[i] > v[at] {
			at = i
		}
	}
	return at
}

// numbersOf are the elements as f64, which integers beyond 2^53 do not fit exactly.
func numbersOf(b []byte, d abi.DType) []float64 {
	size := d.Size()
	out := make([]float64, len(b)/size)
	for i := range out {
		var word [8]byte
		copy(word[:], b[i*size:(i+1)*size])
		u := binary.LittleEndian.Uint64(word[:])
		switch d {
		case abi.F32:
			out[i] = float64(math.Float32frombits(uint32(u)))
		case abi.I8, abi.I16, abi.I32, abi.I64:
			shift := 64 - 8*size
			out[i] = float64(int64(u<<shift) >> shift)
		default:
			out[i] = float64(u)
		}
	}
	return out
}
