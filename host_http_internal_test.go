package isomer

import (
	"context"
	"testing"
	"time"
)

func TestFetchLeavesTimeToAnswer(t *testing.T) {
	f := newFetcher(HTTPConfig{})
	if got := f.patience(t.Context()); got != 30*time.Second {
		t.Errorf("no deadline: %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if got := f.patience(ctx); got != 30*time.Second {
		t.Errorf("a far deadline: %v", got)
	}
	f.timeout = 2 * time.Hour
	if got := f.patience(ctx); got > 54*time.Minute {
		t.Errorf("a deadline in an hour: %v", got)
	}
}
