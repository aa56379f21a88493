package isomer_test

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
)

// footprint is what a process holds when nothing runs.
type footprint struct {
	heap       uint64 // bytes in live objects
	goroutines int
	rss        uint64 // bytes; 0 where the system does not say, or the race detector's memory is in it
}

// raceDetector says whether this binary was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func measure(t testing.TB) footprint {
	t.Helper()
	runtime.GC() // runs the finalizers of what is gone …
	runtime.GC() // … and frees what they held
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine()}
	if raceDetector() {
		return f // its shadow of each address that was ever used stays resident: + 25 MiB in 100 swaps
	}
	if b, err := os.ReadFile("/proc/self/smaps_rollup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Rss:"); ok {
				kb, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
				f.rss = kb << 10
			}
		}
	}
	return f
}

// TestThousandSwaps swaps 1,000 times in a row under 4 callers without pause: no call fails, and memory
// comes back to where it was, both while the module still serves and after Close.
func TestThousandSwaps(t *testing.T) {
	swaps := 1000
	if testing.Short() {
		swaps = 100
	}
	bins := [][]byte{goldenGuest("1.0.0").Build(), goldenGuest("2.0.0").Build()}
	round := func(n int) (calls uint64, open footprint) {
		m, err := isomer.New(context.Background(), bins[0], append(onEngine, isomer.WithInstances(4))...)
		must(t, err)
		stop := callers(m, 4)
		for k := range n {
			must(t, m.Swap(context.Background(), bins[(k+1)%2]))
		}
		calls, failed, seen, err := stop()
		if failed != 0 || len(seen) != 2 {
			t.Errorf("%d of %d calls failed, versions %v, last error: %v", failed, calls, seen, err)
		}
		if s := m.Stats(); s.Swaps != uint64(n) || s.Failed != 0 || s.Refused != 0 {
			t.Errorf("stats = %+v", s)
		}
		open = measure(t)
		must(t, m.Close())
		return calls, open
	}
	round(20) // what a process has once: engine, pools, page tables
	start := measure(t)
	calls, open := round(swaps)
	end := measure(t)
	mib := func(n uint64) float64 { return float64(n) / (1 << 20) }
	t.Logf("%d swaps, %d calls, 0 failed; heap %.2f → %.2f → %.2f MiB, resident %.1f → %.1f → %.1f MiB, goroutines %d → %d → %d (start, open, closed)",
		swaps, calls, mib(start.heap), mib(open.heap), mib(end.heap), mib(start.rss), mib(open.rss), mib(end.rss), start.goroutines, open.goroutines, end.goroutines)
	// One generation of this module has 4 instances of 128 KiB and its code: 1,000 that were kept would be
	// 500 MiB. The bounds leave room for the runtime's own, and are met with a leak of 1 in 50.
	const heapRoom, rssRoom = 4 << 20, 24 << 20
	for what, f := range map[string]footprint{"open": open, "closed": end} {
		if f.heap > start.heap+heapRoom {
			t.Errorf("%s: %.1f MiB of heap, began with %.1f", what, mib(f.heap), mib(start.heap))
		}
		if start.rss > 0 && f.rss > start.rss+rssRoom {
			t.Errorf("%s: %.1f MiB resident, began with %.1f", what, mib(f.rss), mib(start.rss))
		}
	}
	for begin := time.Now(); end.goroutines > start.goroutines; end.goroutines = runtime.NumGoroutine() {
		if time.Since(begin) > patience {
			t.Fatalf("%d goroutines, began with %d", end.goroutines, start.goroutines)
		}
		time.Sleep(10 * time.Millisecond) // those of a closed engine end on their own
	}
}

// at is the quantile q of sorted durations.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// kept is how many of its last calls each caller remembers.
const kept = 1 << 20

// serveFor runs n callers while f runs, each with a pause between calls as a sensor has one, and returns
// what their calls took, sorted.
func serveFor(b testing.TB, m *isomer.Module, n int, pause time.Duration, f func()) []time.Duration {
	perCaller := make([][]time.Duration, n)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for k := range n {
		wg.Go(func() {
			var out []byte
			var err error
			in, took := []byte("some input"), make([]time.Duration, kept)
			for c := 0; ; c++ {
				select {
				case <-done:
					perCaller[k] = took[:min(c, kept)]
					return
				default:
				}
				begin := time.Now()
				if out, err = m.CallInto(context.Background(), out, "version", in); err != nil {
					b.Error(err)
					return
				}
				took[c%kept] = time.Since(begin)
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		})
	}
	f()
	close(done)
	wg.Wait()
	all := slices.Concat(perCaller...)
	slices.Sort(all)
	return all
}

// BenchmarkSwapLatency compares what calls take before and during 1,000 swaps in a row. Goal: the 99th
// percentile during is at most 1.5 times that before. "busy": 4 callers without pause, which leave no
// processor free on a small machine, so that compiling takes its share from them; "sensors": 4 callers with
// 1 ms between calls.
func BenchmarkSwapLatency(b *testing.B) {
	bins := [][]byte{goldenGuest("1.0.0").Build(), goldenGuest("2.0.0").Build()}
	const swaps = 1000
	for _, c := range []struct {
		name  string
		pause time.Duration
	}{{"busy", 0}, {"sensors", time.Millisecond}} {
		pause := c.pause
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				m, err := isomer.New(context.Background(), bins[0], append(onEngine, isomer.WithInstances(4))...)
				must(b, err)
				var during time.Duration
				swap := func() {
					begin := time.Now()
					for k := range swaps {
						must(b, m.Swap(context.Background(), bins[(k+1)%2]))
					}
					during = time.Since(begin)
				}
				serveFor(b, m, 4, pause, func() { time.Sleep(200 * time.Millisecond) })
				with := serveFor(b, m, 4, pause, swap)
				before := serveFor(b, m, 4, pause, func() { time.Sleep(during) })
				us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
				b.ReportMetric(us(at(before, 0.99)), "before-p99-µs")
				b.ReportMetric(us(at(with, 0.99)), "during-p99-µs")
				b.ReportMetric(us(at(with, 0.999)), "during-p99.9-µs")
				b.ReportMetric(us(at(before, 0.999)), "before-p99.9-µs")
				b.ReportMetric(float64(at(with, 0.99))/float64(at(before, 0.99)), "ratio")
				b.ReportMetric(during.Seconds()*1e3/swaps, "ms/swap")
				must(b, m.Close())
			}
		})
	}
}

// BenchmarkShadow is what a caller pays for a shadow of 100 B calls: off; on, with a candidate that keeps up
// as far as it can; and with the queue full.
func BenchmarkShadow(b *testing.B) {
	in := []byte(strings.Repeat("x", 100))
	for _, c := range []string{"off", "on", "full"} {
		b.Run(c, func(b *testing.B) {
			stuck := make(chan struct{})
			rule := isomer.Shadow{Calls: 1 << 30, For: 24 * time.Hour}
			if c == "full" {
				rule.Compare = func(isomer.ShadowCall) error { <-stuck; return nil }
			}
			events := newRecorder()
			m := openBytes(b, guest("1"), events.option(), isomer.WithShadow(rule))
			ctx, cancel := context.WithCancel(context.Background())
			if c != "off" {
				done := swapBeside(ctx, m, guest("2"))
				events.wait(b, isomer.ShadowStarted)
				defer func() { <-done }()
			}
			defer close(stuck)
			defer cancel()
			var out []byte
			var err error
			call := func() error { out, err = m.CallInto(context.Background(), out, "echo", in); return err }
			for range 100 { // the queue is full where nothing empties it
				must(b, call())
			}
			bench(b, call)
		})
	}
}

// BenchmarkRollback is from one module to the one before and back, in memory and with a history on disk.
func BenchmarkRollback(b *testing.B) {
	for _, c := range []string{"memory", "history"} {
		b.Run(c, func(b *testing.B) {
			var opts []isomer.Option
			if c == "history" {
				opts = append(opts, isomer.WithHistory(b.TempDir()))
			}
			m := openBytes(b, guest("1"), opts...)
			must(b, m.Swap(context.Background(), guest("2")))
			for b.Loop() {
				must(b, m.Rollback(context.Background()))
			}
		})
	}
}
