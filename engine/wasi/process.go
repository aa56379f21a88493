package wasi

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
	"time"
)

func argsGet(s *System, a []uint64) errno { return s.strings(s.grant.Args, a[0], a[1]) }

func argsSizes(s *System, a []uint64) errno {
	size := 0
	for _, arg := range s.grant.Args {
		size += len(arg) + 1
	}
	return max(s.put32(a[0], uint32(len(s.grant.Args))), s.put32(a[1], uint32(size)))
}

// There is no environment: it would be what differs between layers.
func environGet(s *System, a []uint64) errno { return s.strings(nil, a[0], a[1]) }

func environSizes(s *System, a []uint64) errno { return max(s.put32(a[0], 0), s.put32(a[1], 0)) }

// strings writes list, each with a 0 behind it, to text, and their addresses to where.
func (s *System) strings(list []string, where, text uint64) errno {
	if s.span(where, 4*uint64(len(list))) == nil || s.span(text, 0) == nil {
		return fault
	}
	for k, str := range list {
		b := s.span(text, uint64(len(str))+1)
		if b == nil {
			return fault
		}
		b[copy(b, str)] = 0
		s.put32(where+4*uint64(k), uint32(text))
		text += uint64(len(b))
	}
	return success
}

// Clocks.
const (
	realtime  = 0
	monotonic = 1
)

func clockRes(s *System, a []uint64) errno {
	switch a[0] {
	case realtime:
		return s.put64(a[1], 1000)
	case monotonic:
		return s.put64(a[1], 1)
	}
	return inval
}

func clockTime(s *System, a []uint64) errno {
	now, ok := s.now(a[0])
	if !ok {
		return inval
	}
	if !s.grant.Clock {
		*s.clock(a[0]) = later(now, tick)
	}
	return s.put64(a[2], uint64(now))
}

// now is what a clock shows.
func (s *System) now(clock uint64) (int64, bool) {
	switch {
	case clock != realtime && clock != monotonic:
		return 0, false
	case !s.grant.Clock:
		return *s.clock(clock), true
	case clock == realtime:
		return time.Now().UnixNano(), true
	}
	return int64(time.Since(s.began)), true
}

// clock is a clock that is not the machine's.
func (s *System) clock(clock uint64) *int64 {
	if clock == realtime {
		return &s.wall
	}
	return &s.mono
}

// later is t+ns, where a guest may sleep for longer than time has numbers.
func later(t, ns int64) int64 {
	if t > math.MaxInt64-ns {
		return math.MaxInt64
	}
	return t + ns
}

// randomBatch is how much random_get makes before it looks whether the caller still waits: ≈ 0.1 ms.
const randomBatch = 64 << 10

func randomGet(s *System, a []uint64) errno {
	b := s.span(a[0], a[1])
	if b == nil {
		return fault
	}
	for len(b) > 0 && !s.interrupted() {
		part := b[:min(len(b), randomBatch)]
		b = b[len(part):]
		if s.grant.Random {
			_, _ = rand.Read(part) // never fails
			continue
		}
		_, _ = s.random.Read(part)
	}
	return success
}

// Sizes and kinds of what poll_oneoff waits for.
const (
	subscription = 48
	event        = 32
	onClock      = 0
	onRead       = 1
	onWrite      = 2

	maxSubscriptions = maxVectors
)

// poll waits for the first thing that happens. Files are always ready; where there are clocks alone, it
// sleeps until the first one rings, or says that it did, where the clock is not the machine's.
func poll(s *System, a []uint64) errno {
	n := a[2]
	if n == 0 || n > maxSubscriptions {
		return inval
	}
	in, out := s.span(a[0], n*subscription), s.span(a[1], n*event)
	if in == nil || out == nil || s.span(a[3], 4) == nil {
		return fault
	}
	subs := slices.Collect(slices.Chunk(in, subscription))
	waits := make([]int64, len(subs)) // 0: ready
	wait := int64(math.MaxInt64)
	for k, sub := range subs {
		switch sub[8] {
		case onClock:
			var no errno
			if waits[k], no = s.until(sub); no != success {
				return no
			}
		case onRead, onWrite:
		default:
			return inval
		}
		wait = min(wait, waits[k])
	}
	if wait > 0 && !s.sleep(wait) {
		return success
	}
	events := make([]byte, 0, len(in))
	for k, sub := range subs {
		if waits[k] > wait {
			continue
		}
		var e [event]byte
		copy(e[:], sub[:8])
		if e[10] = sub[8]; sub[8] != onClock && s.fd(uint64(binary.LittleEndian.Uint32(sub[16:]))) == nil {
			e[8] = byte(badf)
		}
		events = append(events, e[:]...)
	}
	copy(out, events)
	return s.put32(a[3], uint32(len(events)/event))
}

// absolute marks a subscription for a point in time.
const absolute = 1

// until is how long a subscription of a clock waits.
func (s *System) until(sub []byte) (int64, errno) {
	now, ok := s.now(uint64(binary.LittleEndian.Uint32(sub[16:])))
	if !ok {
		return 0, inval
	}
	ns := int64(min(binary.LittleEndian.Uint64(sub[24:]), math.MaxInt64))
	if sub[40]&absolute != 0 {
		ns = max(0, ns-now)
	}
	return ns, success
}

// sleep is false where the caller gave up meanwhile.
func (s *System) sleep(ns int64) bool {
	if !s.grant.Clock {
		s.wall, s.mono = later(s.wall, ns), later(s.mono, ns)
		return !s.interrupted()
	}
	t := time.NewTimer(time.Duration(ns))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
	return !s.interrupted()
}
