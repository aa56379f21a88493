// Package guest holds the guest SDKs and the project that each begins with, as files. Use it in a tool
// that writes projects; never in a module: Go modules import guest/go, the others take the file of their
// language (c/isomer.h, as/isomer.ts, the crate rust).
//
// Compatibility: v0, may change until 1.0.
package guest

import (
	"embed"
	"strings"
)

// The files are listed one by one: build products beside them must not get in.
//
//go:embed go/guest.go go/host.go go/host_wasip1.go go/host_other.go c/isomer.h as/isomer.ts as/host.ts
//go:embed rust/Cargo.toml rust/src/lib.rs rust/src/host.rs
//go:embed example/isomer.json example/README.md example/go/main.go example/c/main.c
//go:embed example/as/index.ts example/as/package.json example/rust/Cargo.toml example/rust/src/lib.rs
//go:embed example/station/isomer.json example/station/README.md example/station/go/main.go example/station/c/main.c
//go:embed example/station/as/index.ts example/station/rust/src/lib.rs
var files embed.FS

// SDKModule is the Go module that guest/go belongs to.
const SDKModule = "github.com/isomer-iot/isomer"

const goVendor = "vendor/" + SDKModule + "/guest/go/"

// source is a file of a project, and whether each example has its own.
type source struct {
	path string
	own  bool
}

// projects says for each language where each file of a new project comes from. The SDK comes along,
// so that a project builds without a network and stays as it is until its author takes a newer one.
var projects = map[string]map[string]source{
	"go": {
		"main.go": {"go/main.go", true}, goVendor + "guest.go": {"go/guest.go", false}, goVendor + "host.go": {"go/host.go", false},
		goVendor + "host_wasip1.go": {"go/host_wasip1.go", false}, goVendor + "host_other.go": {"go/host_other.go", false},
	},
	"c": {"main.c": {"c/main.c", true}, "isomer.h": {"c/isomer.h", false}},
	"as": {
		"index.ts": {"as/index.ts", true}, "package.json": {"example/as/package.json", false},
		"isomer.ts": {"as/isomer.ts", false}, "host.ts": {"as/host.ts", false},
	},
	"rust": {
		"Cargo.toml": {"example/rust/Cargo.toml", false}, "src/lib.rs": {"rust/src/lib.rs", true},
		"isomer-guest/Cargo.toml": {"rust/Cargo.toml", false}, "isomer-guest/src/lib.rs": {"rust/src/lib.rs", false},
		"isomer-guest/src/host.rs": {"rust/src/host.rs", false},
	},
}

// examples are the folders of what a project begins with.
var examples = map[string]string{"meter": "example/", "station": "example/station/"}

// Languages are those that Project knows.
func Languages() []string { return []string{"go", "c", "rust", "as"} }

// Examples are what a project can begin with: a function of JSON, or everything that a module can do.
func Examples() []string { return []string{"meter", "station"} }

// Project gives the files of a new project by path with slashes; nil for an unknown language or example.
// version is that of the SDK module, in the form that go.mod takes.
func Project(lang, example, name, version string) map[string]string {
	from, folder := projects[lang], examples[example]
	if from == nil || folder == "" {
		return nil
	}
	prepare := ""
	if lang == "as" {
		prepare = "Once: `npm install` brings the compiler.\n"
	}
	fill := strings.NewReplacer("{{name}}", name, "{{lang}}", lang, "{{prepare}}", prepare)
	out := map[string]string{".gitignore": "*.wasm\nnode_modules/\ntarget/\n"}
	read := func(to, path string) {
		b, err := files.ReadFile(path)
		if err != nil { // embedded above; a test makes every project
			panic(err)
		}
		out[to] = fill.Replace(string(b))
	}
	read("isomer.json", folder+"isomer.json")
	read("README.md", folder+"README.md")
	for to, file := range from {
		if file.own {
			file.path = folder + file.path
		}
		read(to, file.path)
	}
	if lang == "go" {
		out["go.mod"] = "module example.com/" + name + "\n\ngo 1.26.0\n\nrequire " + SDKModule + " " + version + "\n"
		out["vendor/modules.txt"] = "# " + SDKModule + " " + version + "\n## explicit; go 1.26.0\n" + SDKModule + "/guest/go\n"
	}
	return out
}
