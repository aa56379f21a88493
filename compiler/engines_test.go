package compiler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// engineUnderTest is an engine beside the one that all tests run on, wazero's compiler.
type engineUnderTest struct {
	name string
	open func() (engine.Engine, error)
	slow bool // an interpreter: no large models
}

// engines are all that this build has; the tag wasmtime adds one.
var engines = []engineUnderTest{
	{name: "wazero-interpreter", open: func() (engine.Engine, error) { return wazero.New(wazero.WithInterpreter()) }, slow: true},
}

// everywhere runs modules on every engine and, all of them at the end, in V8. Each has to give what the
// first engine gave, bit by bit but for the bits of a NaN.
type everywhere struct {
	t    *testing.T
	open []engine.Engine
	v8   v8Jobs
}

// eachEngine opens the engines; large models are not for the slow ones.
func eachEngine(t *testing.T, large bool) *everywhere {
	t.Helper()
	all := &everywhere{t: t}
	for _, u := range engines {
		if large && u.slow {
			t.Logf("%s: left out, whole networks take minutes there", u.name)
			continue
		}
		e, err := u.open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		all.open = append(all.open, e)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Logf("V8: left out, node is not installed")
	} else {
		all.v8.dir = t.TempDir()
	}
	return all
}

// agree runs bin on each engine that is open and notes it for V8.
func (a *everywhere) agree(t *testing.T, bin []byte, in, want []*ir.Tensor) {
	t.Helper()
	for _, e := range a.open {
		got := runOn(t, e, bin, in, want)
		for i, w := range want {
			same(t, fmt.Sprintf("output %d in %s", i, e.Name()), got[i], w, 0)
		}
	}
	if a.v8.dir != "" {
		a.v8.add(t, bin, in, want)
	}
}

// runOn computes the outputs, of the types of want, on a fresh instance.
func runOn(t *testing.T, e engine.Engine, bin []byte, in, want []*ir.Tensor) []*ir.Tensor {
	t.Helper()
	ctx := context.Background()
	code, err := e.Compile(ctx, bin, engine.CompileConfig{})
	if err != nil {
		t.Fatalf("%s: %v", e.Name(), err)
	}
	defer func() { _ = code.Close() }()
	inst, err := code.Instantiate(ctx, engine.InstanceConfig{})
	if err != nil {
		t.Fatalf("%s: %v", e.Name(), err)
	}
	defer func() { _ = inst.Close() }()
	at := func(global string) []byte {
		address, ok := inst.Global(global)
		if !ok {
			t.Fatalf("%s: no global %s", e.Name(), global)
		}
		return inst.Memory().Bytes()[uint32(address):]
	}
	for i, x := range in {
		copy(at(abi.InputGlobal(i)), elements(x))
	}
	if err := inst.Func(abi.ExportRun).Call(ctx, nil); err != nil {
		t.Fatalf("%s: %v", e.Name(), err)
	}
	var out []*ir.Tensor
	for i, w := range want {
		out = append(out, tensorIn(at(abi.OutputGlobal(i)), w.Type))
	}
	return out
}

// v8Jobs are modules with inputs in files, so that one process of Node runs all of them.
type v8Jobs struct {
	dir  string
	jobs []v8Job
	want [][]*ir.Tensor
	test []string
}

type v8Job struct {
	Module string   `json:"module"`
	In     []string `json:"in"`  // files
	Out    []int    `json:"out"` // bytes
	To     string   `json:"to"`  // the outputs, one behind the other
}

func (v *v8Jobs) add(t *testing.T, bin []byte, in, want []*ir.Tensor) {
	t.Helper()
	base := filepath.Join(v.dir, fmt.Sprint(len(v.jobs)))
	write := func(name string, b []byte) string {
		if err := os.WriteFile(base+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return base + name
	}
	j := v8Job{Module: write(".wasm", bin), In: []string{}, To: base + ".out"}
	for i, x := range in {
		j.In = append(j.In, write(fmt.Sprintf(".in%d", i), elements(x)))
	}
	for _, w := range want {
		j.Out = append(j.Out, len(elements(w)))
	}
	v.jobs, v.want, v.test = append(v.jobs, j), append(v.want, want), append(v.test, t.Name())
}

// v8Script runs the jobs that it is given and tells which module fails.
const v8Script = `
const fs = require('fs')
for (const job of JSON.parse(fs.readFileSync(process.argv[1]))) {
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(job.module)))
    job.in.forEach((file, i) => new Uint8Array(exports.memory.buffer).set(fs.readFileSync(file), exports['input_' + i].value))
    exports.run()
    fs.writeFileSync(job.to, Buffer.concat(job.out.map((n, i) => Buffer.from(exports.memory.buffer, exports['output_' + i].value, n))))
  } catch (e) {
    console.log(job.module + ': ' + e)
  }
}`

// inV8 runs what was noted since it was last called, and compares.
func (a *everywhere) inV8() {
	a.t.Helper()
	v := &a.v8
	if v.dir == "" || len(v.jobs) == 0 {
		return
	}
	list, err := json.Marshal(v.jobs)
	if err != nil {
		a.t.Fatal(err)
	}
	path := filepath.Join(v.dir, "jobs.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if said, err := exec.Command("node", "-e", v8Script, path).CombinedOutput(); err != nil || len(said) > 0 {
		a.t.Errorf("node: %v: %s", err, said)
	}
	for i, j := range v.jobs {
		b, err := os.ReadFile(j.To)
		if err != nil {
			a.t.Errorf("%s in V8: %v", v.test[i], err)
			continue
		}
		for k, w := range v.want[i] {
			got := tensorIn(b, w.Type)
			b = b[j.Out[k]:]
			if !bytes.Equal(elements(got), elements(w)) {
				same(a.t, fmt.Sprintf("%s: output %d in V8", v.test[i], k), got, w, 0)
			}
		}
	}
	a.t.Logf("V8 ran %d modules", len(v.jobs))
	for _, j := range v.jobs {
		_ = os.Remove(j.Module)
	}
	v.jobs, v.want, v.test = nil, nil, nil
}
