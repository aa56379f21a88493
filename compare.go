package isomer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/isomer-iot/isomer/abi"
)

// Exact is the rule of a shadow by which answers must be the same to the byte.
func Exact(c ShadowCall) error { return c.compare(0) }

// Tolerance is the rule of a shadow by which numbers may differ by t, absolutely below 1 and relatively
// above, as in golden cases: numbers in JSON, elements of f32 and f64 tensors, scalars. Everything else
// must be the same.
func Tolerance(t float64) func(ShadowCall) error {
	return func(c ShadowCall) error { return c.compare(t) }
}

// compare applies the rule of golden cases to the two answers.
func (c *ShadowCall) compare(tolerance float64) error {
	var no, says *AppError
	switch errors.As(c.LiveErr, &no); {
	case no != nil && errors.As(c.CandidateErr, &says):
		if no.Message == says.Message {
			return nil
		}
		return fmt.Errorf("error differs: got %q, want %q", says.Message, no.Message)
	case c.CandidateErr != nil:
		return c.CandidateErr
	case no != nil:
		return fmt.Errorf("answered, want the error %q", no.Message)
	case !c.scalar:
		return compare(c.f, c.outputs, c.Candidate, c.Live, tolerance)
	}
	if len(c.CandidateValues) != len(c.LiveValues) {
		return fmt.Errorf("%d results, want %d", len(c.CandidateValues), len(c.LiveValues))
	}
	for k, want := range c.LiveValues {
		if got := c.CandidateValues[k]; got.typ != want.typ || got.bits != want.bits && (tolerance == 0 || !near(got.Float(), want.Float(), tolerance)) {
			return fmt.Errorf("result %d differs: got %v, want %v, tolerance %g", k, got, want, tolerance)
		}
	}
	return nil
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
