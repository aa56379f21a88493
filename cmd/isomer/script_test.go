package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"isomer": func() { os.Exit(run()) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			models, err := filepath.Abs("../../examples/meter/models")
			e.Setenv("MODELS", models)
			return err
		},
		Condition: func(name string) (bool, error) {
			if name == "wasmtime" {
				return newWasmtime != nil, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kit":         kitCmd,
			"copycommand": copyCommandCmd,
			"manifest":    manifestCmd,
			"station":     stationCmd,
			"photo":       photoCmd,
			"onnx":        onnxCmd,
			"bytes":       bytesCmd,
			"status":      statusCmd,
			"signal":      signalCmd,
			"until":       untilCmd,
			"registry":    registryCmd,
		},
	})
}

func write(ts *testscript.TestScript, file string, b []byte) {
	ts.Check(os.WriteFile(ts.MkAbs(file), b, 0o644))
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// kitCmd: kit FILE VERSION writes the module of fixture_test.go, by rename as an update arrives.
func kitCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: kit FILE VERSION")
	}
	write(ts, args[0]+".new", kit(number(ts, args[1])))
	ts.Check(os.Rename(ts.MkAbs(args[0]+".new"), ts.MkAbs(args[0])))
}

// copyCommandCmd: copycommand FILE writes a WASI program that copies stdin to stdout.
func copyCommandCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: copycommand FILE")
	}
	write(ts, args[0], enginetest.CommandGuest())
}

// manifestCmd: manifest FILE JSONFILE replaces a module's manifest, without any check.
func manifestCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: manifest FILE JSONFILE")
	}
	bin, err := wasm.SetCustomSection([]byte(ts.ReadFile(args[0])), "isomer.manifest", []byte(ts.ReadFile(args[1])))
	ts.Check(err)
	write(ts, args[0], bin)
}

// stationCmd: station FILE PERMISSION... writes the module of fixture_test.go that asks its host.
func stationCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: station FILE PERMISSION...")
	}
	write(ts, args[0], station(args[1:]...))
}

// photoCmd: photo FILE WIDTH HEIGHT writes a PNG whose pixel x, y is (x, y, 7).
func photoCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: photo FILE WIDTH HEIGHT")
	}
	w, h := number(ts, args[1]), number(ts, args[2])
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x), uint8(y), 7, 255})
		}
	}
	var b bytes.Buffer
	ts.Check(png.Encode(&b, m))
	write(ts, args[0], b.Bytes())
}

// bytesCmd: bytes FILE N... writes the numbers as bytes.
func bytesCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: bytes FILE N...")
	}
	b := []byte{}
	for _, a := range args[1:] {
		b = append(b, byte(number(ts, a)))
	}
	write(ts, args[0], b)
}

// statusCmd: status N PROGRAM ARGS... runs a program that must end with that exit status.
func statusCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want := number(ts, args[0]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// signalCmd: signal NAME PROGRAM ARGS... starts a program, sends it INT or TERM when it says on stderr that it
// serves, and waits for its end, which must be a failure.
func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}
	if neg || len(args) < 2 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal INT|TERM PROGRAM ARGS...")
	}
	if sent, err := runAndSignal(ts, " serves ", signals[args[0]], io.Discard, args[1:]); err == nil || !sent {
		ts.Fatalf("signal sent: %v, it ended with %v", sent, err)
	}
}

// untilCmd: until TEXT FILE PROGRAM ARGS... starts a program that goes on, interrupts it when it says the text on stderr, and
// waits for its end, which must be a success. What it says on stdout is in the file then.
func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until TEXT FILE PROGRAM ARGS...")
	}
	var out bytes.Buffer
	sent, err := runAndSignal(ts, args[0], os.Interrupt, &out, args[2:])
	write(ts, args[1], out.Bytes())
	if err != nil || !sent {
		ts.Fatalf("signal sent: %v, it ended with %v", sent, err)
	}
}

// runAndSignal runs a program to its end, and sends it a signal when it says the text on stderr.
func runAndSignal(ts *testscript.TestScript, text string, signal os.Signal, stdout io.Writer, args []string) (sent bool, err error) {
	program := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		p := filepath.Join(dir, args[0])
		if _, err := os.Stat(p); err == nil {
			program = p
			break
		}
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "TMPDIR="+ts.Getenv("TMPDIR"))
	cmd.Stdout = stdout
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	for said := bufio.NewScanner(stderr); said.Scan(); {
		ts.Logf("%s", said.Text())
		if !sent && strings.Contains(said.Text(), text) {
			sent = true
			ts.Check(cmd.Process.Signal(signal))
		}
	}
	return sent, cmd.Wait()
}

// onnxCmd: onnx FILE DIM OP... writes a model of a chain of nodes over an input of the shape [DIM, 4], where
// DIM is a number or a name. An OP such as Reshape+shape has a second input, of two integers.
func onnxCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: onnx FILE DIM OP...")
	}
	write(ts, args[0], chainModel(args[1], args[2:]))
}

// chainModel is an ONNX model: ops one behind the other over an f32 input [dim, 4].
func chainModel(dim string, ops []string) []byte {
	str := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	num := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	value := func(name string) string {
		extent := str(nil, 2, dim)
		if n, err := strconv.Atoi(dim); err == nil {
			extent = num(nil, 1, uint64(n))
		}
		shape := str(str(nil, 1, string(extent)), 1, string(num(nil, 1, 4)))
		tensor := str(num(nil, 1, 1), 2, string(shape))
		return string(str(str(nil, 1, name), 2, string(str(nil, 1, string(tensor)))))
	}
	var graph []byte
	for i, op := range ops {
		op, second, has := strings.Cut(op, "+")
		node := str(str(nil, 1, fmt.Sprintf("v%d", i)), 2, fmt.Sprintf("v%d", i+1))
		if has {
			node = str(node, 1, second)
			integers := string(str(num(nil, 1, 7), 2, string(str(nil, 1, string(num(nil, 1, 2))))))
			graph = str(graph, 11, string(str(str(nil, 1, second), 2, string(str(nil, 1, integers)))))
		}
		graph = str(graph, 1, string(str(str(node, 3, fmt.Sprintf("%s_%d", op, i)), 4, op)))
	}
	graph = str(str(graph, 11, value("v0")), 12, value(fmt.Sprintf("v%d", len(ops))))
	model := str(num(nil, 1, 8), 7, string(graph))
	return str(model, 8, string(num(nil, 2, 17)))
}

// registryCmd: registry starts an OCI registry on loopback, whose address is REGISTRY from then on.
func registryCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: registry")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}
