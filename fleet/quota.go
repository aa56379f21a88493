package fleet

import (
	"sync"
	"time"
)

// Quota bounds how often something is told of that others bring about, such as attempts that were refused: an attacker
// must not fill a log. Of each key it lets the first few of a minute pass, and of all together a few more. The zero value
// is not usable; see NewQuota.
type Quota struct {
	mu     sync.Mutex
	each   int
	all    int
	now    func() time.Time
	minute int64
	count  map[string]int
	passed int
	held   int
}

// NewQuota lets each pass of a key in a minute, and all of them together. now nil: time.Now.
func NewQuota(each, all int, now func() time.Time) *Quota {
	if now == nil {
		now = time.Now
	}
	return &Quota{each: each, all: all, now: now, count: map[string]int{}}
}

// Take reports whether one more of the key may pass. missed is how many were held back since one passed last.
func (q *Quota) Take(key string) (missed int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m := q.now().Unix() / 60; m != q.minute {
		q.minute, q.passed = m, 0
		clear(q.count)
	}
	if q.passed >= q.all || q.count[key] >= q.each {
		q.held++
		return 0, false
	}
	q.passed++
	q.count[key]++ // at most as many keys as may pass
	missed, q.held = q.held, 0
	return missed, true
}
