package isomer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// instance is one sandbox with everything looked up that calls need.
type instance struct {
	sandbox engine.Instance
	mem     engine.Memory // nil: the module exports none
	realloc engine.Func   // nil: the module exports none
	calls   []entry       // by function.index
	size    int           // of memory after the call under way; 0: look
	stack   []uint64      // parameters and results of one entry
	ins     []span        // tensors in memory
	outs    []span
	region  span     // where Wasmtube input and output lie
	program *program // nil: the module is no command
	said    *tail    // the call's standard error; nil: a module that imports nothing
}

// entry is a function of one instance.
type entry struct {
	call engine.Func
	post engine.Func // nil: none
}

// span is a part of memory.
type span struct{ ptr, len uint32 }

// startPatience bounds the start of an instance where calls have a deadline.
const startPatience = 30 * time.Second

// minStack holds the largest call that the bridge makes itself: cabi_realloc.
const minStack = 4

var errNoMemory = errors.New(`the module exports no memory named "memory"`)

// newInstance makes an instance that serves.
func (m *Module) newInstance(ctx context.Context, r *release) (*instance, error) {
	return m.instanceFor(ctx, r, serving)
}

func (m *Module) instanceFor(ctx context.Context, r *release, why purpose) (*instance, error) {
	if m.opts.deadline > 0 { // else nothing can be stopped
		// The deadline of a call is no measure for a runtime that sets itself up.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(startPatience, m.opts.deadline))
		defer cancel()
	}
	cfg := m.instanceConfig(r, why)
	var p *program
	var said *tail
	if r.isCommand() {
		p = newProgram(r, why, cfg.WASI)
	}
	if !r.pure {
		said = &tail{}
		said.listen(cfg.WASI)
	}
	sandbox, err := r.code.Instantiate(ctx, cfg)
	if err != nil {
		return nil, err
	}
	i := &instance{sandbox: sandbox, mem: sandbox.Memory(), realloc: sandbox.Func(abi.ExportRealloc), calls: make([]entry, len(r.funcs)), program: p, said: said}
	words := minStack
	for k := range r.funcs {
		f := &r.funcs[k]
		words = max(words, len(f.sig.Params), len(f.sig.Results))
		i.calls[k].call = sandbox.Func(f.Name)
		if f.post {
			i.calls[k].post = sandbox.Func(abi.PostReturn(f.Name))
		}
		if i.mem == nil && f.Convention != abi.Scalar && r.hasManifest {
			err = errors.Join(err, fmt.Errorf("%s: %w", f.Name, errNoMemory))
		}
	}
	i.stack = make([]uint64, words)
	if r.hasManifest {
		var err1, err2 error
		i.ins, err1 = i.tensors("inputs", r.manifest.Inputs)
		i.outs, err2 = i.tensors("outputs", r.manifest.Outputs)
		err = errors.Join(err, err1, err2)
	}
	if err != nil {
		_ = sandbox.Close()
		return nil, err
	}
	return i, nil
}

// tensors looks up where tensors lie, and checks that they lie in memory.
func (i *instance) tensors(field string, specs []abi.TensorSpec) ([]span, error) {
	out := make([]span, len(specs))
	var errs []error
	for k, t := range specs {
		at := fmt.Sprintf("%s[%d] %q", field, k, t.Name)
		size, err := t.ByteSize()
		addr, ok := i.sandbox.Global(t.Global)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		case i.mem == nil:
			errs = append(errs, fmt.Errorf("%s: %w", at, errNoMemory))
		case !ok:
			errs = append(errs, fmt.Errorf("%s: global %q is not exported", at, t.Global))
		default:
			out[k] = span{uint32(addr), uint32(size)}
			if _, err := abi.Span(i.mem.Bytes(), out[k].ptr, out[k].len, at); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return out, errors.Join(errs...)
}

// after is the memory as a call left it, and notes its size for slot.measure: asking twice costs 8 ns.
func (i *instance) after() []byte {
	b := i.mem.Bytes()
	i.size = len(b)
	return b
}

// alloc asks the guest for n bytes and returns their address.
func (i *instance) alloc(ctx context.Context, n int) (uint32, error) {
	if uint64(n) > 1<<32-1 {
		return 0, fmt.Errorf("%w: input of %d bytes is beyond a 32-bit memory", ErrArgument, n)
	}
	s := i.stack
	s[0], s[1], s[2], s[3] = 0, 0, 1, uint64(n)
	if err := i.realloc.Call(ctx, s); err != nil {
		return 0, err
	}
	return uint32(s[0]), nil
}

// lower copies in into guest memory and returns its address, owned by the function called next.
// An empty list needs no memory.
func (i *instance) lower(ctx context.Context, in []byte) (uint32, error) {
	if len(in) == 0 {
		return 0, nil
	}
	ptr, err := i.alloc(ctx, len(in))
	if err != nil {
		return 0, err
	}
	dst, err := abi.Span(i.mem.Bytes(), ptr, uint32(len(in)), "memory from "+abi.ExportRealloc)
	if err != nil {
		return 0, err
	}
	copy(dst, in)
	return ptr, nil
}

// bytes calls a function of the bytes or image convention. The output replaces the content of dst.
func (i *instance) bytes(ctx context.Context, f *function, dst, in []byte, width, height, limit int) ([]byte, error) {
	ptr, err := i.lower(ctx, in)
	if err != nil {
		return nil, err
	}
	s, e := i.stack, &i.calls[f.index]
	if f.Convention == abi.Image {
		s[0], s[1], s[2], s[3] = uint64(width), uint64(height), uint64(ptr), uint64(len(in))
	} else {
		s[0], s[1] = uint64(ptr), uint64(len(in))
	}
	if err := e.call.Call(ctx, s); err != nil {
		return nil, err
	}
	ret := uint32(s[0])
	payload, isErr, err := abi.DecodeResult(i.after(), ret)
	if err != nil {
		return nil, err
	}
	switch {
	case isErr:
		err = guestError(payload)
	case len(payload) > limit:
		err = errOutput(len(payload), limit)
	default:
		dst = append(dst[:0], payload...)
	}
	if e.post != nil {
		s[0], i.size = uint64(ret), 0
		if postErr := e.post.Call(ctx, s); postErr != nil {
			return nil, postErr
		}
	}
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// guestError is the message of an application error on its way to an *AppError.
type guestError string

func (e guestError) Error() string { return string(e) }

// wasmtubeRoom is the space for output that a Wasmtube function gets beyond its input: the
// convention has no way to ask.
const wasmtubeRoom = abi.PageSize

// wasmtube calls a function of the wasmtube conventions: input and output share one region.
func (i *instance) wasmtube(ctx context.Context, f *function, dst, in []byte, width, height, limit int) ([]byte, error) {
	at, err := i.reserve(ctx, len(in)+wasmtubeRoom)
	if err != nil {
		return nil, err
	}
	mem, err := abi.Span(i.mem.Bytes(), at, uint32(len(in)), "input")
	if err != nil {
		return nil, err
	}
	copy(mem, in)
	s := i.stack
	s[0], s[1] = uint64(at), uint64(len(in))
	if f.Convention == abi.WasmtubeImage {
		s[2], s[3] = uint64(width), uint64(height)
	}
	if err := i.calls[f.index].call.Call(ctx, s); err != nil {
		return nil, err
	}
	n := uint32(s[0])
	out, err := abi.Span(i.after(), at, n, "output")
	if err != nil {
		return nil, err
	}
	if len(out) > limit {
		return nil, errOutput(len(out), limit)
	}
	return append(dst[:0], out...), nil
}

// wasmtubeIndex is where Wasmtube itself puts input. Who wrote a module with a fixed memory for it, and
// no allocator, has left room there.
const wasmtubeIndex = 42

// fixed reports whether memory cannot grow by a page. One that can keeps it as the beginning of a region.
func (i *instance) fixed() bool {
	if i.region.len > 0 {
		return false
	}
	before, ok := i.mem.Grow(1)
	if ok {
		i.region = span{before * abi.PageSize, abi.PageSize}
	}
	return !ok
}

// reserve returns a region of n bytes that belongs to the host: new pages at the end of memory,
// which no allocator of the guest knows. Where memory cannot grow the guest's allocator is asked,
// each time, since it may give the region to the next call as well.
func (i *instance) reserve(ctx context.Context, n int) (uint32, error) {
	if uint64(n) > engine.MaxPages*abi.PageSize {
		return 0, fmt.Errorf("%w: input of %d bytes is beyond a 32-bit memory", ErrArgument, n)
	}
	if uint32(n) <= i.region.len {
		return i.region.ptr, nil
	}
	pages := uint32((n + abi.PageSize - 1) / abi.PageSize)
	have := uint32(0)
	if end := uint64(i.region.ptr) + uint64(i.region.len); end == uint64(len(i.mem.Bytes())) {
		have = i.region.len / abi.PageSize // the region is last: make it longer
	}
	before, ok := i.mem.Grow(pages - have)
	if ok {
		i.region = span{(before - have) * abi.PageSize, pages * abi.PageSize}
		return i.region.ptr, nil
	}
	if i.realloc == nil && i.fixed() && wasmtubeIndex+n-wasmtubeRoom <= len(i.mem.Bytes()) {
		return wasmtubeIndex, nil
	}
	if i.realloc == nil {
		return 0, &engine.LimitError{Limit: engine.MemorySz, Detail: fmt.Sprintf(
			"no room for %d bytes: memory of %d bytes cannot grow by %d pages", n, len(i.mem.Bytes()), pages-have)}
	}
	return i.alloc(ctx, n)
}

// tensorBytes calls run with in cut into the input tensors, and joins the output tensors.
func (i *instance) tensorBytes(ctx context.Context, f *function, dst, in []byte, limit int) ([]byte, error) {
	total := 0
	for _, t := range i.ins {
		total += int(t.len)
	}
	if len(in) != total {
		return nil, fmt.Errorf("%w: %d bytes of input, the input tensors have %d", ErrArgument, len(in), total)
	}
	mem := i.mem.Bytes()
	for _, t := range i.ins {
		copy(mem[t.ptr:t.ptr+t.len], in)
		in = in[t.len:]
	}
	if err := i.calls[f.index].call.Call(ctx, i.stack); err != nil {
		return nil, err
	}
	mem, dst = i.after(), dst[:0]
	for _, t := range i.outs {
		dst = append(dst, mem[t.ptr:t.ptr+t.len]...)
	}
	if len(dst) > limit {
		return nil, errOutput(len(dst), limit)
	}
	return dst, nil
}
