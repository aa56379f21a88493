package fleet

import (
	"fmt"
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	now := time.Unix(600, 0)
	q := NewQuota(2, 5, func() time.Time { return now })
	passed := func(key string, times int) (n, missed int) {
		for range times {
			m, ok := q.Take(key)
			if ok {
				n++
			}
			missed += m
		}
		return n, missed
	}
	if n, _ := passed("a", 100); n != 2 {
		t.Errorf("%d of one key pass", n)
	}
	all := 0
	for i := range 1000 {
		n, _ := passed(fmt.Sprint("key", i), 1)
		all += n
	}
	if all != 3 || len(q.count) > 5 {
		t.Errorf("%d of a thousand keys pass, and %d are remembered", all, len(q.count))
	}
	now = now.Add(time.Minute)
	if n, missed := passed("a", 1); n != 1 || missed == 0 {
		t.Errorf("in the next minute %d pass, and tell of %d that did not", n, missed)
	}
}
