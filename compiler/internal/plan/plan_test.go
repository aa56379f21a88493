package plan

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/compiler/internal/pass"
)

// sound checks a placement: buffers in use at the same step lie apart, all within the arena and
// aligned, the inputs at its end. It returns the bytes in use at the fullest step, below which no
// placement can go.
func sound(t *testing.T, bufs []*buffer, total int) (floor int) {
	t.Helper()
	steps := 0
	inputs := 0
	for i, a := range bufs {
		steps = max(steps, a.last)
		if a.offset < 0 || a.offset+a.size > total || a.offset%Align != 0 || a.size%Align != 0 {
			t.Fatalf("buffer %d: %d bytes at %d of %d", i, a.size, a.offset, total)
		}
		for j, b := range bufs[:i] {
			if a.last >= b.first && b.last >= a.first && a.offset < b.offset+b.size && b.offset < a.offset+a.size &&
				!behind(a, b) && !behind(b, a) {
				t.Fatalf("buffers %d and %d are in use at once, steps %d to %d and %d to %d, and share bytes: %d at %d, %d at %d",
					i, j, a.first, a.last, b.first, b.last, a.size, a.offset, b.size, b.offset)
			}
		}
		if a.input {
			inputs += a.size
		}
	}
	for _, b := range bufs {
		// Offsets count from the end.
		if b.input && b.offset+b.size > inputs {
			t.Fatalf("an input is %d bytes from the arena's end, all inputs take %d", b.offset+b.size, inputs)
		}
	}
	for step := range steps + 1 {
		live := 0
		for _, b := range bufs {
			if b.first <= step && step <= b.last {
				live += b.size
			}
		}
		floor = max(floor, live)
	}
	return floor
}

// behind reports whether out may share bytes with in: it takes its place, and begins far enough before it.
func behind(out, in *buffer) bool {
	// Offsets count from the arena's end: what begins earlier ends at a larger one.
	return out.over == in && in.last == out.first && out.offset+out.size >= in.offset+in.size+out.lead
}

func TestPlacementsAreSound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	worst := 0.
	for round := range 300 {
		steps := 1 + r.IntN(60)
		var bufs []*buffer
		for range 1 + r.IntN(70) {
			first := r.IntN(steps)
			last := first + r.IntN(4)
			if r.IntN(8) == 0 {
				last = first + r.IntN(steps)
			}
			b := &buffer{size: Align * r.IntN(40), first: first, last: last}
			for _, in := range bufs {
				if in.first < b.first && in.last == b.first && in.size >= b.size && r.IntN(2) == 0 {
					b.over, b.lead = in, Align*r.IntN(3)
				}
			}
			bufs = append(bufs, b)
		}
		for range round % 3 {
			bufs = append(bufs, &buffer{size: Align * (1 + r.IntN(40)), last: r.IntN(steps), input: true})
		}
		total := place(bufs)
		if floor := sound(t, bufs, total); floor > 0 {
			worst = max(worst, float64(total)/float64(floor))
		}
	}
	t.Logf("the worst placement takes %.2f times what is in use at its fullest step", worst)
}

// Chains of thousands of buffers, each in use for a few steps, need two at a time.
func TestPlacementOfLongChains(t *testing.T) {
	var bufs []*buffer
	for i := range 5000 {
		bufs = append(bufs, &buffer{size: 64, first: i, last: i + 1})
	}
	if total := place(bufs); total != 128 {
		t.Errorf("a chain takes %d bytes, two of its buffers 128", total)
	}
	bufs = append(bufs, &buffer{size: 16, first: 0, last: 5001})
	if total := place(bufs); total != 144 {
		t.Errorf("with one that lives throughout it takes %d bytes, not 144", total)
	}
}

// planned compiles the model at path up to its plan and checks it.
func planned(t *testing.T, path string) {
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := load.Model(m, load.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pass.Run(l.Graph, ""); err != nil {
		t.Fatal(err)
	}
	p, err := New(l.Graph, 0)
	if err != nil {
		t.Fatal(err)
	}
	again := &Plan{layouts: map[*ir.Value]Layout{}, alias: map[*ir.Value]*ir.Value{}}
	bufs := again.buffers(l.Graph, halos(l.Graph))
	floor := sound(t, bufs, place(bufs))
	for _, b := range bufs {
		v := b.value.v
		at := p.Of(v).Address
		for i := range len(b.value.halo) / 2 {
			at -= b.value.halo[i] * p.Of(v).Strides[i+1]
		}
		if at != ArenaBase+p.Arena-b.offset-b.size {
			t.Errorf("%s begins at %d, its place is %d", v.Name, at, ArenaBase+p.Arena-b.offset-b.size)
		}
	}
	if p.Consts.Base() < ArenaBase+p.Arena {
		t.Errorf("constants begin at %d, the arena ends at %d", p.Consts.Base(), ArenaBase+p.Arena)
	}
	t.Logf("arena of %s: %d bytes, at the fullest step %d are in use", filepath.Base(path), p.Arena, floor)
}

func TestPlanOfModels(t *testing.T) {
	for _, name := range []string{"digits-v1.onnx", "digits-v2.onnx"} {
		planned(t, filepath.Join("..", "..", "..", "examples", "meter", "models", name))
	}
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, "mobilenetv2", "mobilenetv2.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no mobilenetv2: set ISOMER_DATA to the folder of models and photos")
	}
	planned(t, path)
}

func parse(t *testing.T, text string) (*ir.Graph, func(name string) *ir.Value) {
	t.Helper()
	g, err := ir.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return g, func(name string) *ir.Value {
		for _, n := range g.Nodes {
			if n.Out[0].Name == name {
				return n.Out[0]
			}
		}
		t.Fatalf("no %s", name)
		return nil
	}
}

func TestRoomAroundValues(t *testing.T) {
	g, value := parse(t, `graph g
%x = input f32[2,3,4,5]
%a = unary(%x) Fn=neg
%w = const f32[2,2,5,1] rand(1)
%b = const f32[1] {0}
%c = conv(%a, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,0,0,2] Group=1
%d = conv(%a, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,3,0,1] Group=1
return %c, %d`)
	p, err := New(g, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := p.Of(value("a"))
	// The most that either convolution asks for on each side: rows of 3+4+2 pixels of 20 bytes.
	if want := (Halo{1, 3, 0, 2}); !slices.Equal(a.Halo, want) || a.Dense() {
		t.Errorf("room is %v, want %v", a.Halo, want)
	}
	if want := []int{4 * 180, 180, 20, 4}; !slices.Equal(a.Strides, want) {
		t.Errorf("strides are %v, want %v", a.Strides, want)
	}
	if first := a.Address - 180 - 3*20; first%Align != 0 || first < ArenaBase || first+2*4*180 > ArenaBase+p.Arena {
		t.Errorf("the block begins at %d, the arena is %d to %d", first, ArenaBase, ArenaBase+p.Arena)
	}
	x := p.Of(g.In[0])
	if !x.Dense() || x.Address+up(2*3*4*5*4, Align) != ArenaBase+p.Arena {
		t.Errorf("the input lies at %d and ends at %d, the arena at %d", x.Address, x.Address+480, ArenaBase+p.Arena)
	}
}

func TestReshapesAreViews(t *testing.T) {
	g, value := parse(t, `graph g
%x = input f32[2,6]
%a = unary(%x) Fn=neg
%b = reshape(%a) Shape=[12]
%c = reshape(%b) Shape=[1,3,4]
%w = const f32[2,4,1] rand(1)
%o = const f32[1] {0}
%d = reshape(%c) Shape=[1,3,4]
%e = conv(%d, %w, %o) Strides=[1] Dilations=[1] Pads=[1,1] Group=1
%k = const f32[2] {1 2}
%f = reshape(%k) Shape=[2,1]
%s = unary(%e) Fn=abs
return %s, %f, %c`)
	p, err := New(g, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range map[string]bool{"a": false, "b": true, "c": true, "d": false, "f": false} {
		if p.IsView(value(name)) != view {
			t.Errorf("%s is a view: %v", name, !view)
		}
	}
	a, c, s := p.Of(value("a")), p.Of(value("c")), p.Of(value("s"))
	if a.Address != c.Address || !slices.Equal(c.Strides, []int{48, 16, 4}) {
		t.Errorf("a lies at %d, its view at %d with strides %v", a.Address, c.Address, c.Strides)
	}
	// c is an output: what it views must not be reused for s.
	if s.Address < a.Address+48 && a.Address < s.Address+16 {
		t.Errorf("s at %d shares the bytes of c at %d", s.Address, a.Address)
	}
}

func TestOutputsTakeThePlaceOfInputs(t *testing.T) {
	g, value := parse(t, `graph g
%x = input f32[1,8,8,4]
%a = transpose(%x) Perm=[0,2,1,3]
%w = const f32[3,3,1,4] rand(1)
%b = const f32[4] {0 0 0 0}
%c = conv(%a, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,1,1,1] Group=4
%d = unary(%c) Fn=neg
%e = binary(%d, %x) Fn=add
%f = binary(%e, %e) Fn=mul
%h = conv(%f, %w, %b) Strides=[2,2] Dilations=[1,1] Pads=[0,0,0,0] Group=4
return %h, %f`)
	p, err := New(g, 0)
	if err != nil {
		t.Fatal(err)
	}
	overlap := func(v, w string) bool {
		a, b := p.Of(value(v)), p.Of(value(w))
		return a.Address < b.Address+b.Shape.Elems()*4 && b.Address < a.Address+a.Shape.Elems()*4
	}
	for pair, want := range map[[2]string]bool{
		{"c", "a"}: true,  // a depthwise convolution
		{"d", "c"}: true,  // element by element
		{"e", "d"}: true,  // likewise, with another operand
		{"f", "e"}: false, // both operands are one buffer
		{"h", "f"}: false, // f is an output
	} {
		if got := overlap(pair[0], pair[1]); got != want {
			t.Errorf("%s shares bytes with %s: %v", pair[0], pair[1], got)
		}
	}
	// The rows of c are 128 bytes; the first of them must fit before the padding of a.
	if a, c := p.Of(value("a")), p.Of(value("c")); c.Address+128 > a.Address-a.Strides[1]-a.Strides[2] {
		t.Errorf("c begins at %d, the block of a at %d", c.Address, a.Address-a.Strides[1]-a.Strides[2])
	}
}

func TestArenaBeyondMemoryIsAnError(t *testing.T) {
	g, _ := parse(t, "graph g\n%x = input f32[32768,32768]\n%y = transpose(%x) Perm=[1,0]\nreturn %y")
	if _, err := New(g, 0); err == nil || err.Error() != "the activations need 8589934592 bytes; a 32-bit memory holds 2147483647" {
		t.Error(err)
	}
}
