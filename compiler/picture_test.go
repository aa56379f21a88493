package compiler

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func noise(w, h int) []byte {
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	b := make([]byte, w*h*3)
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

// TestPicturesArePrepared compiles networks that return their input, and compares it.
func TestPicturesArePrepared(t *testing.T) {
	sizes := [][2]int{{1, 1}, {1, 9}, {40, 1}, {7, 6}, {8, 6}, {3, 2}, {16, 12}, {31, 17}, {9, 50}, {97, 101}, {200, 3}}
	for _, fit := range []abi.Fit{abi.FitCover, abi.FitContain, abi.FitStretch} {
		for name, dims := range map[string][]int64{"channels first": {1, 3, 6, 8}, "channels last": {1, 6, 8, 3}, "grey": {1, 1, 6, 8}, "one pixel": {1, 3, 1, 1}} {
			t.Run(fmt.Sprint(fit, ", ", name), func(t *testing.T) {
				opt := Options{Fit: fit, Mean: []float64{0.25, 0.5, 0.125}, Std: []float64{0.5, 0.25, 2}}
				mod, err := compile(newNet(dims...).op("Flatten x > y").Model, opt)
				if err != nil {
					t.Fatal(err)
				}
				g, im := instantiate(t, mod.Bytes), *mod.Manifest.Image
				for _, s := range sizes {
					rgb := noise(s[0], s[1])
					g.classify(s[0], s[1], rgb)
					want := prepared(s[0], s[1], rgb, im)
					ch, area := 3, im.Width*im.Height
					if name == "grey" {
						ch = 1
					}
					got := g.read(g.address("output_0"), ir.Of(ir.F32, ch*area)).F
					for i := range area {
						for c := range ch {
							have, exp := got[c*area+i], want[3*i+c]
							switch name {
							case "channels last":
								have = got[3*i+c]
							case "grey":
								exp = 0.299*want[3*i] + 0.587*want[3*i+1] + 0.114*want[3*i+2]
							}
							// f32 sums over up to 101×33 pixels, of values up to 4.
							if math.Abs(float64(have)-exp) > 1e-4 {
								t.Fatalf("%d×%d: pixel %d, channel %d is %v, want %v", s[0], s[1], i, c, have, exp)
							}
						}
					}
				}
			})
		}
	}
}

func TestClassifyRefusesWhatIsNoPicture(t *testing.T) {
	mod, err := compile(newNet(1, 3, 2, 2).op("Flatten x > y").Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, mod.Bytes)
	rgb := noise(5, 4)
	before := g.classify(5, 4, rgb)
	for _, c := range [][3]uint64{{0, 0, 0}, {5, 0, 0}, {0, 4, 60}, {5, 4, 59}, {5, 4, 61}, {5, 4, 0}, {4, 4, 60}, {1 << 31, 2, 0}, {1<<32 - 1, 1<<32 - 1, 3},
		{1 << 16, 1 << 16, 0}, {1<<32 - 5, 1<<32 - 4, 60}} {
		ret, err := g.mod.ExportedFunction("classify").Call(context.Background(), c[0], c[1], 4096, c[2])
		if err != nil {
			t.Fatalf("%d×%d with %d bytes: %v", c[0], c[1], c[2], err)
		}
		rec, _ := g.mod.Memory().Read(uint32(ret[0]), 12)
		text, _ := g.mod.Memory().Read(binary.LittleEndian.Uint32(rec[4:]), binary.LittleEndian.Uint32(rec[8:]))
		if rec[0] != 1 || !strings.Contains(string(text), "byte count") {
			t.Errorf("%d×%d with %d bytes: tag %d, %s", c[0], c[1], c[2], rec[0], text)
		}
		n, err := g.mod.ExportedFunction("predict").Call(context.Background(), 42, c[2], c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		text, _ = g.mod.Memory().Read(42, uint32(n[0]))
		var answer struct{ Error string }
		if err := json.Unmarshal(text, &answer); err != nil || !strings.Contains(answer.Error, "byte count") {
			t.Errorf("predict of %d×%d with %d bytes: %s", c[0], c[1], c[2], text)
		}
	}
	if after := g.classify(5, 4, rgb); !slices.Equal(after, before) {
		t.Errorf("after what was refused the answer is %v, it was %v", after, before)
	}
}

// A host of the Wasmtube convention writes the picture at address 42, where the module has no
// allocator's word for it.
func TestPredictAtWasmtubesAddress(t *testing.T) {
	labels := []string{strings.Repeat("long ", 40), "b"}
	net := newNet(1, 3, 20, 30).weights("w", 1800, 2).op("Flatten x > f").op("MatMul f w > y")
	for i := range net.Graph.Initializers[0].Raw { // weights between 1 and 1.5
		net.Graph.Initializers[0].Raw[i] = []byte{byte(i), byte(i), 0x80 | byte(i)&0x3f, 0x3f}[i%4]
	}
	mod, err := compile(net.Model, Options{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, mod.Bytes)
	rgb := noise(30, 20)
	want := g.classify(30, 20, rgb)
	for range 2 {
		var got struct{ Top []class }
		if text := g.predict(30, 20, rgb); json.Unmarshal(text, &got) != nil || !slices.Equal(got.Top, want) {
			t.Fatalf("predict says %s, classify %v", text, want)
		}
	}
	// One that would reach the weights is no answer but a trap, wherever in the arena it begins. The
	// host wrote it before it called, so the instance gives no answer to anything after that.
	for _, at := range []uint32{42, g.address("input_0") - 8} {
		g := instantiate(t, mod.Bytes)
		w := 30
		if at == 42 {
			w = 3000
		}
		rgb := noise(w, 20)
		if _, err := g.mod.ExportedFunction("predict").Call(context.Background(), uint64(at), uint64(len(rgb)), uint64(w), 20); err == nil {
			t.Errorf("a picture of %d bytes at %d is answered", len(rgb), at)
		}
		if _, err := g.mod.ExportedFunction("classify").Call(context.Background(), 30, 20, uint64(at), 1800); err == nil {
			t.Error("an instance with spoiled weights answers")
		}
	}
	// Beyond what the module uses any size goes, and memory grows where it must.
	big := noise(300, 200)
	want = g.classify(300, 200, big)
	at := g.mod.Memory().Size()
	g.mod.Memory().Grow(3)
	g.mod.Memory().Write(at, big)
	n, err := g.mod.ExportedFunction("predict").Call(context.Background(), uint64(at), uint64(len(big)), 300, 200)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := g.mod.Memory().Read(at, uint32(n[0]))
	var got struct{ Top []class }
	if json.Unmarshal(text, &got) != nil || !slices.Equal(got.Top, want) {
		t.Errorf("predict says %s, classify %v", text, want)
	}
}

func TestAllocator(t *testing.T) {
	mod, err := compile(newNet(1, 4).op("Relu x > y").Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, mod.Bytes)
	alloc := func(args ...uint64) uint32 {
		at, err := g.mod.ExportedFunction("cabi_realloc").Call(context.Background(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(at[0])
	}
	a, b := alloc(0, 0, 1, 10), alloc(0, 0, 64, 100)
	if b%64 != 0 || b < a+10 {
		t.Errorf("10 bytes at %d, 100 aligned to 64 at %d", a, b)
	}
	g.mod.Memory().Write(a, []byte("0123456789"))
	c := alloc(uint64(a), 10, 1, 4)
	if text, _ := g.mod.Memory().Read(c, 4); string(text) != "0123" {
		t.Errorf("cut to 4 bytes they are %q", text)
	}
	d := alloc(uint64(a), 10, 8, 1<<20)
	if text, ok := g.mod.Memory().Read(d, 10); !ok || string(text) != "0123456789" || d%8 != 0 {
		t.Errorf("grown to a MiB at %d they are %q", d, text)
	}
	if alloc(0, 0, 8, 0) == 0 {
		t.Error("nothing is at address 0")
	}
	if _, err := g.mod.ExportedFunction("cabi_realloc").Call(context.Background(), 0, 0, 1, 1<<32-1); err == nil {
		t.Error("4 GiB were given")
	}
}
