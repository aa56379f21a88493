package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// inspection is what "inspect --json" prints.
type inspection struct {
	File        string           `json:"file"`
	Bytes       int              `json:"bytes"`
	SHA256      string           `json:"sha256"`
	Functions   []functionInfo   `json:"functions"`
	Globals     []string         `json:"globals,omitempty"`
	Imports     []string         `json:"imports,omitempty"`
	Features    []string         `json:"features,omitempty"`
	Permissions []permissionInfo `json:"permissions,omitempty"`
	Memory      *memoryInfo      `json:"memory,omitempty"`
	Sections    []sectionInfo    `json:"sections"`
	Manifest    *abi.Manifest    `json:"manifest,omitempty"`
	Problems    []string         `json:"problems,omitempty"`
}

type functionInfo struct {
	Name       string         `json:"name"`
	Signature  string         `json:"signature"`
	Convention abi.Convention `json:"convention,omitempty"`
	Input      abi.Encoding   `json:"input,omitempty"`
	Output     abi.Encoding   `json:"output,omitempty"`
	Role       string         `json:"role,omitempty"` // of an export that is not there to be called
	Doc        string         `json:"doc,omitempty"`
}

type memoryInfo struct {
	MinPages uint32 `json:"minPages"`
	MaxPages uint32 `json:"maxPages,omitempty"`
	Imported bool   `json:"imported,omitempty"`
}

type sectionInfo struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

func inspectCommand(std streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a module offers, needs and consists of",
		Long: `Show a module's functions with their signatures and calling conventions, its tensors, the
WebAssembly features, imports and permissions that it needs, its memory, manifest, SHA-256 and sections.
Nothing of the module is run.`,
		Example: "  isomer inspect model.wasm\n  isomer inspect model.wasm --json | jq .manifest.labels",
		Args:    operands("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			bin, err := readRegular(args[0], maxModule)
			if err != nil {
				return err
			}
			in, err := inspect(args[0], bin)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				return writeJSON(std.out, in)
			}
			return in.print(std.out)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// inspect reads a module. What is wrong with its manifest goes to Problems: a module that a host would
// refuse is the one that people look into.
func inspect(file string, bin []byte) (*inspection, error) {
	sections, err := wasm.Sections(bin)
	if err != nil {
		return nil, err
	}
	m, err := wasm.Decode(bin)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(bin)
	in := &inspection{File: file, Bytes: len(bin), SHA256: hex.EncodeToString(sum[:]), Functions: []functionInfo{}}
	for _, s := range sections {
		in.Sections = append(in.Sections, sectionInfo{s.Title(), s.Size})
		if s.ID == wasm.SectionCustom && s.Name == abi.ManifestSection && in.Manifest == nil {
			if manifest, err := abi.ParseManifest(s.Payload); err != nil {
				in.Problems = append(in.Problems, err.Error())
			} else {
				in.Manifest = &manifest
			}
		}
	}
	if in.Features, err = m.Features(); err != nil {
		in.Problems = append(in.Problems, "features: "+err.Error())
	}
	in.imports(m)
	in.permissions(m)
	in.exports(m)
	if len(m.Memories) > 0 {
		in.Memory = &memoryInfo{MinPages: m.Memories[0].Min, MaxPages: m.Memories[0].Max}
	}
	return in, nil
}

func (in *inspection) imports(m *wasm.Module) {
	for _, i := range m.Imports {
		line := fmt.Sprintf("%v %s.%s", i.Kind, i.Module, i.Name)
		switch i.Kind {
		case wasm.KindFunc:
			if int(i.Type) < len(m.Types) {
				line += " " + m.Types[i.Type].String()
			}
		case wasm.KindMemory:
			in.Memory = &memoryInfo{MinPages: i.Memory.Min, MaxPages: i.Memory.Max, Imported: true}
		}
		in.Imports = append(in.Imports, line)
	}
}

func (in *inspection) exports(m *wasm.Module) {
	described := map[string]abi.Function{}
	if in.Manifest != nil {
		for _, f := range in.Manifest.Functions {
			described[f.Name] = f
			if e, ok := m.Exported(f.Name); !ok || e.Kind != wasm.KindFunc {
				in.Problems = append(in.Problems, fmt.Sprintf("the manifest describes function %q, which the module does not export", f.Name))
			}
		}
		for _, t := range slices.Concat(in.Manifest.Inputs, in.Manifest.Outputs) {
			if e, ok := m.Exported(t.Global); !ok || e.Kind != wasm.KindGlobal {
				in.Problems = append(in.Problems, fmt.Sprintf("the manifest puts tensor %q at global %q, which the module does not export", t.Name, t.Global))
			}
		}
	}
	_, realloc := m.Exported(abi.ExportRealloc)
	for _, e := range m.Exports {
		switch e.Kind {
		case wasm.KindGlobal:
			in.Globals = append(in.Globals, e.Name)
		case wasm.KindFunc:
			f := functionInfo{Name: e.Name, Role: role(e.Name)}
			if t, ok := m.FuncType(e.Index); ok {
				f.Signature = t.String()
				if len(described) == 0 && f.Role == "" {
					f.Convention = byType(t, realloc)
				}
			}
			if d, ok := described[e.Name]; ok {
				f.Convention, f.Role, f.Doc = d.Convention, "", d.Doc
				f.Input, f.Output = d.Encodings()
			}
			in.Functions = append(in.Functions, f)
		}
	}
	if len(described) == 0 {
		in.command()
	}
	// Those meant to be called come first.
	slices.SortStableFunc(in.Functions, func(a, b functionInfo) int {
		return cmp.Compare(min(len(a.Role), 1), min(len(b.Role), 1))
	})
}

// command marks the main function of a WASI program that exports nothing else to call.
func (in *inspection) command() {
	start := -1
	for k, f := range in.Functions {
		if f.Convention != "" {
			return
		}
		if f.Name == abi.ExportStart && f.Signature == (wasm.FuncType{}).String() {
			start = k
		}
	}
	if start >= 0 {
		in.Functions[start].Convention, in.Functions[start].Role = abi.Command, ""
	}
}

// byType is the convention that a host concludes from a function's type where no manifest names one
// (docs/abi.md, section 3); empty: not callable. TestInspectByType holds it to what the bridge does.
func byType(t wasm.FuncType, realloc bool) abi.Convention {
	i32s := func(params int) bool {
		return len(t.Params) == params && len(t.Results) == 1 &&
			!slices.ContainsFunc(slices.Concat(t.Params, t.Results), func(v wasm.ValType) bool { return v != wasm.I32 })
	}
	switch {
	case i32s(2) && realloc:
		return abi.Bytes
	case i32s(2):
		return abi.Wasmtube
	case i32s(4) && realloc:
		return abi.Image
	case i32s(4):
		return abi.WasmtubeImage
	}
	for _, v := range slices.Concat(t.Params, t.Results) {
		if !slices.Contains([]wasm.ValType{wasm.I32, wasm.I64, wasm.F32, wasm.F64}, v) {
			return ""
		}
	}
	return abi.Scalar
}

// role says what an export is for that a caller does not call.
func role(export string) string {
	if fn, ok := strings.CutPrefix(export, abi.ExportPostPrefix); ok {
		return "clean-up of " + fn
	}
	switch export {
	case abi.ExportRealloc:
		return "allocator"
	case abi.ExportInitialize, abi.ExportStart:
		return "start-up"
	case abi.ExportSave, abi.ExportRestore:
		return "state"
	}
	if strings.HasPrefix(export, "__") {
		return "of the toolchain"
	}
	return ""
}

func (in *inspection) print(w io.Writer) error {
	head := newTable(w)
	if m := in.Manifest; m != nil {
		head.row("name", strings.TrimSpace(m.Name+" "+m.Version))
	}
	head.row("file", fmt.Sprintf("%s, %s", in.File, size(in.Bytes)))
	head.row("sha256", in.SHA256)
	head.row("features", list(in.Features))
	head.row("imports", importLine(in.Imports))
	if len(in.Permissions) == 0 {
		head.row("permissions", "none")
	}
	if m := in.Memory; m != nil {
		head.row("memory", m.String())
	}
	if m := in.Manifest; m != nil {
		if m.Image != nil {
			head.row("image", imageLine(*m.Image))
		}
		if len(m.Labels) > 0 {
			head.row("labels", labelLine(m.Labels))
		}
		head.row("golden", plural(len(m.Golden), "case"))
	} else {
		head.row("manifest", "none")
	}
	if err := head.flush(); err != nil {
		return err
	}
	for _, part := range []func(io.Writer) error{in.printPermissions, in.printFunctions, in.printTensors, in.printSections} {
		if err := part(w); err != nil {
			return err
		}
	}
	for _, p := range in.Problems {
		fmt.Fprintf(w, "\nproblem: %s\n", p)
	}
	return nil
}

func (in *inspection) printFunctions(w io.Writer) error {
	if len(in.Functions) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("FUNCTION", "SIGNATURE", "CONVENTION", "INPUT", "OUTPUT", "")
	for _, f := range in.Functions {
		convention := string(f.Convention)
		if f.Role != "" {
			convention = "(" + f.Role + ")"
		}
		t.row(f.Name, f.Signature, convention, f.Input, f.Output, f.Doc)
	}
	return t.flush()
}

func (in *inspection) printTensors(w io.Writer) error {
	if in.Manifest == nil || len(in.Manifest.Inputs)+len(in.Manifest.Outputs) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("TENSOR", "", "DTYPE", "SHAPE", "BYTES", "GLOBAL")
	row := func(kind string, s abi.TensorSpec) {
		bytes, _ := s.ByteSize() // the manifest was validated
		t.row(s.Name, kind, s.DType, fmt.Sprint(s.Shape), bytes, s.Global)
	}
	for _, s := range in.Manifest.Inputs {
		row("input", s)
	}
	for _, s := range in.Manifest.Outputs {
		row("output", s)
	}
	return t.flush()
}

func (in *inspection) printSections(w io.Writer) error {
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("SECTION", "BYTES", "SHARE")
	for _, s := range in.Sections {
		t.row(s.Name, s.Bytes, fmt.Sprintf("%.1f %%", 100*float64(s.Bytes)/float64(in.Bytes)))
	}
	return t.flush()
}

func (m memoryInfo) String() string {
	s := fmt.Sprintf("%s at first (%s)", plural(m.MinPages, "page"), size(uint64(m.MinPages)*abi.PageSize))
	if m.MaxPages != 0 {
		s += fmt.Sprintf(", at most %d (%s)", m.MaxPages, size(uint64(m.MaxPages)*abi.PageSize))
	}
	if m.Imported {
		s += ", imported"
	}
	return s
}

func imageLine(s abi.ImageSpec) string {
	fit := s.Fit
	if fit == "" {
		fit = abi.FitCover
	}
	line := fmt.Sprintf("%d×%d, %s", s.Width, s.Height, fit)
	if s.Scale != 0 {
		line += fmt.Sprintf(", scale %g", s.Scale)
	}
	if len(s.Mean) > 0 {
		line += fmt.Sprintf(", mean %v", s.Mean)
	}
	if len(s.Std) > 0 {
		line += fmt.Sprintf(", std %v", s.Std)
	}
	return line
}

func labelLine(labels []string) string {
	const shown = 5
	head := strings.Join(labels[:min(len(labels), shown)], ", ")
	if len(labels) > shown {
		head += ", …"
	}
	return fmt.Sprintf("%d: %s", len(labels), head)
}

// importLine counts what WASI modules import, up to 46 functions, and host functions, and names everything
// else: a host refuses the module for that.
func importLine(imports []string) string {
	const wasi = "wasi_snapshot_preview1"
	var others []string
	ofWASI, ofHost := 0, 0
	for _, i := range imports {
		module, _, _ := strings.Cut(strings.TrimPrefix(i, "func "), ".")
		if _, ok := abi.HostPermission(module); ok {
			ofHost++
		} else if strings.HasPrefix(i, "func "+wasi+".") {
			ofWASI++
		} else {
			others = append(others, i)
		}
	}
	if ofHost > 0 {
		others = append([]string{plural(ofHost, "host function")}, others...)
	}
	if ofWASI > 0 {
		others = append([]string{plural(ofWASI, "function") + " of " + wasi}, others...)
	}
	return list(others)
}

func list(items []string) string {
	if len(items) == 0 {
		return "none"
	}
	return strings.Join(items, ", ")
}
