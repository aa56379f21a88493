package enginetest

import (
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// Addresses inside the guest's first page.
const (
	resultAt  = 16   // result record
	countAt   = 64   // u32 counter behind count, isomer_save and isomer_restore
	textAt    = 128  // version text
	errorAt   = 512  // error message
	iovecAt   = 768  // for fd_write
	scratchAt = 4096 // what cabi_realloc hands out, each time
)

// Names of WASI calls.
const preview1 = "wasi_snapshot_preview1"

// GuestError is the message of the guest's function "fail".
const GuestError = "no such meter"

// Guest describes a small module that does everything once. The zero value builds.
type Guest struct {
	Version  string        // what the function "version" returns
	Manifest *abi.Manifest // nil: none
	Trap     string        // "start", "_initialize", "isomer_save", "isomer_restore" or "cabi_post_echo": where it traps
	Hang     string        // as Trap: where it never returns
	Stateful bool          // exports isomer_save and isomer_restore
	Post     bool          // exports cabi_post_echo, which adds 1000 to the counter
	MinPages uint32        // 0: 2
	Imports  bool          // imports two functions that nobody provides
}

var (
	i32 = wasm.I32

	typeNone  = wasm.FuncType{}
	typeAlloc = wasm.FuncType{Params: []wasm.ValType{i32, i32, i32, i32}, Results: []wasm.ValType{i32}}
	typeBytes = wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}}
)

// Build makes the binary. Its exports:
//
//	echo (bytes)      returns its input          fail (bytes)    returns the error GuestError
//	trap (bytes)      unreachable                outside (bytes) output pointer outside memory
//	lost (bytes)      record outside memory      loop (bytes)    never returns
//	recurse (bytes)   calls itself without end   version (bytes) returns Guest.Version
//	count (bytes)     adds 1, returns u32        exhaust (bytes) grows memory until refused, then traps
//	average (image)   average of all bytes as one byte
//	mul(f64, f64) -> f64, sum64(i64, i64) -> i64 scalars
//	run with input_0 and output_0 (4 × f32)      doubles each element
func (g Guest) Build() []byte {
	m := &wasm.Module{}
	if g.Imports {
		m.ImportFunc("env", "log", wasm.FuncType{Params: []wasm.ValType{i32}})
		m.ImportFunc("isomer", "now", wasm.FuncType{Results: []wasm.ValType{wasm.I64}})
	}
	pages := g.MinPages
	if pages == 0 {
		pages = 2
	}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(pages, 0))
	m.AddData(textAt, []byte(g.Version))
	m.AddData(errorAt, []byte(GuestError))
	add := func(name string, t wasm.FuncType, c *wasm.Code) uint32 {
		i := m.AddFunc(name, t, c)
		m.Export(name, wasm.KindFunc, i)
		return i
	}
	add(abi.ExportRealloc, typeAlloc, realloc())

	bytesFunc := func(name string, body func(c *wasm.Code)) uint32 {
		c := wasm.NewCode(i32, i32)
		body(c)
		return add(name, typeBytes, c)
	}
	bytesFunc("echo", func(c *wasm.Code) {
		ok(c, func() { c.Get(c.Param(0)) }, func() { c.Get(c.Param(1)) })
	})
	bytesFunc("fail", func(c *wasm.Code) {
		result(c, 1, func() { c.I32(errorAt) }, func() { c.I32(int32(len(GuestError))) })
	})
	bytesFunc("trap", func(c *wasm.Code) { c.Unreachable() })
	bytesFunc("outside", func(c *wasm.Code) {
		ok(c, func() { c.I32(-16) }, func() { c.I32(8) })
	})
	bytesFunc("lost", func(c *wasm.Code) { c.I32(-16) })
	bytesFunc("loop", func(c *wasm.Code) {
		c.Loop(func(top wasm.Label) { c.Br(top) }).Unreachable()
	})
	self := uint32(len(m.Funcs)) + uint32(len(m.Imports))
	bytesFunc("recurse", func(c *wasm.Code) { c.Get(c.Param(0), c.Param(1)).Call(self).I32(1).Op(wasm.I32Add) })
	bytesFunc("exhaust", func(c *wasm.Code) {
		c.Loop(func(top wasm.Label) { c.I32(16).MemoryGrow().I32(-1).Op(wasm.I32Ne).BrIf(top) }).Unreachable()
	})
	bytesFunc("version", func(c *wasm.Code) {
		ok(c, func() { c.I32(textAt) }, func() { c.I32(int32(len(g.Version))) })
	})
	bytesFunc("count", func(c *wasm.Code) {
		bump(c, 1)
		ok(c, func() { c.I32(countAt) }, func() { c.I32(4) })
	})
	add("average", typeAlloc, average())
	add("mul", wasm.FuncType{Params: []wasm.ValType{wasm.F64, wasm.F64}, Results: []wasm.ValType{wasm.F64}}, binaryOp(wasm.F64, wasm.F64Mul))
	add("sum64", wasm.FuncType{Params: []wasm.ValType{wasm.I64, wasm.I64}, Results: []wasm.ValType{wasm.I64}}, binaryOp(wasm.I64, wasm.I64Add))

	m.Export(abi.InputGlobal(0), wasm.KindGlobal, m.AddGlobal(i32, false, wasm.ConstI32(1024)))
	m.Export(abi.OutputGlobal(0), wasm.KindGlobal, m.AddGlobal(i32, false, wasm.ConstI32(1040)))
	c := wasm.NewCode()
	add(abi.ExportRun, typeNone, c.I32(1040).I32(1024).Load(wasm.V128Load, 0).F32(2).Op(wasm.F32x4Splat, wasm.F32x4Mul).Store(wasm.V128Store, 0))

	g.extras(m, add)
	if g.Manifest == nil {
		return m.Encode()
	}
	payload, err := g.Manifest.Encode()
	if err != nil {
		panic(err) // a mistake in the test that made it
	}
	m.AddCustom(abi.ManifestSection, payload)
	return m.Encode()
}

func (g Guest) extras(m *wasm.Module, add func(string, wasm.FuncType, *wasm.Code) uint32) {
	if g.Stateful {
		c := wasm.NewCode()
		g.spoil(c, abi.ExportSave)
		c.I32(resultAt).I32(countAt).Store(wasm.I32Store, 0).I32(resultAt).I32(4).Store(wasm.I32Store, 4).I32(resultAt)
		add(abi.ExportSave, wasm.FuncType{Results: []wasm.ValType{i32}}, c)
		c = wasm.NewCode(i32, i32)
		g.spoil(c, abi.ExportRestore)
		c.I32(countAt).Get(c.Param(0)).Load(wasm.I32Load, 0).Store(wasm.I32Store, 0)
		add(abi.ExportRestore, wasm.FuncType{Params: []wasm.ValType{i32, i32}}, c)
	}
	if g.Post {
		c := wasm.NewCode(i32)
		g.spoil(c, abi.PostReturn("echo"))
		bump(c, 1000)
		add(abi.PostReturn("echo"), wasm.FuncType{Params: []wasm.ValType{i32}}, c)
	}
	for _, place := range []string{g.Trap, g.Hang} {
		switch place {
		case "start":
			i := m.AddFunc("boot", typeNone, g.spoil(wasm.NewCode(), place))
			m.Start = &i
		case abi.ExportInitialize:
			add(abi.ExportInitialize, typeNone, g.spoil(wasm.NewCode(), place))
		}
	}
}

// spoil makes c trap or hang if that is to happen at place.
func (g Guest) spoil(c *wasm.Code, place string) *wasm.Code {
	switch place {
	case g.Trap:
		c.Unreachable()
	case g.Hang:
		c.Loop(func(top wasm.Label) { c.Br(top) }).Unreachable()
	}
	return c
}

// result stores a result record and leaves its address on the stack.
func result(c *wasm.Code, tag int32, ptr, n func()) {
	c.I32(resultAt).I32(tag).Store(wasm.I32Store, 0)
	c.I32(resultAt)
	ptr()
	c.Store(wasm.I32Store, 4).I32(resultAt)
	n()
	c.Store(wasm.I32Store, 8).I32(resultAt)
}

func ok(c *wasm.Code, ptr, n func()) { result(c, abi.TagOK, ptr, n) }

func bump(c *wasm.Code, by int32) {
	c.I32(countAt).I32(countAt).Load(wasm.I32Load, 0).I32(by).Op(wasm.I32Add).Store(wasm.I32Store, 0)
}

func binaryOp(t wasm.ValType, op wasm.Op) *wasm.Code {
	c := wasm.NewCode(t, t)
	return c.Get(c.Param(0), c.Param(1)).Op(op)
}

// realloc hands out the same scratch region each time and grows memory to fit: the input of the
// last call is dead when the next one is allocated.
func realloc() *wasm.Code {
	c := wasm.NewCode(i32, i32, i32, i32)
	want := c.Local(i32)
	// want = pages missing for scratchAt + newLen
	c.Get(c.Param(3)).I32(scratchAt + abi.PageSize - 1).Op(wasm.I32Add).I32(16).Op(wasm.I32ShrU).
		MemorySize().Op(wasm.I32Sub).Tee(want).I32(0).Op(wasm.I32GtS).If(func() {
		c.Get(want).MemoryGrow().I32(-1).Op(wasm.I32Eq).If(func() { c.Unreachable() })
	})
	return c.I32(scratchAt)
}

// average is func(width, height, ptr, len i32) -> result of one byte, at resultAt+12.
func average() *wasm.Code {
	c := wasm.NewCode(i32, i32, i32, i32)
	i, sum := c.Local(i32), c.Local(wasm.I64)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(i, c.Param(3)).Op(wasm.I32GeU).BrIf(out)
			c.Get(sum, c.Param(2), i).Op(wasm.I32Add).Load(wasm.I64Load8U, 0).Op(wasm.I64Add).Set(sum)
			c.Inc(i, 1).Br(top)
		})
	})
	c.I32(resultAt).Get(sum, c.Param(3)).Op(wasm.I64ExtendI32U, wasm.I64DivU, wasm.I32WrapI64).Store(wasm.I32Store8, 12)
	ok(c, func() { c.I32(resultAt + 12) }, func() { c.I32(1) })
	return c
}

// WasmtubeGuest is a module without an allocator: "upper" (wasmtube) turns ASCII letters to upper
// case in place; "first" (wasmtube-image) leaves the first pixel's three bytes.
func WasmtubeGuest() []byte {
	m := &wasm.Module{}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	c := wasm.NewCode(i32, i32)
	i, at, b := c.Local(i32), c.Local(i32), c.Local(i32)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(i, c.Param(1)).Op(wasm.I32GeU).BrIf(out)
			c.Get(c.Param(0), i).Op(wasm.I32Add).Tee(at).Load(wasm.I32Load8U, 0).Set(b)
			c.Get(b).I32('a').Op(wasm.I32Sub).I32(26).Op(wasm.I32LtU).If(func() {
				c.Get(at, b).I32(32).Op(wasm.I32Sub).Store(wasm.I32Store8, 0)
			})
			c.Inc(i, 1).Br(top)
		})
	})
	c.Get(c.Param(1))
	m.Export("upper", wasm.KindFunc, m.AddFunc("upper", typeBytes, c))
	m.Export("first", wasm.KindFunc, m.AddFunc("first", typeAlloc, wasm.NewCode(i32, i32, i32, i32).I32(3)))
	// long claims more output than any memory holds, negative what no length can be
	m.Export("long", wasm.KindFunc, m.AddFunc("long", typeBytes, wasm.NewCode(i32, i32).I32(0x7fff_ffff)))
	m.Export("negative", wasm.KindFunc, m.AddFunc("negative", typeBytes, wasm.NewCode(i32, i32).I32(-1)))
	return m.Encode()
}

// WASIGuest imports wasi_snapshot_preview1: "hello" writes "hello" to stdout and returns the error
// number of fd_prestat_get for the first directory; "clock" and "random" return what WASI says.
func WASIGuest() []byte {
	m := &wasm.Module{}
	fdWrite := m.ImportFunc(preview1, "fd_write", typeAlloc)
	prestat := m.ImportFunc(preview1, "fd_prestat_get", typeBytes)
	clock := m.ImportFunc(preview1, "clock_time_get", wasm.FuncType{Params: []wasm.ValType{i32, wasm.I64, i32}, Results: []wasm.ValType{i32}})
	random := m.ImportFunc(preview1, "random_get", typeBytes)
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	m.AddData(textAt, []byte("hello"))
	hello := wasm.NewCode()
	hello.I32(iovecAt).I32(textAt).Store(wasm.I32Store, 0).I32(iovecAt).I32(5).Store(wasm.I32Store, 4)
	hello.I32(1).I32(iovecAt).I32(1).I32(iovecAt + 8).Call(fdWrite).Drop()
	hello.I32(3).I32(iovecAt).Call(prestat)
	one := wasm.FuncType{Results: []wasm.ValType{i32}}
	long := wasm.FuncType{Results: []wasm.ValType{wasm.I64}}
	m.Export("hello", wasm.KindFunc, m.AddFunc("hello", one, hello))
	m.Export("clock", wasm.KindFunc, m.AddFunc("clock", long,
		wasm.NewCode().I32(0).I64(0).I32(iovecAt).Call(clock).Drop().I32(iovecAt).Load(wasm.I64Load, 0)))
	m.Export("random", wasm.KindFunc, m.AddFunc("random", long,
		wasm.NewCode().I32(iovecAt).I32(8).Call(random).Drop().I32(iovecAt).Load(wasm.I64Load, 0)))
	return m.Encode()
}
