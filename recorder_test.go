package isomer_test

import (
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
)

// recorder keeps events for tests to wait for.
type recorder struct{ events chan isomer.Event }

func newRecorder() *recorder { return &recorder{make(chan isomer.Event, 100_000)} }

func (r *recorder) option() isomer.Option {
	return isomer.WithEvents(func(e isomer.Event) { r.events <- e })
}

// wait returns the next event of one of the kinds, passing over others.
func (r *recorder) wait(t testing.TB, kinds ...isomer.EventKind) isomer.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-r.events:
			for _, k := range kinds {
				if e.Kind == k {
					return e
				}
			}
		case <-timeout:
			t.Fatalf("waiting for the event %v", kinds)
		}
	}
}
