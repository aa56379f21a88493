package isomer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// Value is a number with its WebAssembly type.
type Value struct {
	bits uint64
	typ  engine.ValType
}

// I32 is an i32.
func I32(v int32) Value { return Value{uint64(uint32(v)), engine.I32} }

// I64 is an i64.
func I64(v int64) Value { return Value{uint64(v), engine.I64} }

// F32 is an f32.
func F32(v float32) Value { return Value{uint64(math.Float32bits(v)), engine.F32} }

// F64 is an f64.
func F64(v float64) Value { return Value{math.Float64bits(v), engine.F64} }

// Type is the value's type.
func (v Value) Type() engine.ValType { return v.typ }

// Bits are the value's bits, 32-bit types in the low half.
func (v Value) Bits() uint64 { return v.bits }

// Int is the value as an integer; floats are truncated towards zero.
func (v Value) Int() int64 {
	switch v.typ {
	case engine.I32:
		return int64(int32(v.bits))
	case engine.I64:
		return int64(v.bits)
	}
	return int64(v.Float())
}

// Float is the value as a float.
func (v Value) Float() float64 {
	switch v.typ {
	case engine.F32:
		return float64(math.Float32frombits(uint32(v.bits)))
	case engine.F64:
		return math.Float64frombits(v.bits)
	}
	return float64(v.Int())
}

func (v Value) String() string {
	switch v.typ {
	case engine.F32:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case engine.F64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Int(), 10)
}

// CallScalar calls a function of numbers, whatever convention is recorded for it.
//
//	out, err := m.CallScalar(ctx, "dew_point", isomer.F64(21.5), isomer.F64(0.6))
func (m *Module) CallScalar(ctx context.Context, fn string, args ...Value) ([]Value, error) {
	c, err := m.begin(ctx, fn, 8*len(args))
	if err != nil {
		return nil, err
	}
	out, err := c.scalar(args)
	if err = c.end(err, 8*len(out)); err != nil {
		return nil, err
	}
	return out, nil
}

// scalar calls a function of numbers. A shadow that is on sees arguments and results.
func (c *call) scalar(args []Value) ([]Value, error) {
	if c.f.Convention == abi.Command {
		return nil, fmt.Errorf("%w: %s is a command (Call)", ErrArgument, c.f.Name)
	}
	s := c.m.shadow.Load()
	if s == nil {
		return c.s.inst.scalar(c.ctx, c.f, args)
	}
	sc := s.take(c, nil, 0, 0)
	out, err := c.s.inst.scalar(c.ctx, c.f, args)
	if sc != nil {
		sc.scalar, sc.Args = true, slices.Clone(args)
		s.answered(c, sc, nil, slices.Clone(out), err)
	}
	return out, err
}

func (i *instance) scalar(ctx context.Context, f *function, args []Value) ([]Value, error) {
	if len(args) != len(f.sig.Params) {
		return nil, fmt.Errorf("%w: %d arguments, want %d: %v", ErrArgument, len(args), len(f.sig.Params), f.sig)
	}
	for k, a := range args {
		if a.typ != f.sig.Params[k] {
			return nil, fmt.Errorf("%w: argument %d is %v, want %v: %v", ErrArgument, k, a.typ, f.sig.Params[k], f.sig)
		}
		i.stack[k] = a.bits
	}
	if err := i.calls[f.index].call.Call(ctx, i.stack); err != nil {
		return nil, err
	}
	out := make([]Value, len(f.sig.Results))
	for k, t := range f.sig.Results {
		out[k] = Value{i.stack[k], t}
		if t == engine.I32 || t == engine.F32 {
			out[k].bits &= math.MaxUint32
		}
	}
	return out, nil
}

// valuesFromJSON reads a JSON array of numbers as the parameters of sig. No input is no arguments.
func valuesFromJSON(sig engine.Signature, in []byte) ([]Value, error) {
	var nums []json.Number
	if len(bytes.TrimSpace(in)) > 0 {
		if err := json.Unmarshal(in, &nums); err != nil {
			return nil, fmt.Errorf("%w: want a JSON array of numbers: %w", ErrArgument, err)
		}
	}
	if len(nums) != len(sig.Params) {
		return nil, fmt.Errorf("%w: %d numbers, want %d: %v", ErrArgument, len(nums), len(sig.Params), sig)
	}
	out := make([]Value, len(nums))
	for k, n := range nums {
		v, err := valueOf(sig.Params[k], n.String())
		if err != nil {
			return nil, fmt.Errorf("%w: argument %d: %w", ErrArgument, k, err)
		}
		out[k] = v
	}
	return out, nil
}

func valueOf(t engine.ValType, s string) (Value, error) {
	switch t {
	case engine.F32:
		f, err := strconv.ParseFloat(s, 32)
		return F32(float32(f)), err
	case engine.F64:
		f, err := strconv.ParseFloat(s, 64)
		return F64(f), err
	}
	size := 64
	if t == engine.I32 {
		size = 32
	}
	n, err := strconv.ParseInt(s, 10, size)
	if err != nil {
		// Wasm integers have no sign: the upper half is as good as the negative one.
		if u, uerr := strconv.ParseUint(s, 10, size); uerr == nil {
			n, err = int64(u), nil
		}
	}
	if t == engine.I32 {
		return I32(int32(n)), err
	}
	return I64(n), err
}

// appendValues writes values as a JSON array. JSON has no NaN and no infinities.
func appendValues(dst []byte, vs []Value) ([]byte, error) {
	dst = append(dst, '[')
	for k, v := range vs {
		if k > 0 {
			dst = append(dst, ',')
		}
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%w: result %d is %v, which JSON cannot hold (CallScalar can)", ErrResult, k, f)
		}
		dst = append(dst, v.String()...)
	}
	return append(dst, ']'), nil
}
