package isomer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// CallJSON calls fn with in as JSON and decodes the JSON that it answers.
//
//	r, err := isomer.CallJSON[Reading](ctx, m, "read", Query{Meter: 7})
func CallJSON[Out any](ctx context.Context, m *Module, fn string, in any) (Out, error) {
	var out Out
	s := scratches.Get().(*scratch)
	defer func() { s.trim(); scratches.Put(s) }()
	s.in.Reset()
	if err := s.enc.Encode(in); err != nil {
		return out, fmt.Errorf("isomer: %s: %w: %w", fn, ErrArgument, err)
	}
	answer, err := m.CallInto(ctx, s.out, fn, bytes.TrimSuffix(s.in.Bytes(), newline))
	if err != nil {
		return out, err
	}
	s.out = answer
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("isomer: %s: answer %s: %w", fn, excerpt(answer), err)
	}
	return out, nil
}

// scratch keeps the buffers of a JSON call, which would otherwise be two allocations of it.
type scratch struct {
	in  bytes.Buffer
	enc *json.Encoder
	out []byte
}

// maxScratch is the largest buffer that is kept, of input and of answers.
const maxScratch = 64 << 10

// trim drops what one large call made of s.
func (s *scratch) trim() {
	if s.in.Cap() > maxScratch {
		s.in = bytes.Buffer{} // in place: the encoder writes to it
	}
	if cap(s.out) > maxScratch {
		s.out = nil
	}
}

var (
	newline   = []byte("\n") // the encoder ends a value with it
	scratches = sync.Pool{New: func() any {
		s := new(scratch)
		s.enc = json.NewEncoder(&s.in)
		s.enc.SetEscapeHTML(false)
		return s
	}}
)
