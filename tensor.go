package isomer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/isomer-iot/isomer/abi"
)

// Tensor is an input or output of a compiled model. Data has the elements in row-major order,
// little-endian, as they lie in the module's memory.
type Tensor struct {
	DType abi.DType // empty: what the module says
	Shape []int     // nil: what the module says
	Data  []byte
}

// TensorOf makes an f32 tensor from values.
func TensorOf(values []float32, shape ...int) Tensor {
	t := Tensor{DType: abi.F32, Shape: shape, Data: make([]byte, 4*len(values))}
	for k, v := range values {
		binary.LittleEndian.PutUint32(t.Data[4*k:], math.Float32bits(v))
	}
	return t
}

// Float32s are the elements of an f32 tensor, nil for another type.
func (t Tensor) Float32s() []float32 {
	if t.DType != abi.F32 {
		return nil
	}
	out := make([]float32, len(t.Data)/4)
	for k := range out {
		out[k] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*k:]))
	}
	return out
}

// check compares t with what the module wants, without allocating where they agree.
func (t *Tensor) check(kind string, k int, spec *abi.TensorSpec, size uint32) error {
	if (t.DType != "" && t.DType != spec.DType) || (t.Shape != nil && !slices.Equal(t.Shape, spec.Shape)) {
		return fmt.Errorf("%w: %s %d %q is %s%v, want %s%v", ErrArgument, kind, k, spec.Name, t.DType, t.Shape, spec.DType, spec.Shape)
	}
	if len(t.Data) != int(size) {
		return fmt.Errorf("%w: %s %d %q has %d bytes, want %d for %s%v", ErrArgument, kind, k, spec.Name, len(t.Data), size, spec.DType, spec.Shape)
	}
	return nil
}

// Run computes the model's outputs from its inputs, in the manifest's order.
func (m *Module) Run(ctx context.Context, inputs ...Tensor) ([]Tensor, error) {
	var outputs []Tensor
	err := m.run(ctx, inputs, func(i *instance, specs []abi.TensorSpec) error {
		mem := i.mem.Bytes()
		outputs = make([]Tensor, len(specs))
		for k, at := range i.outs {
			outputs[k] = Tensor{DType: specs[k].DType, Shape: slices.Clone(specs[k].Shape), Data: slices.Clone(mem[at.ptr : at.ptr+at.len])}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return outputs, nil
}

// RunInto is Run into outputs whose Data has the right sizes already. It allocates nothing.
func (m *Module) RunInto(ctx context.Context, outputs, inputs []Tensor) error {
	return m.run(ctx, inputs, func(i *instance, specs []abi.TensorSpec) error {
		if len(outputs) != len(specs) {
			return fmt.Errorf("%w: %d outputs, the module has %d", ErrArgument, len(outputs), len(specs))
		}
		mem := i.mem.Bytes()
		for k, at := range i.outs {
			if err := outputs[k].check("output", k, &specs[k], at.len); err != nil {
				return err
			}
			copy(outputs[k].Data, mem[at.ptr:at.ptr+at.len])
		}
		return nil
	})
}

var errNoTensors = errors.New("the module's manifest describes no tensors")

// run copies the inputs into place, runs and lets read take the outputs. read does not escape, so
// that a caller's closure costs no allocation.
func (m *Module) run(ctx context.Context, inputs []Tensor, read func(*instance, []abi.TensorSpec) error) error {
	given, taken := 0, 0
	for k := range inputs {
		given += len(inputs[k].Data)
	}
	c, err := m.begin(ctx, abi.ExportRun, given)
	if err != nil {
		return err
	}
	err = c.tensors(inputs)
	if err == nil {
		err = read(c.s.inst, c.g.release.manifest.Outputs)
		for _, at := range c.s.inst.outs {
			taken += int(at.len)
		}
	}
	return c.end(err, taken)
}

func (c *call) tensors(inputs []Tensor) error {
	i, specs := c.s.inst, c.g.release.manifest.Inputs
	if c.f.Convention != abi.Tensors {
		return fmt.Errorf("%w: %w", ErrArgument, errNoTensors)
	}
	if len(inputs) != len(specs) {
		return fmt.Errorf("%w: %d inputs, the module has %d", ErrArgument, len(inputs), len(specs))
	}
	mem := i.mem.Bytes()
	for k := range inputs {
		if err := inputs[k].check("input", k, &specs[k], i.ins[k].len); err != nil {
			return err
		}
	}
	for k := range inputs {
		copy(mem[i.ins[k].ptr:], inputs[k].Data)
	}
	s := c.m.shadow.Load()
	if s == nil {
		return i.calls[c.f.index].call.Call(c.ctx, i.stack)
	}
	sc := s.take(c, nil, 0, 0)
	if sc != nil {
		sc.Input = i.joined(i.ins) // before the model uses its memory for other things
		sc.size = int64(len(sc.Input))
		s.bytes.Add(sc.size)
	}
	err := i.calls[c.f.index].call.Call(c.ctx, i.stack)
	if sc != nil {
		var out []byte
		if err == nil {
			out = i.joined(i.outs)
		}
		s.answered(c, sc, out, nil, err)
	}
	return err
}

// joined are tensors in memory, one after the other.
func (i *instance) joined(at []span) []byte {
	mem := i.mem.Bytes()
	var out []byte
	for _, t := range at {
		out = append(out, mem[t.ptr:t.ptr+t.len]...)
	}
	return out
}
