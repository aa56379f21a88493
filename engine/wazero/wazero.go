// Package wazero is the engine that the bridge uses by default: pure Go, machine code on amd64 and
// arm64, an interpreter elsewhere.
//
// Use wazero with isomer.WithEngine to choose the mode, to share one engine between modules, or to
// keep machine code on disk; never to call modules.
//
// Compatibility: v0, the API may change until 1.0.
package wazero

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
	"github.com/isomer-iot/isomer/wasm"
)

// Option changes an engine before it exists.
type Option func(*options) error

type options struct {
	interpreter bool
	cacheDir    string
	workers     int
}

// ErrOption is what the error of an option that cannot be applied unwraps to.
var ErrOption = errors.New("wazero: bad option")

// WithInterpreter interprets instead of compiling: 10 to 100 times slower, starts at once, and the
// only mode on 32-bit ARM, MIPS and RISC-V.
func WithInterpreter() Option {
	return func(o *options) error { o.interpreter = true; return nil }
}

// WithCacheDir keeps machine code in dir, made if needed, so that the next process that opens the
// same module skips compilation. Several processes may share it; a file that is damaged is noticed and
// replaced, and where dir cannot be written modules are compiled each time. Whoever can write there can run
// code in this process. Nothing is removed from dir when a module is. Without it machine code lives in memory alone.
func WithCacheDir(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return fmt.Errorf("%w: cache directory is empty", ErrOption)
		}
		o.cacheDir = dir
		return nil
	}
}

// WithCompileWorkers compiles a module's functions on n goroutines. Default: half the processors,
// at least 1, so that calls go on while an update is compiled.
func WithCompileWorkers(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("%w: %d compile workers, want at least 1", ErrOption, n)
		}
		o.workers = n
		return nil
	}
}

// New makes an engine. With no options it compiles and keeps nothing on disk.
func New(opts ...Option) (engine.Engine, error) {
	o := options{workers: max(1, runtime.NumCPU()/2)}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.interpreter {
		o.cacheDir = ""
	}
	if o.cacheDir != "" {
		if err := os.MkdirAll(o.cacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("wazero: cache directory: %w", err)
		}
	}
	return &host{options: o, cache: wazero.NewCompilationCache()}, nil
}

// host is the engine. Machine code is shared through the cache; each Code has a runtime of its own,
// because wazero fixes the memory ceiling for a whole runtime.
type host struct {
	options
	cache wazero.CompilationCache
}

func (h *host) Name() string {
	if h.interpreter {
		return "wazero-interpreter"
	}
	return "wazero"
}

func (h *host) Close() error { return h.cache.Close(context.Background()) }

func (h *host) Compile(ctx context.Context, bin []byte, cfg engine.CompileConfig) (engine.Code, error) {
	mod, needs, err := engine.Admit(h.Name(), bin, &cfg)
	if err != nil {
		return nil, err
	}
	bin, shift, err := rewrite(mod, bin, cfg)
	if err != nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: err}
	}
	ctx = experimental.WithCompilationWorkers(context.WithoutCancel(ctx), h.workers)
	c := h.fromShelf(ctx, bin, cfg)
	if c == nil {
		c, err = h.compile(ctx, bin, cfg, h.cache)
	}
	if err != nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: err}
	}
	c.needs, c.shift = needs, shift
	return c, nil
}

// fromShelf compiles bin with machine code kept on disk, or is nil where the disk does not serve, which
// must not keep a good module from running.
func (h *host) fromShelf(ctx context.Context, bin []byte, cfg engine.CompileConfig) *code {
	if h.cacheDir == "" {
		return nil
	}
	s, err := openShelf(h.cacheDir, bin)
	if err != nil {
		return nil
	}
	cache, err := wazero.NewCompilationCacheWithDir(s.dir)
	if err != nil {
		return nil
	}
	c, err := h.compile(ctx, bin, cfg, cache)
	if err != nil {
		_ = cache.Close(ctx)
		return nil
	}
	s.seal()
	c.ownCache = cache
	return c
}

// rewrite adds what wazero has no setting for: a ceiling for tables, and a meter where calls are to be
// stopped. Its own way to stop them costs a call of ≈ 20 ns at each turn of each loop.
func rewrite(m *wasm.Module, bin []byte, cfg engine.CompileConfig) ([]byte, *meter.Shift, error) {
	changed := false
	for i := range m.Tables {
		l := &m.Tables[i].Limits
		if !l.HasMax || l.Max > engine.MaxTableEntries {
			l.HasMax, l.Max, changed = true, engine.MaxTableEntries, true
		}
	}
	if cfg.Interruptible {
		shift, err := meter.Rewrite(m)
		if err != nil {
			return nil, nil, err
		}
		return m.Encode(), &shift, nil
	}
	if changed {
		bin = m.Encode()
	}
	return bin, nil, nil
}

func (h *host) compile(ctx context.Context, bin []byte, cfg engine.CompileConfig, cache wazero.CompilationCache) (c *code, err error) {
	rc := wazero.NewRuntimeConfig()
	if h.interpreter {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	rt := wazero.NewRuntimeWithConfig(ctx, rc.
		WithCompilationCache(cache).
		WithMemoryLimitPages(cfg.MaxPages).
		WithDebugInfoEnabled(false)) // DWARF would double the load time of a debug build for prettier traps
	defer func() {
		// A compiler bug met by a hostile module is a refused module, not a crashed process.
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("panic in the engine: %v", r)
		}
		if err != nil {
			_ = rt.Close(ctx)
		}
	}()
	compiled, err := rt.CompileModule(ctx, bin)
	if err != nil {
		return nil, err
	}
	return &code{host: h, runtime: rt, compiled: compiled, cfg: cfg}, nil
}

func signature(d api.FunctionDefinition) engine.Signature {
	return engine.Signature{Params: valTypes(d.ParamTypes()), Results: valTypes(d.ResultTypes())}
}

func valTypes(ts []api.ValueType) []engine.ValType {
	out := make([]engine.ValType, len(ts))
	for i, t := range ts {
		out[i] = engine.ValType(t)
	}
	return out
}
