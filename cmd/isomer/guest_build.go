package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// project is isomer.json: what the manifest of a module written by hand says.
type project struct {
	Name        string         `json:"name"`
	Version     string         `json:"version"`
	Language    string         `json:"language"`
	Functions   []abi.Function `json:"functions"`
	Permissions []string       `json:"permissions"`
	Cases       []guestCase    `json:"cases"`
}

const projectFile = "isomer.json"

func readProject(dir string) (project, error) {
	var p project
	path := filepath.Join(dir, projectFile)
	b, err := readRegular(path, maxText)
	if errors.Is(err, fs.ErrNotExist) {
		return p, hint(fmt.Errorf("%s: no %s, so it is no project of a module", dir, projectFile), `"isomer new NAME" begins one; a model is given by its file`)
	} else if err != nil {
		return p, err
	}
	// A misspelt field would be a case that is never tried.
	if err := strictJSON(b, &p); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	if err := p.manifest().Validate(); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func (p project) manifest() abi.Manifest {
	return abi.Manifest{Isomer: abi.FormatVersion, Name: p.Name, Version: p.Version, Functions: p.Functions, Permissions: p.Permissions}
}

// built is a module made of a project.
type built struct {
	bin   []byte
	cases []caseResult
}

// buildGuest makes a module of the project in dir and runs its cases. Those with an output become golden
// cases of the manifest, which every host runs again. Where cases failed the error is a *failedCases. With e not
// nil they run on that engine.
func buildGuest(ctx context.Context, std streams, dir string, p project, e engine.Engine) (built, error) {
	bin, err := compileGuest(ctx, std, dir, p.Language)
	if err != nil {
		return built{}, err
	}
	decoded, err := wasm.Decode(bin)
	if err != nil {
		return built{}, fmt.Errorf("%s: %w", dir, err)
	}
	m := p.manifest()
	if m.Features, err = decoded.Features(); err != nil {
		return built{}, fmt.Errorf("%s: %w", dir, err)
	}
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts := append((&guestOutput{w: std.err}).options(), isomer.WithRehearsal(), isomer.AllowLog(logger))
	if e != nil {
		opts = append(opts, isomer.WithEngine(e))
	}
	var b built
	if m.Golden, b.cases, err = tryCases(ctx, bin, p, opts); err != nil {
		return b, err
	}
	b.bin, err = withManifest(bin, m)
	return b, err
}

func withManifest(bin []byte, m abi.Manifest) ([]byte, error) {
	payload, err := m.Encode()
	if err != nil {
		return nil, err
	}
	return wasm.SetCustomSection(bin, abi.ManifestSection, payload)
}

// compileGuest calls the language's compiler, whose talk goes to stderr.
func compileGuest(ctx context.Context, std streams, dir, lang string) ([]byte, error) {
	scratch, err := os.MkdirTemp("", "isomer-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	out := filepath.Join(scratch, "module.wasm")
	switch lang {
	case "go":
		args := []string{"build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out}
		env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}
		if _, err := os.Stat(filepath.Join(dir, "vendor", "modules.txt")); err == nil {
			args = append(args, "-mod=vendor") // GOFLAGS may say otherwise
			env = append(env, "GOWORK=off")
		}
		_, err = tool(ctx, std, dir, "go", "install Go 1.26 or later from go.dev/dl", env, append(args, ".")...)
	case "c":
		err = compileC(ctx, std, dir, out)
	case "as":
		asc, abs := filepath.Join(dir, "node_modules", ".bin", "asc"), ""
		if abs, err = filepath.Abs(asc); err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); err != nil {
			return nil, hint(errors.New("the AssemblyScript compiler is missing: no "+asc), "run \"npm install\" in %s; npm comes with Node.js (Debian: apt install nodejs npm)", dir)
		}
		_, err = tool(ctx, std, dir, abs, "run \"npm install\" in "+dir, nil,
			"index.ts", "--use", "abort=isomer/abort", "-O3", "--runtime", "incremental", "-o", out)
	case "rust":
		out, err = compileRust(ctx, std, dir)
	default:
		err = fmt.Errorf("%s: language: %q is none of go, c, rust, as", filepath.Join(dir, projectFile), lang)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

func compileC(ctx context.Context, std streams, dir, out string) error {
	sources, err := filepath.Glob(filepath.Join(dir, "*.c"))
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("%s: no .c file", dir)
	}
	advice := "install clang and lld (Debian: apt install clang lld)"
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		return hint(errors.New("wasm-ld, the linker for WebAssembly, is missing"), "%s", advice)
	}
	args := []string{"--target=wasm32", "-O2", "-mbulk-memory", "-ffreestanding", "-nostdlib", "-fvisibility=hidden", "-Wall",
		"-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first", "-o", out}
	for _, s := range sources {
		args = append(args, filepath.Base(s))
	}
	_, err = tool(ctx, std, dir, "clang", advice, nil, args...)
	return err
}

// compileRust lets cargo say where the module is: a workspace or a setting moves its target folder.
func compileRust(ctx context.Context, std streams, dir string) (string, error) {
	const target = "wasm32-unknown-unknown"
	advice := "install Rust from rustup.rs, then: rustup target add " + target + " (Debian: apt install cargo libstd-rust-dev-wasm32)"
	libs, err := tool(ctx, std, dir, "rustc", advice, nil, "--print", "target-libdir", "--target", target)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(strings.TrimSpace(string(libs))); err != nil {
		return "", hint(errors.New("the library of Rust for "+target+" is missing"), "%s", "run: rustup target add "+target+" (Debian: apt install libstd-rust-dev-wasm32)")
	}
	messages, err := tool(ctx, std, dir, "cargo", advice, nil, "build", "--release", "--target", target, "--message-format=json-render-diagnostics")
	if err != nil {
		return "", err
	}
	module := ""
	for line := range bytes.Lines(messages) {
		var m struct {
			Reason    string   `json:"reason"`
			Filenames []string `json:"filenames"`
		}
		if json.Unmarshal(line, &m) != nil || m.Reason != "compiler-artifact" {
			continue
		}
		for _, f := range m.Filenames {
			if filepath.Ext(f) == ".wasm" {
				module = f
			}
		}
	}
	if module == "" {
		return "", hint(fmt.Errorf("%s: cargo made no .wasm file", dir), `Cargo.toml needs crate-type = ["cdylib"] under [lib]`)
	}
	return module, nil
}

// toolPatience bounds the wait for what a compiler that was stopped has itself started.
const toolPatience = 2 * time.Second

// tool runs a compiler in dir and gives its stdout. Its stderr is shown only where it fails: cargo tells
// its progress there.
func tool(ctx context.Context, std streams, dir, name, advice string, env []string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, hint(fmt.Errorf("%s is missing", name), "%s", advice)
	}
	var out, talk bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &talk
	cmd.WaitDelay = toolPatience
	if err := cmd.Run(); err != nil {
		if _, werr := std.err.Write(talk.Bytes()); werr != nil {
			return nil, werr
		}
		return nil, hint(fmt.Errorf("%s: %s: %w", dir, filepath.Base(name), err), "its own words are above")
	}
	return out.Bytes(), nil
}
