package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestHarness runs every contestant that this machine has once, on a model of the repository, and wants one answer.
func TestHarness(t *testing.T) {
	h, err := newHarness(settings{peers: "peers", models: t.TempDir(), data: t.TempDir(), runs: 2, round: 1}, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	h.data = filepath.Join("..", "..", "examples", "meter")
	r, err := h.race(context.Background(), network{group: "digits", files: []string{"models/digits-v2.onnx"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r.print(&out)
	t.Log("\n" + out.String())
	for _, e := range r.Entries {
		if e.Failed != "" || e.Runs != 2 || e.Min <= 0 || e.Median < e.Min || e.MACs == 0 {
			t.Errorf("%s: failed %q, %d runs, median %v, least %v, %d MACs", e.Name, e.Failed, e.Runs, e.Median, e.Min, e.MACs)
		}
		if e.Error > 1e-4 || e.Top != r.Entries[0].Top {
			t.Errorf("%s computes class %d with an error of %v", e.Name, e.Top, e.Error)
		}
	}
	if !strings.Contains(out.String(), "Isomer in wazero") {
		t.Error("wazero is not in the table")
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// TestGenerate makes the networks and runs the two of them that have the most operators.
func TestGenerate(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 250 MB of models")
	}
	python := "python3"
	if p := os.Getenv("ISOMER_PYTHON"); p != "" {
		python = p
	}
	if err := exec.Command(python, "-c", "import onnx, numpy").Run(); err != nil {
		t.Skipf("%s with onnx and numpy: %v", python, err)
	}
	h, err := newHarness(settings{peers: "peers", python: python, runs: 1, round: 1}, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	for _, n := range h.networks() {
		if n.group != "yolo" && n.group != "transformer-pieces" {
			continue
		}
		r, err := h.race(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Entries {
			if math.IsInf(e.Error, 0) || e.Failed == "" && e.Error > 1e-3 {
				t.Errorf("%s: %s: error %v", n.group, e.Name, e.Error)
			}
		}
	}
}

func TestFit(t *testing.T) {
	// 1, 1.2 and 1.5 ns a multiply-add: 1.25 is 20 % from both ends.
	r := &scaling{Points: []point{{MACs: 4e6, Min: 4}, {MACs: 2e6, Min: 2.4}, {MACs: 1e6, Min: 1.5}}}
	r.fit()
	if math.Abs(r.Origin.NSPerMAC-1.25) > 1e-9 || math.Abs(r.Origin.Worst-0.2) > 1e-9 || r.Origin.Constant != 0 {
		t.Errorf("through the origin: %+v, want 1.25 ns within 0.2", r.Origin)
	}
	r.Points = []point{{MACs: 4e6, Min: 4.5}, {MACs: 2e6, Min: 2.5}, {MACs: 1e6, Min: 1.5}}
	r.fit()
	if math.Abs(r.Line.NSPerMAC-1) > 1e-9 || math.Abs(r.Line.Constant-0.5) > 1e-9 || r.Line.Worst > 1e-9 {
		t.Errorf("line: %+v, want 0.5 ms and 1 ns", r.Line)
	}
}

func TestDifference(t *testing.T) {
	bytes := func(x ...float32) (b []byte) {
		for _, v := range x {
			b = appendFloat(b, v)
		}
		return b
	}
	if d := difference(bytes(1, 4.5), bytes(1, 4)); d != 0.125 {
		t.Errorf("%v, want half of a largest of 4", d)
	}
	if d := difference(bytes(float32(math.NaN())), bytes(1)); !math.IsInf(d, 1) {
		t.Errorf("%v for no number", d)
	}
}

func TestCompareRefusesAnotherResult(t *testing.T) {
	result := func(name string, x float32) *entry {
		return &entry{Name: name, Model: "m", outputs: [][]byte{appendFloat(appendFloat(nil, x), 1)}}
	}
	right, wrong, reference := result("wazero", 4.0001), result("V8", 3.9), result(native, 4)
	got := compare([]*entry{right, wrong, reference})
	if len(got) != 1 || got[0] != wrong || wrong.Failed == "" || right.Failed != "" {
		t.Errorf("refused %v, want V8 alone: it is off by 0.1 of 4", got)
	}
}

func TestGoals(t *testing.T) {
	rep := &report{Races: []*race{{Group: mobilenet, Entries: []*entry{
		{Name: "V8", Model: mobilenet, Median: 2, Min: 1, CPU: 1}, {Name: "wazero", Model: mobilenet, Median: 9, Min: 9, CPU: 9}, {Name: web, Model: mobilenet, Median: 10, Min: 4, CPU: 8},
	}}}}
	var out bytes.Buffer
	rep.printGoals(&out)
	var rows []string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{"| mobilenetv2 in V8 | onnxruntime-web | ≤ 0.35 | 0.20 | 0.25 | 0.12 | yes |", "| mobilenetv2 in wazero | onnxruntime-web | ≤ 0.65 | 0.90 | 2.25 | 1.12 | no |"} {
		if !slices.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "wasmtime") {
		t.Error("wasmtime did not run and has a row")
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-only", "("}, {"-who", "["}, {"-runs", "0"}, {"-round", "-1"}} {
		if err := run(context.Background(), args, &bytes.Buffer{}, testLog{t}); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
