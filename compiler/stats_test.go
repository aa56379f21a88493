package compiler

import (
	"slices"
	"testing"
	"time"
)

const meterModel = "../examples/meter/models/digits-v2.onnx"

// The meter's network has residuals and activations, which go into the convolutions before them.
func TestStats(t *testing.T) {
	m, err := CompileFile(meterModel, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := m.Stats
	if want := []OperatorCount{{"Conv", 19}, {"Clip", 13}, {"Add", 4}, {"Flatten", 1}, {"Gemm", 1}, {"GlobalAveragePool", 1}}; !slices.Equal(s.Operators, want) {
		t.Errorf("operators %v, want %v", s.Operators, want)
	}
	if want := []OperatorCount{{"Clip", 13}, {"Add", 4}}; !slices.Equal(s.Fused, want) {
		t.Errorf("fused %v, want %v", s.Fused, want)
	}
	if z := s.Module; z.Weights+z.Code+z.Manifest+z.Other != len(m.Bytes) || z.Weights < 100_000 || z.Code < 1000 || z.Manifest < 100 {
		t.Errorf("parts %+v of %d bytes", z, len(m.Bytes))
	}
	if s.Memory < s.Arena+s.Consts {
		t.Errorf("an instance of %d bytes holds %d and %d", s.Memory, s.Arena, s.Consts)
	}
	inLayers, joins := 0, 0
	for i, l := range s.Layers {
		inLayers += len(l.Fused)
		if len(l.Reads) == 2 {
			joins++
		}
		for _, r := range l.Reads {
			if r >= i || r < -len(s.Inputs) {
				t.Errorf("layer %d reads %d", i, r)
			}
		}
		if (l.MACs > 0) != (l.Kind == Product || l.Kind == Vector || l.Kind == Depthwise) {
			t.Errorf("layer %s is %s with %d multiply-adds", l.Name, l.Kind, l.MACs)
		}
	}
	if inLayers != 17 || joins != 4 {
		t.Errorf("%d operators in the layers, want 17; %d layers with two inputs, want 4", inLayers, joins)
	}
	if o := s.Outputs[0]; o.Name != "logits" || o.Type != "f32[1,10]" || o.Layer != len(s.Layers)-1 {
		t.Errorf("output %+v", o)
	}
	disjoint(t, s)
}

// disjoint checks that no two blocks hold a byte of the arena at the same time, unless a layer writes its
// result over what it reads last.
func disjoint(t *testing.T, s Stats) {
	t.Helper()
	for i, a := range s.Blocks {
		if a.Size <= 0 || a.First > a.Last || a.Last > len(s.Layers)+1 {
			t.Errorf("block %+v", a)
		}
		for _, b := range s.Blocks[i+1:] {
			if a.Last == b.First && b.Address < a.Address || b.Last == a.First && a.Address < b.Address {
				continue // one takes the other's place, see plan
			}
			over := a.Last == b.First || b.Last == a.First
			if !over && a.First <= b.Last && b.First <= a.Last && a.Address < b.Address+b.Size && b.Address < a.Address+a.Size {
				t.Errorf("%+v and %+v overlap", a, b)
			}
		}
	}
}

// A constant expression is folded, what nobody fuses is a layer.
func TestStatsOfFoldedNodes(t *testing.T) {
	net := newNet(1, 3, 4, 4).weights("w", 3, 1, 1).op("Add w w > twice").op("Mul x twice > f").op("Relu f > y")
	m, err := compile(net.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []OperatorCount{{"Add", 1}}; !slices.Equal(m.Stats.Folded, want) || len(m.Stats.Fused) != 0 {
		t.Errorf("folded %v, want %v; fused %v, want none", m.Stats.Folded, want, m.Stats.Fused)
	}
}

// Each probe is a module with the work of its kind, and a network's time is made of them.
func TestProbes(t *testing.T) {
	kinds := []Kind{Product, Vector, Depthwise, Bytes, ByteDepth, Move}
	s := Stats{}
	for _, k := range kinds {
		s.Layers = append(s.Layers, Layer{Kind: k, MACs: 2000, Moved: 3000})
	}
	s.Layers[len(kinds)-1].MACs = 0
	s.Layers = append(s.Layers, Layer{Kind: View})
	probes, err := s.Probes()
	if err != nil {
		t.Fatal(err)
	}
	rates := Rates{}
	for i, p := range probes {
		if p.Kind != kinds[i] || p.Work < 100_000 {
			t.Errorf("probe %d: %s of %d", i, p.Kind, p.Work)
		}
		instantiate(t, p.Module).infer(nil, nil)
		rates[p.Kind] = 1000
	}
	got := s.Expect(rates)
	want := []time.Duration{2e9, 2e9, 2e9, 2e9, 2e9, 3e9, 0}
	if !slices.Equal(got, want) {
		t.Errorf("expected times %v, want %v", got, want)
	}
}
