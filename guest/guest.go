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
var files embed.FS

// SDKModule is the Go module that guest/go belongs to.
const SDKModule = "github.com/isomer-iot/isomer"

const goVendor = "vendor/" + SDKModule + "/guest/go/"

// projects says for each language where each file of a new project comes from. The SDK comes along,
// so that a project builds without a network and stays as it is until its author takes a newer one.
var projects = map[string]map[string]string{
	"go": {
		"main.go": "example/go/main.go", goVendor + "guest.go": "go/guest.go", goVendor + "host.go": "go/host.go",
		goVendor + "host_wasip1.go": "go/host_wasip1.go", goVendor + "host_other.go": "go/host_other.go",
	},
	"c": {"main.c": "example/c/main.c", "isomer.h": "c/isomer.h"},
	"as": {
		"index.ts": "example/as/index.ts", "package.json": "example/as/package.json",
		"isomer.ts": "as/isomer.ts", "host.ts": "as/host.ts",
	},
	"rust": {
		"Cargo.toml": "example/rust/Cargo.toml", "src/lib.rs": "example/rust/src/lib.rs", "isomer-guest/Cargo.toml": "rust/Cargo.toml",
		"isomer-guest/src/lib.rs": "rust/src/lib.rs", "isomer-guest/src/host.rs": "rust/src/host.rs",
	},
}

// Languages are those that Project knows.
func Languages() []string { return []string{"go", "c", "rust", "as"} }

// Project gives the files of a new project by path with slashes; nil for an unknown language. version is
// that of the SDK module, in the form that go.mod takes.
func Project(lang, name, version string) map[string]string {
	from := projects[lang]
	if from == nil {
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
	read("isomer.json", "example/isomer.json")
	read("README.md", "example/README.md")
	for to, path := range from {
		read(to, path)
	}
	if lang == "go" {
		out["go.mod"] = "module example.com/" + name + "\n\ngo 1.26.0\n\nrequire " + SDKModule + " " + version + "\n"
		out["vendor/modules.txt"] = "# " + SDKModule + " " + version + "\n## explicit; go 1.26.0\n" + SDKModule + "/guest/go\n"
	}
	return out
}
