package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// subject is a model with its input: what a contestant loads.
type subject struct {
	onnx, wasm string // files
	manifest   abi.Manifest
	inputs     [][]byte
}

// contestant computes a subject. Close ends what Load began.
type contestant interface {
	// Load returns the outputs of a first run.
	Load(ctx context.Context, s *subject) ([][]byte, error)
	// Run returns the milliseconds of each run, and what of the processor a run took on average: on a busy machine a run
	// waits for the processor, and the second figure does not count that.
	Run(ctx context.Context, n int) (ms []float64, cpu float64, err error)
	Close() error
}

// embedded is an engine in this process, through the seam that the bridge uses: with the meter that lets a
// deadline stop a call, as a caller gets it by default.
type embedded struct {
	open  func() (engine.Engine, error)
	eng   engine.Engine
	code  engine.Code
	inst  engine.Instance
	run   engine.Func
	feeds []feeding
}

func (e *embedded) Load(ctx context.Context, s *subject) ([][]byte, error) {
	bin, err := os.ReadFile(s.wasm)
	if err != nil {
		return nil, err
	}
	if e.eng, err = e.open(); err != nil {
		return nil, err
	}
	if e.code, err = e.eng.Compile(ctx, bin, engine.CompileConfig{Interruptible: true}); err != nil {
		return nil, err
	}
	if e.inst, err = e.code.Instantiate(ctx, engine.InstanceConfig{}); err != nil {
		return nil, err
	}
	if e.run = e.inst.Func("run"); e.run == nil {
		return nil, errors.New("the module has no function run")
	}
	return e.compute(ctx, s)
}

// feeding is an input's place in memory with what is written there before each run: a module may use the place
// once it has read it.
type feeding struct{ to, from []byte }

// compute is one run with the subject's inputs.
func (e *embedded) compute(ctx context.Context, s *subject) ([][]byte, error) {
	e.feeds = nil
	for i, t := range s.manifest.Inputs {
		b, err := e.tensor(t)
		if err != nil {
			return nil, err
		}
		if len(b) != len(s.inputs[i]) {
			return nil, fmt.Errorf("input %q takes %d bytes, not %d", t.Name, len(b), len(s.inputs[i]))
		}
		e.feeds = append(e.feeds, feeding{b, s.inputs[i]})
	}
	if err := e.once(ctx); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, t := range s.manifest.Outputs {
		b, err := e.tensor(t)
		if err != nil {
			return nil, err
		}
		out = append(out, append([]byte(nil), b...))
	}
	return out, nil
}

func (e *embedded) once(ctx context.Context) error {
	for _, f := range e.feeds {
		copy(f.to, f.from)
	}
	return e.run.Call(ctx, nil)
}

// tensor is where a tensor lies in the instance's memory.
func (e *embedded) tensor(t abi.TensorSpec) ([]byte, error) {
	size, err := t.ByteSize()
	if err != nil {
		return nil, err
	}
	at, ok := e.inst.Global(t.Global)
	memory := e.inst.Memory().Bytes()
	if !ok || at+uint64(size) > uint64(len(memory)) {
		return nil, fmt.Errorf("tensor %q is not in memory", t.Name)
	}
	return memory[at:][:size], nil
}

func (e *embedded) Run(ctx context.Context, n int) ([]float64, float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := make([]float64, n)
	before := threadTime()
	for i := range out {
		start := time.Now()
		if err := e.once(ctx); err != nil {
			return nil, 0, err
		}
		out[i] = float64(time.Since(start).Nanoseconds()) / 1e6
	}
	return out, (threadTime() - before) / float64(n), nil
}

// threadTime is what this thread has had of the processor, in milliseconds.
func threadTime() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // not on this system: the column shows it
	}
	return float64(t.Nano()) / 1e6
}

func (e *embedded) Close() error {
	var errs []error
	if e.inst != nil {
		errs = append(errs, e.inst.Close())
	}
	if e.code != nil {
		errs = append(errs, e.code.Close())
	}
	if e.eng != nil {
		errs = append(errs, e.eng.Close())
	}
	return errors.Join(errs...)
}
