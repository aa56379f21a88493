package isomer

import (
	"context"
	"errors"
	"testing"
	"time"
)

// What is derived from the context of a call ends with the call, and with an error, also where the next call has
// begun by then: package context panics about a parent that is done without one.
func TestDerivedContextsEndWithTheCall(t *testing.T) {
	l := newLimited(time.Hour)
	for range 1000 {
		l.begin(t.Context())
		woken := make(chan struct{})
		context.AfterFunc(l, func() { close(woken) })
		child, cancel := context.WithTimeout(l, time.Hour)
		l.stop()
		if err := l.Err(); !errors.Is(err, context.Canceled) {
			t.Fatalf("after the call: %v", err)
		}
		l.begin(t.Context())
		<-woken
		<-child.Done()
		if err := child.Err(); !errors.Is(err, context.Canceled) {
			t.Fatalf("derived: %v", err)
		}
		if err := l.Err(); err != nil {
			t.Fatalf("the next call: %v", err)
		}
		cancel()
		l.stop()
	}
}
