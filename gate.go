package isomer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// gate runs the golden cases in an instance of their own, which is thrown away: what they leave
// behind in memory must not be what the first real call meets. It reports every case that fails.
// A failure has its step: an instance that cannot be made is no case that failed.
func (m *Module) gate(try *trial, t *SwapTimes) (Step, error) {
	ctx, r := try.ctx, try.r
	begin := time.Now()
	if len(r.manifest.Golden) == 0 {
		err := try.start(m)
		t.Gate += time.Since(begin)
		return StepInstantiate, err
	}
	inst, err := m.newInstance(ctx, r)
	if err != nil {
		return StepInstantiate, try.blame(err)
	}
	defer func() { _ = inst.sandbox.Close() }()
	var failed []error
	for k, g := range r.manifest.Golden {
		err := m.golden(ctx, r, inst, g)
		if err == nil {
			continue
		}
		failed = append(failed, fmt.Errorf("golden[%d] %s: %w", k, g.Function, try.blame(err)))
		if lost(err) {
			break // the instance died; the cases behind it cannot be tried
		}
	}
	t.Gate += time.Since(begin)
	if len(failed) > 0 {
		return StepGate, errors.Join(failed...)
	}
	m.emit(r, Event{Kind: Gated, Took: t.Gate, Cases: len(r.manifest.Golden)})
	return "", nil
}

func (m *Module) golden(ctx context.Context, r *release, inst *instance, g abi.Golden) error {
	f := r.lookup(g.Function)
	if f == nil {
		return r.noFunction(g.Function)
	}
	c := call{m: m, g: &generation{release: r}, s: &slot{inst: inst}, f: f}
	c.ctx, c.cancel = m.guestContext(ctx, r)
	defer c.cancel()
	got, err := c.dispatch(nil, g.Input, g.Width, g.Height)
	if err != nil {
		return c.classify(err)
	}
	return compare(f, r.manifest.Outputs, got, g.Output, g.Tolerance)
}

// compare checks an output against the golden one.
func compare(f *function, outputs []abi.TensorSpec, got, want []byte, tolerance float64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	switch {
	case tolerance == 0:
	case f.out == abi.JSON:
		return compareJSON(got, want, tolerance)
	case f.Convention == abi.Tensors && len(got) == len(want):
		return compareTensors(outputs, got, want, tolerance)
	}
	return fmt.Errorf("output differs: got %s, want %s", excerpt(got), excerpt(want))
}

// excerpt is the beginning of an output, as text where it is text.
func excerpt(b []byte) string {
	const most = 64
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q… (%d bytes)", b[:most], len(b))
}

// near is the comparison of the manifest: relative for large values, absolute for small ones.
func near(got, want, tolerance float64) bool {
	if got == want || math.IsNaN(got) && math.IsNaN(want) {
		return true
	}
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}

func compareTensors(outputs []abi.TensorSpec, got, want []byte, tolerance float64) error {
	for _, t := range outputs {
		size, err := t.ByteSize()
		if err != nil || size > len(got) {
			return fmt.Errorf("output %q: %d bytes left of the golden case", t.Name, len(got))
		}
		step := t.DType.Size()
		for at := 0; at < size; at += step {
			g, w := got[at:at+step], want[at:at+step]
			ok := bytes.Equal(g, w)
			switch t.DType {
			case abi.F32:
				ok = near(float64(math.Float32frombits(binary.LittleEndian.Uint32(g))), float64(math.Float32frombits(binary.LittleEndian.Uint32(w))), tolerance)
			case abi.F64:
				ok = near(math.Float64frombits(binary.LittleEndian.Uint64(g)), math.Float64frombits(binary.LittleEndian.Uint64(w)), tolerance)
			}
			if !ok {
				return fmt.Errorf("output %q differs at element %d: got % x, want % x (little-endian %s), tolerance %g", t.Name, at/step, g, w, t.DType, tolerance)
			}
		}
		got, want = got[size:], want[size:]
	}
	return nil
}

func compareJSON(got, want []byte, tolerance float64) error {
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		return fmt.Errorf("output is not JSON: %w: %s", err, excerpt(got))
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return fmt.Errorf("golden output is not JSON: %w: %s", err, excerpt(want))
	}
	return compareAny("output", g, w, tolerance)
}

func compareAny(at string, got, want any, tolerance float64) error {
	switch w := want.(type) {
	case float64:
		if g, ok := got.(float64); ok && near(g, w, tolerance) {
			return nil
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for k := range w {
			if err := compareAny(fmt.Sprintf("%s[%d]", at, k), g[k], w[k], tolerance); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			break
		}
		for k, v := range w {
			gv, ok := g[k]
			if !ok {
				return fmt.Errorf("%s has no %q", at, k)
			}
			if err := compareAny(at+"."+k, gv, v, tolerance); err != nil {
				return err
			}
		}
		return nil
	default: // string, bool, null
		if got == want {
			return nil
		}
	}
	return fmt.Errorf("%s differs: got %v, want %v, tolerance %g", at, got, want, tolerance)
}
