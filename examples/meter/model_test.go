package meter

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/compiler"
)

func open(t *testing.T, m Model) *isomer.Module {
	t.Helper()
	built, err := compiler.Compile(m.ONNX, compiler.Options{
		Name: m.Name, Version: m.Version, Labels: Labels(), Mean: Mean[:], Std: Std[:], Scale: Scale, Top: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	module, err := isomer.New(t.Context(), built.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := module.Close(); err != nil {
			t.Error(err)
		}
	})
	return module
}

// TestCompiledModelsAgreeWithONNXRuntime compares all logits of all cases, through the bridge, with
// pictures as an application passes them.
func TestCompiledModelsAgreeWithONNXRuntime(t *testing.T) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Models() {
		module := open(t, m)
		worst := 0.0
		for _, c := range cases {
			answer, err := module.CallImage(context.Background(), "classify", c.Picture)
			if err != nil {
				t.Fatalf("%s %s: %v", m.Version, c.Name, err)
			}
			var result struct {
				Top []struct {
					Index int
					Logit float64
				}
			}
			if err := json.Unmarshal(answer, &result); err != nil {
				t.Fatalf("%s %s: %s: %v", m.Version, c.Name, answer, err)
			}
			if len(result.Top) != 10 {
				t.Fatalf("%s %s: %d classes in %s", m.Version, c.Name, len(result.Top), answer)
			}
			for _, class := range result.Top {
				want := float64(c.Logits[m.Version][class.Index])
				off := math.Abs(class.Logit - want)
				worst = max(worst, off)
				// Logits span about ±15; the JSON carries them with a few digits.
				if off > 1e-3 {
					t.Errorf("%s %s: logit %d is %g, want %g", m.Version, c.Name, class.Index, class.Logit, want)
				}
			}
		}
		t.Logf("version %s: largest difference %.2g over %d cases", m.Version, worst, len(cases))
	}
}

// The frames are made so that version 1 misreads some and version 2 none (train/RESULTS.md).
func TestCompiledModelsReadTheFrames(t *testing.T) {
	watched := demo(t)
	misread := map[string]int{}
	for _, m := range Models() {
		r := Reader{Module: open(t, m), Regions: watched.Regions, Decimals: watched.Decimals}
		for _, f := range watched.Frames {
			got, err := r.Read(context.Background(), f.Picture)
			if err != nil {
				t.Fatalf("%s %s: %v", m.Version, f.File, err)
			}
			if got.Digits != f.Reading {
				misread[m.Version]++
				t.Logf("version %s, %s: read %s with probability %.2f, shown is %s", m.Version, f.File, got.Digits, got.Probability, f.Reading)
			}
		}
	}
	if misread["1.0.0"] != 4 || misread["2.0.0"] != 0 {
		t.Errorf("misread frames by version: %v, want 4 and 0 of %d", misread, len(watched.Frames))
	}
}

func BenchmarkRead(b *testing.B) {
	watched := demo(b)
	for _, m := range Models() {
		b.Run(m.Version, func(b *testing.B) {
			built, err := compiler.Compile(m.ONNX, compiler.Options{Labels: Labels(), Mean: Mean[:], Std: Std[:]})
			if err != nil {
				b.Fatal(err)
			}
			module, err := isomer.New(b.Context(), built.Bytes)
			if err != nil {
				b.Fatal(err)
			}
			defer module.Close()
			r := Reader{Module: module, Regions: watched.Regions}
			for i := 0; b.Loop(); i++ {
				if _, err := r.Read(b.Context(), watched.Frames[i%len(watched.Frames)].Picture); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
