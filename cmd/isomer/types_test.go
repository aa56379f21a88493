package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/examples/meter"
	"github.com/isomer-iot/isomer/wasm"
)

// hostile are names that would end a string, a comment or a line of what quotes them carelessly.
var hostile = []string{
	`*/ export const broken = 1; /*`, "a\nexport const broken = 1;", `"; export const broken = 1; "`, "a\u2028b\u2029c", `\`, "`${broken}`",
	"__proto__", "constructor", "0", "a-b", "class", "größe", "\u202e\u0000", "@ts-ignore", `/// <reference path="x" />`, "</script>", "",
}

// hostileModule is a module whose manifest has them wherever it may.
func hostileModule(t *testing.T) []byte {
	t.Helper()
	m := &wasm.Module{}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 1))
	c := wasm.NewCode(wasm.I64)
	c.Get(c.Param(0)).F64(1)
	mixed := m.AddFunc("f", wasm.FuncType{Params: []wasm.ValType{wasm.I64}, Results: []wasm.ValType{wasm.I64, wasm.F64}}, c)
	run := m.AddFunc("run", wasm.FuncType{}, wasm.NewCode())
	m.Export(abi.ExportRun, wasm.KindFunc, run)
	m.Export("g", wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(1024)))
	manifest := abi.Manifest{Name: "hostile", Labels: hostile, Functions: []abi.Function{{Name: "run", Convention: abi.Tensors, Doc: hostile[0] + hostile[1]}}}
	for _, name := range hostile {
		if name == "" {
			continue // the manifest's own check refuses it
		}
		m.Export(name, wasm.KindFunc, mixed)
		manifest.Functions = append(manifest.Functions, abi.Function{Name: name, Convention: abi.Scalar, Doc: name})
		manifest.Outputs = append(manifest.Outputs, abi.TensorSpec{Name: name, Global: "g", DType: abi.I64, Shape: []int{2, 3}})
	}
	manifest.Inputs = manifest.Outputs
	payload, err := manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m.AddCustom(abi.ManifestSection, payload)
	return m.Encode()
}

func TestTypesHostile(t *testing.T) {
	text, err := typesOf("*/\nx.wasm", hostileModule(t))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		code := strings.TrimSpace(line)
		if strings.HasPrefix(code, "export const") {
			t.Errorf("a name became code: %s", line)
		}
		if (strings.HasPrefix(code, "/**") && strings.Index(code, "*/") != len(code)-2) || strings.Contains(code, "@ts-ignore */") {
			t.Errorf("a comment ends early: %s", line)
		}
		if strings.ContainsAny(code, "\u2028\u2029\u202e\x00\r") {
			t.Errorf("a line has characters that end or turn it: %q", line)
		}
	}
}

// answering is the kit with golden cases whose answers are these.
func answering(t *testing.T, labels []string, answers ...string) []byte {
	t.Helper()
	m := abi.Manifest{Name: "kit", Functions: []abi.Function{{Name: "echo", Convention: abi.Bytes, Output: abi.JSON}}, Labels: labels}
	for _, a := range answers {
		m.Golden = append(m.Golden, abi.Golden{Function: "echo", Input: []byte(a), Output: []byte(a)})
	}
	payload, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := wasm.SetCustomSection(kit(1), abi.ManifestSection, payload)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestTypesOfAnswers(t *testing.T) {
	deep := strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40)
	var wide strings.Builder
	for k := range maxShapeFields + 1 {
		fmt.Fprintf(&wide, `,"k%d":1`, k)
	}
	for _, c := range []struct {
		answers []string
		want    string
	}{
		{nil, "unknown"},
		{[]string{`not JSON`}, "unknown"},
		{[]string{`{"kwh":1.5,"ok":true}`, `{"kwh":2,"note":"low"}`}, "{ kwh: number; note?: string; ok?: boolean }"},
		{[]string{`[1,"a",null]`}, "unknown[]"},
		{[]string{`[1,"a"]`, `[]`}, "(number | string)[]"},
		{[]string{`[]`}, "unknown[]"},
		{[]string{`{}`}, "object"},
		{[]string{`null`, `3`}, "unknown"},
		{[]string{`{"label":"on"}`, `{"label":"off"}`}, "{ label: Label }"},
		{[]string{`{"label":"on"}`, `{"label":"other"}`}, "{ label: string }"},
		{[]string{`{"a-b":{"*/":1}}`}, `{ "a-b": { "*/": number } }`},
		{[]string{deep}, "unknown" + strings.Repeat("[]", maxShapeDepth+1)},
		{[]string{"{" + wide.String()[1:] + "}"}, "Record<string, unknown>"},
	} {
		text, err := typesOf("kit.wasm", answering(t, []string{"on", "off"}, c.answers...))
		if err != nil {
			t.Fatal(err)
		}
		if want := "echo: { input: unknown; output: " + c.want + " };\n"; !strings.Contains(string(text), want) {
			t.Errorf("%.60s: no %q in\n%s", c.answers, want, text)
		}
	}
}

// use is a program that is right, and whose wrong lines the compiler has to find: an expected error that is none is one.
const use = `
import { Module } from "@isomer/bridge";
import type { Classes, Label, Types } from "./digits.js";
import type { Types as Kit } from "./kit.js";
import type { Types as Hostile } from "./hostile.js";

const m = await Module.open<Types>("digits.wasm");
const read: Classes = await m.callImageJSON("classify", new Blob());
export const label: Label = read.top[0].label;
export const seven: Label = "7";
const { logits } = await m.run({ image: new Float32Array(1) });
export const first: number = logits[0];
export const side: Types["tensors"]["outputs"]["logits"]["shape"][0] = 1;
// @ts-expect-error no such function
await m.callImage("clasify", new Blob());
// @ts-expect-error no such tensor
await m.run({ input: new Float32Array(1) });
// @ts-expect-error another element type
await m.run({ image: new Float64Array(1) });
// @ts-expect-error no such label
export const ten: Label = "10";

const kit = await Module.open<Kit>("kit.wasm");
export const [sum]: [number] = await kit.callScalar("add", 1, 2);
// @ts-expect-error too few
await kit.callScalar("add", 1);
// @ts-expect-error no function of numbers
await kit.callScalar("echo", 1);
export const { a } = await kit.callJSON<{ a: number }>("echo", { a: 1 });

const h = await Module.open<Hostile>("hostile.wasm");
export const [big, small]: [bigint, number] = await h.callScalar("a-b", 1n);

const free = await Module.open("any.wasm");
export const any = await free.callJSON<string>("read", 1);
export const none: unknown = await free.callImageJSON("classify", new Blob());
`

// TestTypesCompile gives the types of several modules to TypeScript, with the bridge's own.
func TestTypesCompile(t *testing.T) {
	sdk, err := filepath.Abs("../../sdk/js")
	if err != nil {
		t.Fatal(err)
	}
	tsc := filepath.Join(sdk, "node_modules", ".bin", "tsc")
	for _, need := range []string{tsc, filepath.Join(sdk, "dist", "index.d.ts")} {
		if _, err := os.Stat(need); err != nil {
			t.Skip("no TypeScript: it comes with npm; cd sdk/js && npm ci && npm run build")
		}
	}
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	model := meter.Models()[0]
	digits, err := compiler.Compile(model.ONNX, compiler.Options{Name: model.Name, Version: model.Version, Labels: meter.Labels()})
	if err != nil {
		t.Fatal(err)
	}
	bare := &wasm.Module{}
	code := wasm.NewCode()
	bare.Export("now", wasm.KindFunc, bare.AddFunc("now", wasm.FuncType{}, code))
	for name, bin := range map[string][]byte{"digits": digits.Bytes, "kit": kit(1), "hostile": hostileModule(t), "answers": answering(t, hostile, `{"*/":[1,null,{"a b":"x"}]}`), "bare": bare.Encode()} {
		text, err := typesOf(name+".wasm", bin)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		put(name+".d.ts", text)
	}
	put("use.ts", []byte(use))
	put("package.json", []byte(`{"type":"module"}`))
	// The library of a program that is some years old: the bridge's own declarations must not ask for more.
	put("tsconfig.json", fmt.Appendf(nil, `{"compilerOptions":{"strict":true,"noEmit":true,"target":"es2022","module":"nodenext","lib":["es2022","dom"],"types":[],
		"paths":{"@isomer/bridge":[%q]}},"include":["*.ts"]}`, filepath.Join(sdk, "dist", "index.d.ts")))
	c := exec.CommandContext(t.Context(), tsc, "-p", dir)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}
