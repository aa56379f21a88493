package isomer

import (
	"strings"
	"testing"
)

// One large call must not keep its buffers for as long as small ones follow.
func TestScratchKeepsNoLargeBuffer(t *testing.T) {
	s := scratches.New().(*scratch)
	for n, want := range map[int]bool{100: true, 2 * maxScratch: false} {
		s.in.Reset()
		if err := s.enc.Encode(strings.Repeat("x", n)); err != nil || s.in.Len() != n+3 {
			t.Fatalf("%d bytes: %d, %v", n, s.in.Len(), err)
		}
		s.out = make([]byte, n)
		s.trim()
		if kept := s.in.Cap() > 0 && cap(s.out) > 0; kept != want || s.in.Cap() > maxScratch || cap(s.out) > maxScratch {
			t.Errorf("%d bytes: buffers of %d and %d bytes are kept", n, s.in.Cap(), cap(s.out))
		}
	}
}
