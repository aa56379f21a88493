package compiler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/emit"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// ErrInput is what every error about an input of Reference.Eval unwraps to.
var ErrInput = errors.New("bad input")

// Reference computes a model in plain Go, without the passes, the plan and the kernels of the compiler. Use
// it to check what a module computes; never to serve, it is slower by a factor of about a hundred.
//
// Tensors cross as the bytes that the module's memory would hold, see the tensors convention of docs/abi.md,
// in the order of the manifest.
type Reference struct {
	graph *ir.Graph
	image *emit.Image
}

// ReferenceFile loads the model at path. The options are those that it is compiled with.
func ReferenceFile(path string, opt Options) (*Reference, error) {
	m, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	res, err := load.Model(m, load.Options{Dims: opt.Dims, Fixed: opt.Fixed, Budget: opt.Budget})
	if err != nil {
		return nil, err
	}
	r := &Reference{graph: res.Graph}
	r.image, _, err = image(res.Graph, opt)
	return r, err
}

// Random makes seeded inputs: floats between -1 and 1, integers between 0 and 3, below the extent of the axis
// where the model takes them as indices; booleans of both kinds.
func (r *Reference) Random(seed uint64) [][]byte {
	random := rand.New(rand.NewPCG(seed, 2))
	var out [][]byte
	for _, v := range r.graph.In {
		x := ir.NewTensor(v.Type)
		most := r.indices(v)
		if v.Type.DType == ir.Bool {
			most = 2
		}
		for i := range x.F {
			x.F[i] = random.Float32()*2 - 1
		}
		for i := range x.I {
			x.I[i] = random.Int64N(most)
		}
		out = append(out, elements(x))
	}
	return out
}

// indices is one more than the largest integer that the readers of v take. What lies behind a computation is
// not known: 4 are few enough for most.
func (r *Reference) indices(v *ir.Value) int64 {
	most := int64(4)
	for _, n := range r.graph.Nodes {
		axis := -1
		switch op := n.Op.(type) {
		case ir.Gather:
			axis = op.Axis
		case ir.GatherElements:
			axis = op.Axis
		}
		if axis >= 0 && n.In[1] == v {
			most = int64(max(n.In[0].Type.Shape[axis], 1))
		}
	}
	return most
}

// Eval computes the outputs. progress, if set, is told the number of nodes that are done and of all. The
// error matches ErrInput where an input is to blame, and that of ctx where it ended.
func (r *Reference) Eval(ctx context.Context, inputs [][]byte, progress func(done, of int)) ([][]byte, error) {
	if len(inputs) != len(r.graph.In) {
		return nil, fmt.Errorf("%w: %d tensors, the model takes %d", ErrInput, len(inputs), len(r.graph.In))
	}
	var in []*ir.Tensor
	for i, v := range r.graph.In {
		if want := v.Type.DType.Size() * v.Type.Shape.Elems(); len(inputs[i]) != want {
			return nil, fmt.Errorf("%w: %q has %d bytes, want %d for %v", ErrInput, v.Name, len(inputs[i]), want, v.Type)
		}
		in = append(in, tensorIn(inputs[i], v.Type))
	}
	out, err := r.graph.EvalSteps(func(node int) error {
		if progress != nil {
			progress(node, len(r.graph.Nodes))
		}
		return ctx.Err()
	}, in...)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, ir.ErrIndex) {
			err = fmt.Errorf("%w: %w", ErrInput, err)
		}
		return nil, err
	}
	var b [][]byte
	for _, x := range out {
		b = append(b, elements(x))
	}
	return b, nil
}

// Prepare makes the model's input of a picture (8-bit RGB, rows from the top), as the module's own function
// does it. It fails if the model takes no pictures.
func (r *Reference) Prepare(width, height int, rgb []byte) ([]byte, error) {
	switch {
	case r.image == nil:
		return nil, fmt.Errorf("%w: the model takes no pictures", ErrInput)
	case width < 1 || height < 1 || len(rgb)/3/width != height || len(rgb) != width*height*3:
		return nil, fmt.Errorf("%w: %d bytes are no picture of %d×%d", ErrInput, len(rgb), width, height)
	}
	im := r.image
	pixels, area := prepared(width, height, rgb, im.ImageSpec), im.Width*im.Height
	x := ir.NewTensor(r.graph.In[0].Type)
	for i := range area {
		p := pixels[3*i : 3*i+3]
		for c := range im.Channels {
			v, at := p[c], c*area+i
			if im.Channels == 1 {
				v = 0.299*p[0] + 0.587*p[1] + 0.114*p[2]
			}
			if im.ChannelsLast {
				at = i*im.Channels + c
			}
			x.F[at] = float32(v)
		}
	}
	return elements(x), nil
}

// Value is a tensor of a file. Data lies as in the module's memory: floats of all sizes are f32.
type Value struct {
	DType abi.DType
	Shape []int
	Data  []byte
}

// ParseValue reads a TensorProto, the form of the data sets beside ONNX models (input_0.pb).
func ParseValue(b []byte) (Value, error) {
	p, err := onnx.ParseTensor(b)
	if err != nil {
		return Value{}, err
	}
	x, err := load.Tensor(p)
	if err != nil {
		return Value{}, err
	}
	return Value{DType: abi.DType(x.DType.String()), Shape: x.Shape, Data: elements(x)}, nil
}

// elements are the elements of x as they lie in linear memory.
func elements(x *ir.Tensor) []byte {
	var b []byte
	for _, v := range x.F {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	for _, v := range x.I {
		b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(v))[:x.DType.Size()]...)
	}
	return b
}

// tensorIn is the tensor whose elements are b.
func tensorIn(b []byte, t ir.Type) *ir.Tensor {
	x, size := ir.NewTensor(t), t.DType.Size()
	for i := range x.F {
		x.F[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	for i := range x.I {
		var word [8]byte
		if t.DType.Signed() && b[size*(i+1)-1]&0x80 != 0 {
			binary.LittleEndian.PutUint64(word[:], math.MaxUint64)
		}
		copy(word[:], b[size*i:][:size])
		x.I[i] = int64(binary.LittleEndian.Uint64(word[:]))
	}
	return x
}
