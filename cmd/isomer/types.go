package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// maxLabels bounds the union of class names: editors become slow with larger ones.
const maxLabels = 10_000

func typesCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "types FILE",
		Short: "Write a module's TypeScript types for the JavaScript bridge",
		Long: `Write TypeScript declarations of what a module offers: its functions, the numbers that they take and give, the JSON
that they answer, its tensors with element types and shapes, and its labels. With them the calls of @isomer/bridge
are checked by the compiler: Module.open<Types>("model.wasm"). The JSON is that of a compiled classifier, or what the
answers of the manifest's golden cases look like. Nothing of the module is run.`,
		Example: `  isomer types model.wasm > model.d.ts
  isomer types examples/digits.wasm | grep Label`,
		Args: operands("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			bin, err := readRegular(args[0], maxModule)
			if err != nil {
				return err
			}
			text, err := typesOf(args[0], bin)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = std.out.Write(text)
			return err
		},
	}
}

// declarations is a .d.ts that is being written. Everything that comes from the module goes through quoted, key or
// remark: it is anyone's, and must not become code.
type declarations struct {
	bytes.Buffer
	label string          // the type of a class name
	known map[string]bool // class names
}

// typesOf writes the declarations of a module that a host would take.
func typesOf(file string, bin []byte) ([]byte, error) {
	in, err := inspect(file, bin)
	if err != nil {
		return nil, err
	}
	if len(in.Problems) > 0 {
		return nil, hint(errors.New(strings.Join(in.Problems, "\n")), "a host would refuse this module; run %q", "isomer inspect "+file)
	}
	manifest := abi.Manifest{}
	if in.Manifest != nil {
		manifest = *in.Manifest
	}
	var d declarations
	d.head(file, in, manifest)
	d.classes(manifest.Labels)
	compiled := slices.ContainsFunc(in.Sections, func(s sectionInfo) bool { return s.Name == `custom "isomer.layers"` })
	if err := d.module(in, bin, manifest, compiled); err != nil {
		return nil, err
	}
	return d.Bytes(), nil
}

func (d *declarations) head(file string, in *inspection, m abi.Manifest) {
	base := filepath.Base(file)
	name := strings.TrimSpace(m.Name + " " + m.Version)
	if name == "" {
		name = base
	}
	fmt.Fprintf(d, "// Types of %s, sha256 %s. Written by \"isomer types\": a new version gets new ones.\n//\n", remark(name), in.SHA256)
	fmt.Fprintf(d, "//   import { Module } from \"@isomer/bridge\";\n")
	fmt.Fprintf(d, "//   import type { Types } from %s;\n", remark(quoted("./"+strings.TrimSuffix(base, filepath.Ext(base))+".js")))
	fmt.Fprintf(d, "//   const m = await Module.open<Types>(%s);\n", remark(quoted(base)))
}

// classes declares Label, where classes have names.
func (d *declarations) classes(labels []string) {
	d.label, d.known = "string", map[string]bool{}
	if len(labels) == 0 || len(labels) > maxLabels {
		return
	}
	d.label = "Label"
	fmt.Fprintf(d, "\n/** The names of the %s. */\nexport type Label =", plural(len(labels), "label"))
	for _, l := range labels {
		if !d.known[l] { // networks have two cranes, the bird and the machine
			fmt.Fprintf(d, "\n  | %s", quoted(l))
		}
		d.known[l] = true
	}
	d.WriteString(";\n")
}

// answer declares what a compiled classifier answers (docs/abi.md, section 3.6).
func (d *declarations) answer(labelled bool) {
	label := ""
	if labelled {
		label = "label: " + d.label + "; "
	}
	fmt.Fprintf(d, "\n/** The most probable classes, the first of them first. */\nexport interface Classes {\n  top: { index: number; %slogit?: number; probability: number }[];\n}\n", label)
}

// callable is a function as the declarations have it.
type callable struct {
	functionInfo
	input, output string // types
}

// module declares Types.
func (d *declarations) module(in *inspection, bin []byte, m abi.Manifest, compiled bool) error {
	functions, err := d.functions(in, bin, m, compiled)
	if err != nil {
		return err
	}
	if compiled && slices.ContainsFunc(functions, func(c callable) bool { return c.output == "Classes" }) {
		d.answer(len(m.Labels) > 0)
	}
	d.WriteString("\n/** What the module offers. */\nexport interface Types {\n")
	fmt.Fprintf(d, "  /** Functions of call and callJSON. */\n  call: %s;\n", union(functions, func(c abi.Convention) bool { return !takesPicture(c) }))
	fmt.Fprintf(d, "  /** Functions of callImage and callImageJSON. */\n  image: %s;\n", union(functions, takesPicture))
	fmt.Fprintf(d, "  /** Functions of callScalar. */\n  scalar: %s;\n", union(functions, func(c abi.Convention) bool { return c == abi.Scalar }))
	d.WriteString("  /** The JSON, or the numbers, that functions take and give. */\n  functions: {\n")
	for _, f := range functions {
		if f.Doc != "" {
			fmt.Fprintf(d, "    /** %s */\n", remark(f.Doc))
		}
		fmt.Fprintf(d, "    %s: { input: %s; output: %s };\n", key(f.Name), f.input, f.output)
	}
	d.WriteString("  };\n")
	runs := slices.ContainsFunc(functions, func(c callable) bool { return c.Convention == abi.Tensors })
	d.tensors("What run takes.", "inputs", m.Inputs, runs)
	d.tensors("What run gives.", "outputs", m.Outputs, runs)
	if runs {
		d.WriteString("  /** Element types and shapes. */\n  tensors: {\n")
		d.shapes("inputs", m.Inputs)
		d.shapes("outputs", m.Outputs)
		d.WriteString("  };\n")
	}
	d.WriteString("}\n")
	return nil
}

func takesPicture(c abi.Convention) bool { return c == abi.Image || c == abi.WasmtubeImage }

// functions are those that can be called, with their types.
func (d *declarations) functions(in *inspection, bin []byte, m abi.Manifest, compiled bool) ([]callable, error) {
	code, err := wasm.Decode(bin)
	if err != nil {
		return nil, err
	}
	var out []callable
	seen := map[string]bool{}
	for _, f := range in.Functions {
		if f.Convention == "" || seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		c := callable{f, "unknown", "unknown"}
		switch e, _ := code.Exported(f.Name); {
		case f.Convention == abi.Scalar:
			if t, ok := code.FuncType(e.Index); ok {
				c.input, c.output = tuple(t.Params), tuple(t.Results)
			}
		case takesPicture(f.Convention) && compiled && m.Image != nil && (f.Name == "classify" || f.Name == "predict"):
			c.output = "Classes"
		case f.Output == abi.JSON:
			c.output = d.fromCases(f.Name, m.Golden)
		}
		out = append(out, c)
	}
	return out, nil
}

// fromCases is the type of the JSON that fn answers in its golden cases.
func (d *declarations) fromCases(fn string, cases []abi.Golden) string {
	var s jsonShape
	for _, g := range cases {
		var v any
		if g.Function == fn && json.Unmarshal(g.Output, &v) == nil {
			s.add(v)
		}
	}
	return d.typescript(&s, "", 0)
}

func (d *declarations) tensors(doc, field string, specs []abi.TensorSpec, runs bool) {
	fmt.Fprintf(d, "  /** %s */\n", doc)
	if !runs {
		fmt.Fprintf(d, "  %s: never;\n", field)
		return
	}
	fmt.Fprintf(d, "  %s: {\n", field)
	for _, t := range specs {
		elements, sides := 1, make([]string, len(t.Shape))
		for k, n := range t.Shape {
			elements *= n
			sides[k] = fmt.Sprint(n)
		}
		shape := ""
		if len(sides) > 0 {
			shape = ": " + strings.Join(sides, " × ")
		}
		fmt.Fprintf(d, "    /** %s of %s%s */\n    %s: %s;\n", plural(elements, "element"), t.DType, shape, key(t.Name), arrays[t.DType])
	}
	d.WriteString("  };\n")
}

func (d *declarations) shapes(field string, specs []abi.TensorSpec) {
	fmt.Fprintf(d, "    %s: {\n", field)
	for _, t := range specs {
		shape, _ := json.Marshal(t.Shape) // numbers
		if t.Shape == nil {
			shape = []byte("[]")
		}
		fmt.Fprintf(d, "      %s: { dtype: %s; shape: %s };\n", key(t.Name), quoted(string(t.DType)), strings.ReplaceAll(string(shape), ",", ", "))
	}
	d.WriteString("    };\n")
}

// arrays are what the bridge has for each element type (sdk/js/src/module.ts).
var arrays = map[abi.DType]string{
	abi.F32: "Float32Array", abi.F64: "Float64Array", abi.F16: "Uint16Array",
	abi.I8: "Int8Array", abi.I16: "Int16Array", abi.I32: "Int32Array", abi.I64: "BigInt64Array",
	abi.U8: "Uint8Array", abi.U16: "Uint16Array", abi.U32: "Uint32Array", abi.U64: "BigUint64Array", abi.Bool: "Uint8Array",
}

// tuple is the tuple of a scalar function's parameters or results.
func tuple(types []wasm.ValType) string {
	out := make([]string, len(types))
	for k, t := range types {
		out[k] = "number"
		if t == wasm.I64 {
			out[k] = "bigint"
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// union is the names of the functions whose convention fits.
func union(functions []callable, fits func(abi.Convention) bool) string {
	var names []string
	for _, f := range functions {
		if fits(f.Convention) {
			names = append(names, quoted(f.Name))
		}
	}
	if len(names) == 0 {
		return "never"
	}
	return strings.Join(names, " | ")
}

// quoted is s as a string literal in which everything is seen: what ends or turns a line is escaped.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// key is the name of a property.
func key(s string) string {
	if identifier.MatchString(s) {
		return s
	}
	return quoted(s)
}

// remark is s within a comment: one line, which does not end the comment, and that no tool takes for an order.
func remark(s string) string {
	return strings.NewReplacer("*/", "*\\/", "@ts-", "@ ts-", "///", "// /").Replace(plain(s))
}
