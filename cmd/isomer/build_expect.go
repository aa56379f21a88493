package main

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// expectation is what a run of the module should take on this machine. The zero value is none.
type expectation struct {
	rates compiler.Rates
	times []time.Duration // of each layer
	total time.Duration
	on    string // where the rates were measured
}

// probeTime is what a probe may take: its best run is kept, so that others at work on the machine
// disturb it little. A build takes 0.1 s longer for all of them.
const (
	probeTime = 12 * time.Millisecond
	probeRuns = 200
)

// expect measures how fast this machine and the default engine are at the kinds of work that s has. A
// machine on which that fails gets no expectation; the build is as good without.
func expect(ctx context.Context, s compiler.Stats) expectation {
	probes, err := s.Probes()
	if err != nil {
		return expectation{}
	}
	e, err := wazero.New()
	if err != nil {
		return expectation{}
	}
	defer e.Close()
	rates := compiler.Rates{}
	for _, p := range probes {
		best, err := fastest(ctx, e, p.Module)
		if err != nil {
			return expectation{}
		}
		rates[p.Kind] = float64(p.Work) / best.Seconds()
	}
	x := expectation{rates: rates, times: s.Expect(rates), on: engineWazero + ", " + runtime.GOOS + "/" + runtime.GOARCH}
	for _, t := range x.times {
		x.total += t
	}
	return x
}

// fastest is the time of the best run of a module's "run".
func fastest(ctx context.Context, e engine.Engine, bin []byte) (time.Duration, error) {
	code, err := e.Compile(ctx, bin, engine.CompileConfig{})
	if err != nil {
		return 0, err
	}
	defer code.Close()
	in, err := code.Instantiate(ctx, engine.InstanceConfig{})
	if err != nil {
		return 0, err
	}
	defer in.Close()
	run, best := in.Func(abi.ExportRun), time.Duration(math.MaxInt64)
	for i, begin := 0, time.Now(); i < probeRuns && (i < 2 || time.Since(begin) < probeTime); i++ {
		start := time.Now()
		if err := run.Call(ctx, nil); err != nil {
			return 0, err
		}
		best = min(best, max(time.Since(start), 1))
	}
	return best, nil
}
