package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/isomer-iot/isomer"

// rule is what one package may import. Paths are relative to the module, "." is its root, and a trailing
// "/..." stands for the package and all below it. What is not listed is refused, so a new package or a new
// dependency begins with a line here.
type rule struct {
	pkg  string
	own  []string // packages of this module
	deps []string // packages of others, by prefix of their import path; "*" is any
}

var anything = []string{"*"}

// layers is DESIGN §3 as a table; the first rule that fits a package counts.
var layers = []rule{
	{pkg: "abi"},
	{pkg: "wasm"},

	{pkg: "engine/wasmtime", own: []string{"abi", "engine", "engine/meter", "engine/wasi"}, deps: []string{"github.com/bytecodealliance/wasmtime-go"}},
	{pkg: "engine/wazero", own: []string{"abi", "engine", "engine/meter", "wasm", "engine/wasi"}, deps: []string{"github.com/tetratelabs/wazero"}},
	{pkg: "engine/...", own: []string{"abi", "wasm", "engine"}},

	{pkg: ".", own: []string{"abi", "wasm", "engine", "engine/wazero"},
		deps: []string{"github.com/fsnotify/fsnotify"}},

	{pkg: "metrics", own: []string{"."}, deps: []string{"github.com/prometheus/client_golang"}},
	{pkg: "tracing", own: []string{"."}, deps: []string{"go.opentelemetry.io/otel"}},

	{pkg: "compiler/internal/onnx", deps: []string{"google.golang.org/protobuf/encoding/protowire"}},
	{pkg: "compiler/internal/tflite", own: []string{"compiler/internal/onnx"}},
	{pkg: "compiler/internal/ir"},
	{pkg: "compiler/internal/load", own: []string{"compiler/internal/onnx", "compiler/internal/ir"}},
	{pkg: "compiler/internal/pass", own: []string{"compiler/internal/ir"}},
	{pkg: "compiler/internal/kernel", own: []string{"wasm"}},
	{pkg: "compiler/internal/fence", own: []string{"wasm"}}, // for tests
	{pkg: "compiler/internal/plan", own: []string{"compiler/internal/ir", "compiler/internal/kernel"}},
	{pkg: "compiler/internal/emit", own: []string{"abi", "wasm", "compiler/internal/ir", "compiler/internal/plan", "compiler/internal/kernel"}},
	{pkg: "compiler", own: []string{"abi", "wasm", "compiler/internal/..."}},

	{pkg: "guest/...", own: []string{"guest/..."}},

	{pkg: "fleet", own: []string{"abi"}},
	{pkg: "fleet/trace"},
	{pkg: "fleet/trace/oteltrace", own: []string{"fleet/trace"}, deps: []string{"go.opentelemetry.io/otel"}},
	{pkg: "fleet/hub/state", own: []string{"fleet"}, deps: []string{"github.com/nats-io/nats.go"}},
	{pkg: "fleet/disk"},
	{pkg: "fleet/internal/seldom"},
	{pkg: "fleet/internal/fetch", own: []string{"fleet", "fleet/trace"}, deps: []string{"github.com/nats-io/nats.go"}},
	{pkg: "fleet/internal/descriptors"},
	{pkg: "fleet/disk/disktest", own: []string{"fleet/disk"}}, // for tests
	{pkg: "fleet/blob", own: []string{"fleet", "fleet/disk"}},
	{pkg: "fleet/identity", own: []string{"fleet"}, deps: []string{"github.com/nats-io/jwt/v2", "github.com/nats-io/nkeys"}},
	{pkg: "fleet/broker", own: []string{"fleet", "fleet/internal/descriptors"}, deps: []string{"github.com/nats-io"}},
	{pkg: "fleet/broker/brokertest", own: []string{"fleet"}, deps: []string{"github.com/nats-io"}}, // for tests
	{pkg: "fleet/oci", own: []string{"abi", "wasm"}, deps: []string{"oras.land/oras-go/v2", "github.com/opencontainers"}},
	{pkg: "fleet/client", own: []string{"fleet", "fleet/trace"}},
	{pkg: "fleet/trust", own: []string{"fleet", "fleet/disk"}, deps: anything},
	{pkg: "fleet/hub/...", own: []string{"abi", "wasm", "fleet", "fleet/internal/...", "fleet/disk", "fleet/blob", "fleet/trust", "fleet/identity", "fleet/broker/...", "fleet/client", "fleet/trace", "fleet/hub/...", "web"}, deps: anything},
	{pkg: "fleet/node/...", own: []string{"abi", ".", "engine/...", "fleet", "fleet/disk", "fleet/blob", "fleet/trust", "fleet/client", "fleet/trace", "fleet/node/...", "metrics"}, deps: anything},
	{pkg: "fleet/homeassistant", own: []string{"fleet"}, deps: []string{"github.com/nats-io/nats.go", "github.com/eclipse/paho.mqtt.golang"}},
	{pkg: "fleet/edge/...", own: []string{"fleet", "fleet/internal/fetch", "fleet/internal/seldom", "fleet/disk", "fleet/blob", "fleet/trust", "fleet/trace", "fleet/broker", "fleet/homeassistant", "fleet/node/...", "fleet/edge/..."}, deps: anything},
	{pkg: "web"},

	{pkg: "examples/sensors/rules", own: []string{"guest/go"}}, // a guest
	{pkg: "examples/...", own: []string{"abi", ".", "engine/...", "compiler", "examples/..."}, deps: anything},
	{pkg: "eval/...", own: []string{"abi", "wasm", ".", "engine/...", "compiler", "fleet/...", "eval/..."}, deps: anything},
	{pkg: "conformance/...", own: []string{"abi", "wasm", ".", "engine/...", "compiler", "fleet/...", "examples/...", "conformance/..."}, deps: anything},
	{pkg: "cmd/...", own: []string{"abi", "wasm", ".", "metrics", "engine/...", "compiler", "fleet/...", "web", "examples/...", "guest", "cmd/..."}, deps: anything},
}

// grabBags are the names that a package has when nobody said what it is for.
var grabBags = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}

// goPackage is the part of "go list -json" that the check reads.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func matches(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == below || strings.HasPrefix(pkg, below+"/")
	}
	return pattern == pkg
}

// relative is the path of an import inside the module; ok is false for imports from elsewhere.
func relative(imp string) (rel string, ok bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// standard reports whether an import is of the standard library: no dot in the first element.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// violations checks packages against rules and returns one line for each wrong arrow.
func violations(packages []goPackage, rules []rule) []string {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for _, p := range packages {
		pkg, ok := relative(p.ImportPath)
		if !ok {
			continue
		}
		for _, name := range strings.Split(pkg, "/") {
			if slices.Contains(grabBags, name) {
				say("%s: no package is called %q: name what it holds", pkg, name)
			}
		}
		at := slices.IndexFunc(rules, func(r rule) bool { return matches(r.pkg, pkg) })
		if at < 0 {
			say("%s: has no rule: add it to the table of layers", pkg)
			continue
		}
		for _, imp := range p.Imports {
			if !rules[at].allows(imp) {
				say("%s: must not import %s", pkg, strings.TrimPrefix(imp, module+"/"))
			}
		}
		// A test may reach up to a real engine or the compiler, so only the two ends of the house are closed.
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			to, ok := relative(imp)
			if ok && (closed("conformance", to, pkg) || closed("cmd", to, pkg)) {
				say("%s: nothing imports %s, tests included", pkg, to)
			}
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

// closed reports whether importing to from pkg enters tree from outside.
func closed(tree, to, pkg string) bool {
	return matches(tree+"/...", to) && !matches(tree+"/...", pkg)
}

func (r rule) allows(imp string) bool {
	if to, ok := relative(imp); ok {
		return slices.ContainsFunc(r.own, func(p string) bool { return matches(p, to) })
	}
	if standard(imp) {
		return true
	}
	return slices.ContainsFunc(r.deps, func(d string) bool {
		return d == "*" || imp == d || strings.HasPrefix(imp, d+"/")
	})
}

// list runs go list over the module in one build configuration.
func list(t *testing.T, env []string, args ...string) []goPackage {
	t.Helper()
	// -e: imports are read without the dependencies that only this configuration needs.
	args = append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)
	cmd := exec.Command("go", append(args, module+"/...")...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestLayering(t *testing.T) {
	configs := []struct {
		name string
		env  []string
		args []string
	}{
		{name: "default"},
		{name: "wasmtime", args: []string{"-tags", "wasmtime"}},
		{name: "windows", env: []string{"GOOS=windows"}},
		{name: "guest", env: []string{"GOOS=wasip1", "GOARCH=wasm"}},
	}
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			packages := list(t, c.env, c.args...)
			if len(packages) < 3 {
				t.Fatalf("go list found %d packages", len(packages))
			}
			for _, v := range violations(packages, layers) {
				t.Error(v)
			}
		})
	}
}

func TestLayeringCatches(t *testing.T) {
	pkg := func(name string, imports ...string) goPackage {
		return goPackage{ImportPath: path.Join(module, name), Imports: imports}
	}
	in := func(name string) string { return path.Join(module, name) }
	tests := []struct {
		name string
		p    goPackage
		want string // "" when allowed
	}{
		{"stdlib", pkg("abi", "encoding/json"), ""},
		{"dependency of a leaf", pkg("wasm", "golang.org/x/sync/errgroup"), "wasm: must not import golang.org/x/sync/errgroup"},
		{"kernel writes wasm", pkg("compiler/internal/kernel", in("wasm")), ""},
		{"kernel knows the graph", pkg("compiler/internal/kernel", in("compiler/internal/ir")), "compiler/internal/kernel: must not import compiler/internal/ir"},
		{"ir knows a sibling", pkg("compiler/internal/ir", in("compiler/internal/onnx")), "compiler/internal/ir: must not import compiler/internal/onnx"},
		{"protobuf beyond its wire format", pkg("compiler/internal/onnx", "google.golang.org/protobuf/proto"), "compiler/internal/onnx: must not import google.golang.org/protobuf/proto"},
		{"bridge uses the compiler", pkg(".", in("compiler")), ".: must not import compiler"},
		{"bridge uses the default engine", pkg(".", in("engine/wazero"), in("abi"), "github.com/fsnotify/fsnotify"), ""},
		{"engine uses the bridge", pkg("engine/wazero", module), "engine/wazero: must not import " + module},
		{"fleet uses the bridge", pkg("fleet", module), "fleet: must not import " + module},
		{"fleet uses NATS", pkg("fleet", "github.com/nats-io/nats.go"), "fleet: must not import github.com/nats-io/nats.go"},
		{"node uses the hub", pkg("fleet/node", in("fleet/hub")), "fleet/node: must not import fleet/hub"},
		{"node uses the compiler", pkg("fleet/node/gate", in("compiler")), "fleet/node/gate: must not import compiler"},
		{"node uses the bridge", pkg("fleet/node", module, in("fleet")), ""},
		{"grab bag", pkg("fleet/hub/utils"), `fleet/hub/utils: no package is called "utils": name what it holds`},
		{"unknown package", pkg("gadgets"), "gadgets: has no rule: add it to the table of layers"},
		{"prefix is not a parent", pkg("abi2"), "abi2: has no rule: add it to the table of layers"},
		{"the command wires all", pkg("cmd/isomer", in("compiler"), module, "github.com/spf13/cobra"), ""},
		{"test imports an engine", goPackage{ImportPath: in("wasm"), TestImports: []string{in("engine/wazero")}}, ""},
		{"test imports conformance", goPackage{ImportPath: in("wasm"), XTestImports: []string{in("conformance")}}, "wasm: nothing imports conformance, tests included"},
		{"test imports the command", goPackage{ImportPath: in("conformance"), TestImports: []string{in("cmd/isomer")}}, "conformance: nothing imports cmd/isomer, tests included"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations([]goPackage{tt.p}, layers)
			if tt.want == "" && len(got) > 0 || tt.want != "" && !slices.Equal(got, []string{tt.want}) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
