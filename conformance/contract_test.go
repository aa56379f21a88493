package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

// contractFile has the cases of the contract that every bridge keeps: this test runs them through the Go bridge,
// sdk/js/test/contract.test.js through the JavaScript one.
const contractFile = "contract.json"

var updateContract = flag.Bool("update-contract", false, "write "+contractFile+" anew from the table in contract_test.go")

// contract is what the file holds.
type contract struct {
	Modules map[string][]byte `json:"modules"`
	Cases   []contractCase    `json:"cases"`
}

// contractCase is a module with what happens to it, in order.
type contractCase struct {
	Name        string         `json:"name"`
	Module      string         `json:"module"`
	Refused     string         `json:"refused,omitempty"` // at this step; there are no steps then
	MemoryLimit int64          `json:"memoryLimit,omitempty"`
	MaxOutput   int            `json:"maxOutput,omitempty"`
	Deadline    int            `json:"deadline,omitempty"` // ms
	Allow       []string       `json:"allow,omitempty"`
	Steps       []contractStep `json:"steps,omitempty"`
}

// contractStep is a call, a swap or a rollback.
type contractStep struct {
	Call   string `json:"call,omitempty"`
	Input  []byte `json:"input,omitempty"`
	Times  int    `json:"times,omitempty"` // input and output are repeated
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
	Output []byte `json:"output,omitempty"`

	Swap     string `json:"swap,omitempty"`
	Refused  string `json:"refused,omitempty"`
	Rollback bool   `json:"rollback,omitempty"`

	Error   string `json:"error,omitempty"` // kind, in the words of docs/abi.md section 5
	Limit   string `json:"limit,omitempty"`
	Message string `json:"message,omitempty"` // of an application error
}

func say(fn, in, out string) contractStep {
	return contractStep{Call: fn, Input: []byte(in), Output: []byte(out)}
}

func fails(fn, in, kind string) contractStep {
	return contractStep{Call: fn, Input: []byte(in), Error: kind}
}

func limited(fn, in, limit string) contractStep {
	return contractStep{Call: fn, Input: []byte(in), Error: "limit", Limit: limit}
}

func picture(fn string, w, h int, rgb, out string) contractStep {
	return contractStep{Call: fn, Width: w, Height: h, Input: []byte(rgb), Output: []byte(out)}
}

func many(n int, s contractStep) contractStep {
	s.Times = n
	return s
}

func u32(n byte) string { return string([]byte{n, 0, 0, 0}) }

func withManifest(m abi.Manifest) *abi.Manifest {
	m.Isomer = abi.FormatVersion
	return &m
}

var echoes = []abi.Function{{Name: "echo", Convention: abi.Bytes}, {Name: "version", Convention: abi.Bytes}}

// contractModules are built rather than kept: the table shows what is in them.
func contractModules() map[string][]byte {
	golden := func(output string, tolerance float64) *abi.Manifest {
		return withManifest(abi.Manifest{
			Name: "meter", Version: "1.0.0",
			Functions: []abi.Function{{Name: "echo", Convention: abi.Bytes, Output: abi.JSON}, {Name: "average", Convention: abi.Image, Output: abi.Raw}},
			Golden: []abi.Golden{
				{Function: "echo", Input: []byte(`{"kwh":[1.0004,2],"ok":true}`), Output: []byte(output), Tolerance: tolerance},
				{Function: "average", Width: 1, Height: 2, Input: []byte{1, 2, 3, 4, 5, 9}, Output: []byte{4}},
			},
		})
	}
	four := []abi.TensorSpec{{Name: "x", Global: "input_0", DType: abi.F32, Shape: []int{4}}}
	double := []abi.TensorSpec{{Name: "y", Global: "output_0", DType: abi.F32, Shape: []int{2, 2}}}
	tensors := func(out []abi.TensorSpec) *abi.Manifest {
		return withManifest(abi.Manifest{Name: "model", Inputs: four, Outputs: out, Functions: []abi.Function{{Name: "run", Convention: abi.Tensors}}})
	}
	guest := func(g enginetest.Guest) []byte { return g.Build() }
	raw := func(manifest string) []byte {
		b, err := wasm.SetCustomSection(guest(enginetest.Guest{Version: "1"}), abi.ManifestSection, []byte(manifest))
		if err != nil {
			panic(err)
		}
		return b
	}
	return map[string][]byte{
		"guest":             guest(enginetest.Guest{Version: "1"}),
		"guest-2":           guest(enginetest.Guest{Version: "2", Post: true}),
		"stateful":          guest(enginetest.Guest{Version: "1", Stateful: true}),
		"stateful-2":        guest(enginetest.Guest{Version: "2", Stateful: true}),
		"save-traps":        guest(enginetest.Guest{Version: "1", Stateful: true, Trap: abi.ExportSave}),
		"restore-traps":     guest(enginetest.Guest{Version: "2", Stateful: true, Trap: abi.ExportRestore}),
		"start-traps":       guest(enginetest.Guest{Trap: "start"}),
		"initialize-traps":  guest(enginetest.Guest{Trap: abi.ExportInitialize}),
		"post-traps":        guest(enginetest.Guest{Post: true, Trap: "cabi_post_echo"}),
		"imports":           guest(enginetest.Guest{Imports: true}),
		"large":             guest(enginetest.Guest{MinPages: 40}),
		"small-by-manifest": guest(enginetest.Guest{Manifest: withManifest(abi.Manifest{Name: "small", Memory: &abi.MemorySpec{MaxPages: 3}})}),
		"golden":            guest(enginetest.Guest{Manifest: golden(`{"ok":true,"kwh":[1,2]}`, 0.001)}),
		"golden-far":        guest(enginetest.Guest{Manifest: golden(`{"ok":true,"kwh":[1,2]}`, 0.0001)}),
		"golden-exact":      guest(enginetest.Guest{Manifest: golden(`{"ok":true,"kwh":[1.0004,2]}`, 0)}),
		"golden-keys":       guest(enginetest.Guest{Manifest: golden(`{"kwh":[1,2]}`, 0.1)}),
		"tensors":           guest(enginetest.Guest{Manifest: tensors(double)}),
		"tensors-outside":   guest(enginetest.Guest{Manifest: tensors([]abi.TensorSpec{{Name: "y", Global: "output_0", DType: abi.F64, Shape: []int{1 << 16}}})}),
		"tensors-global":    guest(enginetest.Guest{Manifest: tensors([]abi.TensorSpec{{Name: "y", Global: "output_9", DType: abi.F32, Shape: []int{1}}})}),
		"listed":            guest(enginetest.Guest{Version: "1", Manifest: withManifest(abi.Manifest{Name: "listed", Functions: echoes})}),
		"not-exported":      guest(enginetest.Guest{Manifest: withManifest(abi.Manifest{Name: "m", Functions: []abi.Function{{Name: "nothing", Convention: abi.Bytes}}})}),
		"wrong-type":        guest(enginetest.Guest{Manifest: withManifest(abi.Manifest{Name: "m", Functions: []abi.Function{{Name: "mul", Convention: abi.Bytes}}})}),
		"wants-log":         guest(enginetest.Guest{Manifest: withManifest(abi.Manifest{Name: "m", Permissions: []string{"log"}})}),
		"manifest-cut":      raw(`{"isomer":1,"name":"m"`),
		"manifest-twice":    raw(`{"isomer":1,"name":"m"} {}`),
		"manifest-newer":    raw(`{"isomer":2,"name":"m"}`),
		"manifest-name":     raw(`{"isomer":1,"name":"../m"}`),
		"manifest-type":     raw(`{"isomer":1,"name":"m","functions":[7]}`),
		"manifest-dtype":    raw(`{"isomer":1,"name":"m","outputs":[{"name":"y","global":"output_0","dtype":"f31","shape":[1]}]}`),
		"manifest-shape":    raw(`{"isomer":1,"name":"m","outputs":[{"name":"y","global":"output_0","dtype":"f32","shape":[0]}]}`),
		"manifest-base64":   raw(`{"isomer":1,"name":"m","golden":[{"function":"echo","input":"%%"}]}`),
		"manifest-unknown":  raw(`{"isomer":1,"name":"m","tomorrow":{"a":[1]},"functions":null}`),
		"empty":             (&wasm.Module{}).Encode(),
		"cut":               guest(enginetest.Guest{})[:300],
		"not-wasm":          []byte("\x7fELF\x02\x01\x01\x00 no module"),
		"wasmtube":          enginetest.WasmtubeGuest(),
		"wasi":              enginetest.WASIGuest(),
		"wasi-all":          wasiGuest(),
		"command":           enginetest.CommandGuest(),
		"numbers":           numbersGuest(),
	}
}

// wasiGuest has each function of WASI as a scalar one, which by type alone some would not be.
func wasiGuest() []byte {
	m := abi.Manifest{Isomer: abi.FormatVersion, Name: "wasi", Functions: []abi.Function{{Name: "exit", Convention: abi.Scalar}}}
	for _, name := range enginetest.WASINames() {
		m.Functions = append(m.Functions, abi.Function{Name: name, Convention: abi.Scalar})
	}
	payload, err := m.Encode()
	if err != nil {
		panic(err)
	}
	b, err := wasm.SetCustomSection(enginetest.WASIForwarder(), abi.ManifestSection, payload)
	if err != nil {
		panic(err)
	}
	return b
}

// numbersGuest has functions that answer constants of each type, without parameters.
func numbersGuest() []byte {
	m := &wasm.Module{}
	add := func(name string, t wasm.ValType, c *wasm.Code) {
		m.Export(name, wasm.KindFunc, m.AddFunc(name, wasm.FuncType{Results: []wasm.ValType{t}}, c))
	}
	for k, v := range numbers {
		add(fmt.Sprintf("f64_%d", k), wasm.F64, wasm.NewCode().F64(v))
		add(fmt.Sprintf("f32_%d", k), wasm.F32, wasm.NewCode().F32(float32(v)))
	}
	add("u32", wasm.I32, wasm.NewCode().I32(-1))
	add("i64", wasm.I64, wasm.NewCode().I64(-1<<63))
	two := wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.F32}, Results: []wasm.ValType{wasm.F32, wasm.I32}}
	c := wasm.NewCode(two.Params...)
	m.Export("swap", wasm.KindFunc, m.AddFunc("swap", two, c.Get(c.Param(1), c.Param(0))))
	return m.Encode()
}

var numbers = []float64{
	0, 1, -1, 0.1, 1.5, 1.0 / 3, 123456, 999999, 1e6, 1234567, 12345678.9, 1e20, 1e21, 1.7976931348623157e308, 5e-324, 1e-4, 0.00012345, 9.999e-5, 1e-5,
	16777216, 16777217, 3.4028234e38, 1e-45, 65504, 0.30000000000000004,
}

func contractCases() []contractCase {
	cases := []contractCase{
		{Name: "bytes", Module: "guest", Steps: []contractStep{
			say("echo", "hello", "hello"), say("echo", "", ""), many(300_000, say("echo", "x", "x")),
			{Call: "fail", Error: "app", Message: enginetest.GuestError}, say("version", "", "1"),
			say("count", "", u32(1)), say("count", "", u32(2)),
			fails("nothing", "", "function"), fails("average", "abc", "argument"),
			{Call: "echo", Width: 1, Height: 1, Input: []byte("abc"), Error: "argument"},
		}},
		{Name: "an error of the guest costs its instance", Module: "guest", Steps: []contractStep{
			say("count", "", u32(1)), fails("trap", "", "trap"), say("count", "", u32(1)),
			fails("outside", "", "trap"), fails("lost", "", "trap"), say("count", "", u32(1)),
			limited("recurse", "", "stack"), say("count", "", u32(1)), fails("fail", "", "app"), say("count", "", u32(2)),
		}},
		{Name: "deadline", Module: "guest", Deadline: 200, Steps: []contractStep{say("count", "", u32(1)), limited("loop", "", "deadline"), say("count", "", u32(1))}},
		{Name: "output limit", Module: "guest", MaxOutput: 4, Steps: []contractStep{
			say("count", "", u32(1)), say("echo", "four", "four"), limited("echo", "fives", "output"), say("count", "", u32(2)),
		}},
		{Name: "memory limit", Module: "guest", MemoryLimit: 4 << 16, Steps: []contractStep{
			fails("exhaust", "", "trap"), say("echo", "still", "still"), many(4<<16, fails("echo", "\x00", "trap")), say("version", "", "1"),
		}},
		{Name: "memory limit of the manifest", Module: "small-by-manifest", Steps: []contractStep{many(3<<16, fails("echo", "\x00", "trap")), say("echo", "x", "x")}},
		{Name: "a module that begins above the limit", Module: "large", MemoryLimit: 39 << 16, Refused: "compile"},
		{Name: "image", Module: "guest", Steps: []contractStep{
			picture("average", 2, 1, "\x01\x02\x03\x04\x05\x09", "\x04"), {Call: "average", Width: 2, Height: 2, Input: []byte("123456"), Error: "argument"},
			{Call: "average", Width: 0, Height: 2, Error: "argument"},
		}},
		{Name: "scalar", Module: "guest", Steps: []contractStep{
			say("mul", "[1.5, 2]", "[3]"), say("mul", " [1e10,-0.001]", "[-1e+07]"), say("sum64", "[9007199254740993,1]", "[9007199254740994]"),
			say("sum64", "[18446744073709551615, 2]", "[1]"), fails("mul", "[1]", "argument"), fails("mul", "{}", "argument"), fails("mul", "[1,true]", "argument"),
			fails("sum64", "[1.5,1]", "argument"), fails("sum64", "[18446744073709551616,1]", "argument"), fails("mul", "[1e308,1e308]", "result"), fails("mul", "[1e309,1]", "argument"),
			say("mul", "[-0.0,1]", "[-0]"),
		}},
		{Name: "post-return", Module: "guest-2", Steps: []contractStep{say("echo", "x", "x"), say("count", "", string([]byte{0xe9, 3, 0, 0}))}},
		{Name: "post-return that traps", Module: "post-traps", Steps: []contractStep{fails("echo", "x", "trap"), say("count", "", u32(1))}},
		{Name: "tensors", Module: "tensors", Steps: []contractStep{
			say("run", "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x00\xc0\x00\x00\x00\x00", "\x00\x00\x00\x40\x00\x00\x80\x40\x00\x00\x80\xc0\x00\x00\x00\x00"),
			fails("run", "short", "argument"), fails("echo", "", "function"),
		}},
		{Name: "tensors outside memory", Module: "tensors-outside", Refused: "instantiate"},
		{Name: "tensors without a global", Module: "tensors-global", Refused: "instantiate"},
		{Name: "wasmtube", Module: "wasmtube", Steps: []contractStep{
			say("upper", `{"a":"xyz"}`, `{"A":"XYZ"}`), say("upper", "", ""), many(70_000, say("upper", "a", "A")),
			picture("first", 1, 1, "rgb", "rgb"), fails("long", "x", "trap"), fails("negative", "x", "trap"), say("upper", "b", "B"),
		}},
		{Name: "wasmtube without room to grow", Module: "wasmtube", MemoryLimit: 1 << 16, Steps: []contractStep{
			say("upper", "abc", "ABC"), many(65536, limited("upper", "\x00", "memory")), say("upper", "d", "D"),
		}},
		{Name: "WASI is the same everywhere", Module: "wasi", Steps: []contractStep{
			say("hello", "[]", "[8]"), say("clock", "[]", "[1640995200000000000]"), say("clock", "[]", "[1640995200001000000]"),
			say("random", "", "[-4767286540954276203]"), say("random", "", "[2949826092126892291]"),
		}},
		{Name: "all of WASI without files", Module: "wasi-all", Steps: wasiSteps()},
		{Name: "command", Module: "command", MaxOutput: 1 << 20, Steps: []contractStep{
			say("_start", "a line\n", "a line\n"), say("_start", "", ""), {Call: "_start", Input: []byte("!\x03 words"), Error: "app", Message: "exit code 3: !\x03 words"},
			{Call: "_start", Input: []byte("!\x00 fine"), Output: nil}, fails("_start", "#", "trap"), limited("_start", "~", "output"),
			many(10_000, say("_start", "0123456789", "0123456789")),
		}},
		{Name: "swap and rollback", Module: "guest", Steps: []contractStep{
			say("count", "", u32(1)), {Swap: "guest-2"}, say("version", "", "2"), say("count", "", u32(1)), {Rollback: true}, say("version", "", "1"), {Rollback: true}, say("version", "", "2"),
			{Swap: "cut", Refused: "manifest"}, say("version", "", "2"), {Swap: "golden-far", Refused: "gate"}, say("version", "", "2"),
		}},
		{Name: "no rollback without a previous module", Module: "guest", Steps: []contractStep{{Rollback: true, Error: "previous"}, say("version", "", "1")}},
		{Name: "state is carried", Module: "stateful", Steps: []contractStep{
			say("count", "", u32(1)), say("count", "", u32(2)), {Swap: "stateful-2"}, say("count", "", u32(3)), {Swap: "restore-traps", Refused: "carry state"},
			say("count", "", u32(4)), say("version", "", "2"), {Rollback: true}, say("count", "", u32(5)), {Swap: "guest"}, say("count", "", u32(1)),
		}},
		{Name: "state that cannot be saved is lost", Module: "save-traps", Steps: []contractStep{say("count", "", u32(1)), {Swap: "stateful-2"}, say("version", "", "2")}},
		{Name: "golden cases", Module: "golden", Steps: []contractStep{say("echo", "x", "x"), fails("version", "", "function")}},
		{Name: "golden, exact but in another order", Module: "golden-exact", Refused: "gate"},
		{Name: "golden, beyond the tolerance", Module: "golden-far", Refused: "gate"},
		{Name: "golden, another key", Module: "golden-keys", Refused: "gate"},
		{Name: "only what the manifest lists", Module: "listed", Steps: []contractStep{say("version", "", "1"), fails("count", "", "function")}},
		{Name: "fields that are not known", Module: "manifest-unknown", Steps: []contractStep{say("version", "", "1")}},
		{Name: "permission that is not granted", Module: "wants-log", Refused: "permissions"},
		{Name: "permission that is granted", Module: "wants-log", Allow: []string{"log"}, Steps: []contractStep{say("echo", "x", "x")}},
		{Name: "imports that nobody has", Module: "imports", Refused: "instantiate"},
		{Name: "start traps", Module: "start-traps", Refused: "instantiate"},
		{Name: "_initialize traps", Module: "initialize-traps", Refused: "instantiate"},
		{Name: "a function that is not exported", Module: "not-exported", Refused: "compile"},
		{Name: "a function of another type", Module: "wrong-type", Refused: "compile"},
		{Name: "eight bytes", Module: "empty", Refused: "compile"},
	}
	for _, name := range []string{"cut", "twice", "newer", "name", "type", "dtype", "shape", "base64"} {
		cases = append(cases, contractCase{Name: "manifest: " + name, Module: "manifest-" + name, Refused: "manifest"})
	}
	// Bytes that are no module end before their manifest can be read, or after.
	cases = append(cases, contractCase{Name: "a file cut off", Module: "cut", Refused: "manifest"}, contractCase{Name: "no module at all", Module: "not-wasm", Refused: "manifest"})
	var steps []contractStep
	for k, v := range numbers {
		single := contractStep{Call: fmt.Sprintf("f32_%d", k)}
		if v > math.MaxFloat32 {
			single.Error = "result"
		}
		steps = append(steps, contractStep{Call: fmt.Sprintf("f64_%d", k)}, single)
	}
	steps = append(steps, contractStep{Call: "u32"}, contractStep{Call: "i64"}, contractStep{Call: "swap", Input: []byte("[4294967295, 0.1]")})
	return append(cases, contractCase{Name: "numbers", Module: "numbers", Steps: steps})
}

// wasiSteps calls each function of WASI with several arguments. The answers are the Go bridge's own.
func wasiSteps() []contractStep {
	args := func(name string, v ...int64) contractStep {
		for len(v) < len(enginetest.WASISignatures[name]) {
			v = append(v, 0)
		}
		b, err := json.Marshal(v[:len(enginetest.WASISignatures[name])])
		if err != nil {
			panic(err)
		}
		return contractStep{Call: name, Input: b}
	}
	var out []contractStep
	for _, name := range enginetest.WASINames() {
		if name == "proc_exit" {
			continue
		}
		for fd := range int64(5) {
			out = append(out, args(name, fd), args(name, fd, 64, 1, 256, 512), args(name, fd, 70_000, 1, 256, 512))
		}
	}
	return append(out,
		args("fd_write", 1, 64, 1, 256), args("fd_write", 2, 64, 1, 70_000), args("fd_write", 1, 64, 2000, 256), args("fd_close", 1), args("fd_write", 1, 64, 1, 256),
		args("clock_time_get", 1, 0, 256), args("clock_time_get", 2, 0, 256), args("random_get", 256, 16), args("fd_fdstat_set_flags", 0, 4), args("fd_fdstat_set_flags", 0, 2),
		args("path_symlink", 0, 0, 1), contractStep{Call: "exit", Error: "trap"},
	)
}

// TestContractOfAllBridges runs the cases of contract.json. -update-contract writes them anew, with the answers of
// the Go bridge where the table has none; look at the difference.
func TestContractOfAllBridges(t *testing.T) {
	if *updateContract {
		writeContract(t)
	}
	b, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	var c contract
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	for name, bin := range contractModules() {
		if !bytes.Equal(bin, c.Modules[name]) {
			t.Fatalf("module %q is another than in %s: go test ./conformance -run ContractOfAll -update-contract", name, contractFile)
		}
	}
	if len(c.Cases) < 40 {
		t.Fatalf("%d cases", len(c.Cases))
	}
	for _, one := range c.Cases {
		t.Run(one.Name, func(t *testing.T) { runContract(t, c, one, nil) })
	}
}

// writeContract makes the file from the table.
func writeContract(t *testing.T) {
	c := contract{Modules: contractModules(), Cases: contractCases()}
	for k := range c.Cases {
		runContract(t, c, c.Cases[k], &c.Cases[k])
	}
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(contractFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runContract checks one case, or fills in what it answers where record is not nil.
func runContract(t *testing.T, c contract, one contractCase, record *contractCase) {
	opts := []isomer.Option{isomer.WithDeadline(30 * time.Second)}
	if one.Deadline > 0 {
		opts = append(opts, isomer.WithDeadline(time.Duration(one.Deadline)*time.Millisecond))
	}
	if one.MemoryLimit > 0 {
		opts = append(opts, isomer.WithMemoryLimit(one.MemoryLimit))
	}
	if one.MaxOutput > 0 {
		opts = append(opts, isomer.WithMaxOutput(one.MaxOutput))
	}
	if slices.Contains(one.Allow, "log") {
		opts = append(opts, isomer.AllowLog(slog.New(slog.NewTextHandler(io.Discard, nil))))
	}
	m, err := isomer.New(t.Context(), c.Modules[one.Module], opts...)
	if refused(t, "open "+one.Module, one.Refused, err) {
		return
	}
	defer m.Close()
	for k, s := range one.Steps {
		at := fmt.Sprintf("step %d %s", k, s.Call+s.Swap)
		s.Input, s.Output = bytes.Repeat(s.Input, max(1, s.Times)), bytes.Repeat(s.Output, max(1, s.Times))
		switch {
		case s.Swap != "":
			refused(t, at, s.Refused, m.Swap(t.Context(), c.Modules[s.Swap]))
		case s.Rollback:
			checkStep(t, at, s, m.Rollback(t.Context()))
		default:
			var out []byte
			if s.Width+s.Height > 0 {
				out, err = m.CallImage(t.Context(), s.Call, isomer.Image{Width: s.Width, Height: s.Height, RGB: s.Input})
			} else {
				out, err = m.Call(t.Context(), s.Call, s.Input)
			}
			if record != nil && s.Error == "" && len(s.Output) == 0 && err == nil {
				record.Steps[k].Output, s.Output = out, out
			}
			checkStep(t, at, s, err)
			if err == nil && !bytes.Equal(out, s.Output) {
				t.Errorf("%s: got %.80q, want %.80q", at, out, s.Output)
			}
		}
	}
}

func refused(t *testing.T, at, step string, err error) bool {
	t.Helper()
	r, ok := errors.AsType[*isomer.RefusedError](err)
	switch {
	case step == "" && err != nil:
		t.Fatalf("%s: %v", at, err)
	case step != "" && (!ok || string(r.Step) != step):
		t.Fatalf("%s: %v, want a refusal at step %q", at, err, step)
	}
	return err != nil
}

// checkStep checks kind, limit and message of an error.
func checkStep(t *testing.T, at string, s contractStep, err error) {
	t.Helper()
	var kind, limit, message string
	app, isApp := errors.AsType[*isomer.AppError](err)
	lim, isLimit := errors.AsType[*isomer.LimitError](err)
	_, isTrap := errors.AsType[*isomer.TrapError](err)
	switch {
	case err == nil:
	case isApp:
		kind, message = "app", app.Message
	case isLimit:
		kind, limit = "limit", string(lim.Limit)
	case isTrap:
		kind = "trap"
	case errors.Is(err, isomer.ErrNoFunction):
		kind = "function"
	case errors.Is(err, isomer.ErrArgument):
		kind = "argument"
	case errors.Is(err, isomer.ErrResult):
		kind = "result"
	case errors.Is(err, isomer.ErrNoPrevious):
		kind = "previous"
	default:
		kind = "another"
	}
	if kind != s.Error || limit != s.Limit || s.Message != "" && message != s.Message {
		t.Errorf("%s: got %q %q %q (%v), want %q %q %q", at, kind, limit, message, err, s.Error, s.Limit, s.Message)
	}
}
