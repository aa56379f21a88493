package isomer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// release is a compiled module with what the bridge knows about it. It outlives its generation
// where Rollback may want it again.
type release struct {
	digest        string
	name, version string
	manifest      abi.Manifest
	hasManifest   bool
	code          engine.Code
	funcs         []function
	byName        map[string]int           // nil while funcs is short
	may           []abi.Permission         // what it may use of the host
	pure          bool                     // imports nothing: no one in the guest can ask for the context
	stateful      bool                     // exports isomer_save and isomer_restore
	last          atomic.Pointer[function] // the function called last, where there is a byName
	refs          atomic.Int32
}

// linearSearch is how many functions are found faster by comparing names than by hashing.
const linearSearch = 8

// function is one callable export.
type function struct {
	abi.Function
	index   int
	sig     engine.Signature
	in, out abi.Encoding
	post    bool // the module exports its cabi_post_
}

func (r *release) title() string { return r.name + "@" + r.version }

func (r *release) unref() {
	if r.refs.Add(-1) == 0 {
		_ = r.code.Close()
	}
}

// lookup finds a function by name.
func (r *release) lookup(name string) *function {
	if r.byName != nil {
		// Callers mostly repeat themselves: 3 ns instead of 15 for the map.
		if f := r.last.Load(); f != nil && f.Name == name {
			return f
		}
		i, ok := r.byName[name]
		if !ok {
			return nil
		}
		r.last.Store(&r.funcs[i])
		return &r.funcs[i]
	}
	for i := range r.funcs {
		if r.funcs[i].Name == name {
			return &r.funcs[i]
		}
	}
	return nil
}

func (r *release) noFunction(name string) error {
	have := make([]string, len(r.funcs))
	for i := range r.funcs {
		have[i] = r.funcs[i].Name
	}
	return &NoFunctionError{Function: name, Module: r.title(), Have: have}
}

// describe fills in what the bytes say about themselves. Where they say nothing, or nothing valid, the
// name is the file's and the version the digest's, so that a refusal names what it is about.
func (r *release) describe(bin []byte, path string) error {
	r.name, r.version = "module", r.digest[:12]
	if path != "" {
		r.name = nameOf(path)
	}
	payload, ok, err := wasm.CustomSection(bin, abi.ManifestSection)
	if err != nil {
		return err
	}
	if ok {
		if r.manifest, err = abi.ParseManifest(payload); err != nil {
			return err
		}
		r.hasManifest = true
	}
	if r.manifest.Name != "" {
		r.name = r.manifest.Name
	}
	if r.manifest.Version != "" {
		r.version = r.manifest.Version
	}
	return nil
}

// nameOf is the name of a module without a manifest. A file's name may be any bytes, but labels of metrics,
// spans and JSON are UTF-8, and a control character would forge lines of the log.
func nameOf(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return utf8.RuneError
		}
		return c // bytes that are no UTF-8 come as RuneError already
	}, name)
}

// compile makes code and the table of functions, of what may run with what is granted. The bytes are not
// kept: an engine has its own copy.
func (m *Module) compile(ctx context.Context, r *release, bin []byte) error {
	code, err := m.engine.Compile(ctx, bin, engine.CompileConfig{MaxPages: m.maxPages(r), Interruptible: m.opts.deadline > 0})
	if err != nil {
		return err
	}
	r.code = code
	r.refs.Store(1)
	r.pure = len(code.Imports()) == 0
	err = m.opts.grants.permit(r, code.Imports())
	if err == nil {
		err = r.bindFunctions(code.Funcs())
	}
	if err == nil {
		err = r.has(m.opts.wanted)
	}
	if err != nil {
		_ = code.Close()
	}
	return err
}

// has reports each function that is wanted and not there.
func (r *release) has(wanted []string) error {
	var missing []error
	for _, name := range wanted {
		if r.lookup(name) == nil {
			missing = append(missing, r.noFunction(name))
		}
	}
	return errors.Join(missing...)
}

// maxPages is the ceiling of the memory of r's instances.
func (m *Module) maxPages(r *release) uint32 {
	if mem := r.manifest.Memory; mem != nil && mem.MaxPages != 0 {
		return min(m.opts.maxPages, mem.MaxPages)
	}
	return m.opts.maxPages
}

// bindFunctions makes the table from the manifest, which must agree with the exports, or from the
// exports alone.
func (r *release) bindFunctions(exports []engine.FuncExport) error {
	sigs := make(map[string]engine.Signature, len(exports))
	for _, e := range exports {
		sigs[e.Name] = e.Signature
	}
	_, save := sigs[abi.ExportSave]
	_, restore := sigs[abi.ExportRestore]
	r.stateful = save && restore
	var problems []error
	if r.stateful {
		if got := sigs[abi.ExportSave]; !got.Is(0, 1) {
			problems = append(problems, fmt.Errorf("%s has type %v, want () -> (i32)", abi.ExportSave, got))
		}
		if got := sigs[abi.ExportRestore]; !got.Is(2, 0) {
			problems = append(problems, fmt.Errorf("%s has type %v, want (i32, i32) -> ()", abi.ExportRestore, got))
		}
	}
	_, hasRealloc := sigs[abi.ExportRealloc]
	if got := sigs[abi.ExportRealloc]; hasRealloc && !got.Is(4, 1) {
		problems = append(problems, fmt.Errorf("%s has type %v, want (i32, i32, i32, i32) -> (i32)", abi.ExportRealloc, got))
	}
	described := r.manifest.Functions
	if len(described) == 0 {
		described = infer(exports, hasRealloc)
	}
	for _, f := range described {
		sig, ok := sigs[f.Name]
		if !ok {
			problems = append(problems, fmt.Errorf("function %q of the manifest is not exported", f.Name))
			continue
		}
		if want, ok := shape(f.Convention, sig); !ok {
			problems = append(problems, fmt.Errorf("%s has type %v, convention %s wants %s", f.Name, sig, f.Convention, want))
			continue
		}
		if (f.Convention == abi.Bytes || f.Convention == abi.Image) && !hasRealloc {
			problems = append(problems, fmt.Errorf("%s: convention %s needs the export %s", f.Name, f.Convention, abi.ExportRealloc))
			continue
		}
		fn := function{Function: f, index: len(r.funcs), sig: sig}
		fn.in, fn.out = f.Encodings()
		if post, ok := sigs[abi.PostReturn(f.Name)]; ok && (f.Convention == abi.Bytes || f.Convention == abi.Image) {
			if !post.Is(1, 0) {
				problems = append(problems, fmt.Errorf("%s has type %v, want (i32) -> ()", abi.PostReturn(f.Name), post))
			}
			fn.post = true
		}
		r.funcs = append(r.funcs, fn)
	}
	if len(r.funcs) == 0 && len(problems) == 0 {
		// Eight bytes are a valid module, and what is left of a file cut off early.
		problems = append(problems, errors.New("the module exports no function that can be called"))
	}
	if len(r.funcs) > linearSearch {
		r.byName = make(map[string]int, len(r.funcs))
		for i := range r.funcs {
			r.byName[r.funcs[i].Name] = i
		}
	}
	return errors.Join(problems...)
}

// shape reports whether sig fits convention c, and what would.
func shape(c abi.Convention, sig engine.Signature) (want string, ok bool) {
	switch c {
	case abi.Bytes, abi.Wasmtube:
		return "(i32, i32) -> (i32)", sig.Is(2, 1)
	case abi.Image, abi.WasmtubeImage:
		return "(i32, i32, i32, i32) -> (i32)", sig.Is(4, 1)
	case abi.Tensors, abi.Command:
		return "() -> ()", sig.Is(0, 0)
	}
	for _, t := range slices.Concat(sig.Params, sig.Results) {
		switch t {
		case engine.I32, engine.I64, engine.F32, engine.F64:
		default:
			return "numbers alone", false
		}
	}
	return "numbers", true
}

// infer derives the functions of a module without a manifest from the types of its exports, as
// docs/abi.md says. Names of the contract and of toolchains are not for calling.
func infer(exports []engine.FuncExport, hasRealloc bool) []abi.Function {
	var out []abi.Function
	for _, e := range exports {
		switch {
		// wit-bindgen exports cabi_realloc_wit_bindgen_0_63_0 too, which has the type of an image's function.
		case strings.HasPrefix(e.Name, abi.ExportRealloc), strings.HasPrefix(e.Name, abi.ExportPostPrefix), strings.HasPrefix(e.Name, "__"):
			continue
		}
		switch e.Name {
		case abi.ExportInitialize, abi.ExportStart, abi.ExportSave, abi.ExportRestore:
			continue
		}
		f := abi.Function{Name: e.Name}
		switch {
		case e.Is(2, 1) && hasRealloc:
			f.Convention = abi.Bytes
		case e.Is(4, 1) && hasRealloc:
			f.Convention = abi.Image
		case e.Is(2, 1):
			f.Convention = abi.Wasmtube
		case e.Is(4, 1):
			f.Convention = abi.WasmtubeImage
		default:
			f.Convention = abi.Scalar
			if _, ok := shape(abi.Scalar, e.Signature); !ok {
				continue
			}
		}
		out = append(out, f)
	}
	if len(out) == 0 && slices.ContainsFunc(exports, func(e engine.FuncExport) bool { return e.Name == abi.ExportStart && e.Is(0, 0) }) {
		return []abi.Function{{Name: abi.ExportStart, Convention: abi.Command}}
	}
	return out
}
