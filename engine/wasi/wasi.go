// Package wasi is wasi_snapshot_preview1 on the engine seam: one implementation for every engine, so
// that a module gets the same answers from each.
//
// Use wasi in an engine, to carry out what engine.WASI grants; never to grant something, for which the
// fields of engine.WASI and the options of package isomer exist.
//
// No engine's own WASI is used: wazero's and wasmtime's differ in what they answer, and both read the
// machine's clock and random source unless told otherwise.
//
// Compatibility: v0, the API may change until 1.0.
package wasi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// Module is the name under which modules import WASI.
const Module = "wasi_snapshot_preview1"

// System is what one instance was granted, and what it made of it: open files, and how far its clock
// is. It belongs to its instance, and to one goroutine at a time.
type System struct {
	grant      engine.WASI
	fds        []*descriptor // by number; nil: closed
	wall, mono int64         // ns, what the next reading says where the clock is not the machine's
	began      time.Time     // of the real clock
	random     abi.FixedRandom
	listing    listing

	// Of the call under way: it is no argument, because an argument would be an allocation a call.
	ctx context.Context
	mem []byte
	end error // ends the guest's call
}

// Clocks that are not the machine's begin here and go on by a millisecond a reading (docs/abi.md section 9).
const (
	firstWall = 1640995200 * 1e9 // 2022-01-01 00:00 UTC
	tick      = 1e6
)

// New opens what grant names. Close the System with its instance.
func New(grant engine.WASI) (*System, error) {
	s := &System{grant: grant, wall: firstWall, began: time.Now()}
	s.fds = append(s.fds, &descriptor{in: grant.Stdin}, &descriptor{out: grant.Stdout}, &descriptor{out: grant.Stderr})
	if s.fds[0].in == nil {
		s.fds[0].in = eof{}
	}
	for _, d := range s.fds[1:] {
		if d.out == nil {
			d.out = io.Discard
		}
	}
	if len(grant.Dirs) > maxOpen-len(s.fds) {
		return nil, fmt.Errorf("wasi: %d directories, at most %d", len(grant.Dirs), maxOpen-len(s.fds))
	}
	for _, dir := range grant.Dirs {
		root, err := os.OpenRoot(dir.Host)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("wasi: directory %s: %w", dir.Guest, err)
		}
		s.fds = append(s.fds, &descriptor{root: root, guest: dir.Guest, preopened: true})
	}
	return s, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Close closes every file. A nil System has none.
func (s *System) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	for fd, d := range s.fds {
		if d != nil {
			errs = append(errs, d.close())
			s.fds[fd] = nil
		}
	}
	s.listing = listing{}
	return errors.Join(errs...)
}

// Link finds what a module's imports are, among what cfg lends and, where it is granted, WASI: one
// function for each import. The System is nil where none is asked for. The error is a *engine.LinkError,
// or a directory's that cannot be opened.
func Link(needs engine.Needs, cfg engine.InstanceConfig) ([]engine.HostFunc, *System, error) {
	var sys *System
	// What is lent replaces nothing of WASI.
	host := slices.DeleteFunc(slices.Clone(cfg.Host), func(h engine.HostFunc) bool { return h.Module == Module })
	asked := slices.ContainsFunc(needs.Imports, func(i engine.Import) bool { return i.Module == Module })
	if asked && cfg.WASI != nil {
		var err error
		if sys, err = New(*cfg.WASI); err != nil {
			return nil, nil, err
		}
		host = append(host, sys.hostFuncs(needs.Imports)...)
	}
	funcs, err := needs.Resolve(host)
	if link, ok := err.(*engine.LinkError); ok && asked && cfg.WASI == nil {
		link.Hint = "WASI is not granted"
	}
	if err != nil {
		_ = sys.Close()
		return nil, nil, err
	}
	return funcs, sys, nil
}

// hostFuncs are the functions of WASI that imports name, each once.
func (s *System) hostFuncs(imports []engine.Import) []engine.HostFunc {
	var out []engine.HostFunc
	done := map[string]bool{}
	for _, i := range imports {
		c, ok := calls[i.Name]
		if !ok || i.Module != Module || i.Kind != "func" || done[i.Name] {
			continue
		}
		done[i.Name] = true
		out = append(out, s.hostFunc(i.Name, c))
	}
	return out
}

func (s *System) hostFunc(name string, c call) engine.HostFunc {
	f := engine.HostFunc{Module: Module, Name: name}
	for _, p := range c.params {
		t := engine.I32
		if p == 'I' {
			t = engine.I64
		}
		f.Params = append(f.Params, t)
	}
	if c.run != nil {
		f.Results = []engine.ValType{engine.I32}
	}
	f.Call = func(ctx context.Context, in engine.Instance, stack []uint64) error {
		return s.call(ctx, c, in, stack)
	}
	return f
}

func (s *System) call(ctx context.Context, c call, in engine.Instance, stack []uint64) error {
	if c.run == nil { // proc_exit
		return &engine.ExitError{Code: uint32(stack[0])}
	}
	defer func() { s.ctx, s.mem = nil, nil }()
	for k, p := range c.params {
		if p == 'i' {
			stack[k] = uint64(uint32(stack[k]))
		}
	}
	s.ctx, s.mem, s.end = ctx, nil, nil
	if m := in.Memory(); m != nil {
		s.mem = m.Bytes()
	}
	no := c.run(s, stack)
	if s.end != nil {
		return s.end
	}
	stack[0] = uint64(no)
	return nil
}

// interrupted reports whether the caller gave up, and then ends the guest's call. What may take long
// asks in between: nobody else can.
func (s *System) interrupted() bool {
	err := s.ctx.Err()
	if err == nil {
		return false
	}
	s.end = engine.Stopped(err)
	return true
}
