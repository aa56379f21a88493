package compiler

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// each appends count nodes made by text, such as "Exp x > v%d".
func (n net) each(count int, text string, attrs ...*onnx.Attribute) net {
	for i := range count {
		n.op(strings.ReplaceAll(text, "%d", strconv.Itoa(i)), attrs...)
	}
	return n
}

// numbered are v0 to v(count-1), each after a space.
func numbered(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, " v%d", i)
	}
	return b.String()
}

const million = 1_000_000

// largest is a number of nodes below what is refused unseen, for those parts of the compiler that a million
// do not reach.
const largest = 60_000

// tooMany is why a million operators are refused.
const tooMany = "more than 65536 operators"

// largeModels are graphs of up to a million nodes, whose price must stay in proportion to them. want is as
// in hostileModels.
var largeModels = map[string]struct {
	net  func() net
	want string
}{
	"million/chain":      {func() net { return newNet(1, 4).times(million, "Exp") }, tooMany},
	"million/identities": {func() net { return newNet(1, 4).times(million, "Identity") }, ""},
	"million/reshapes":   {func() net { return newNet(1, 4).times(million, "Flatten") }, ""},
	"million/star":       {func() net { return newNet(1, 4).each(million, "Exp x > v%d").op("Relu v7 > y") }, tooMany},
	"million/concat": {func() net {
		return newNet(1, 4).op("Concat"+strings.Repeat(" x", million)+" > y", integer("axis", 1))
	}, "kernel calls"},
	"million/constants": {func() net {
		n := newNet(1, 4)
		for i := range million {
			n.weights(fmt.Sprint("w", i), 1)
		}
		return n.op("Relu x > y")
	}, ""},
	"million/constant nodes": {func() net {
		return newNet(1, 4).each(million, "Constant > v%d", &onnx.Attribute{Name: "value_float", Type: onnx.AttrFloat}).op("Add x v9 > y")
	}, ""},
	"million/folded":  {func() net { return newNet(1, 4).weights("w", 4).each(million, "Exp w > v%d").op("Add x v9 > y") }, ""},
	"million/unknown": {func() net { return newNet(1, 4).times(million, "Nothing") }, "1000000 node(s)"},
	"million/cycle":   {func() net { return newNet(1, 4).each(million, "Exp v%d > y") }, "not defined"},
	"million/axes":    {func() net { return newNet(slices.Repeat([]int64{1}, million)...).op("Relu x > y") }, ""},
	"million/long name": {func() net {
		name := strings.Repeat("n", million)
		return newNet(1, 4).op("Relu x > " + name).op("Exp " + name + " > y")
	}, ""},
	"million/attributes": {func() net {
		n := newNet(1, 4).op("Relu x > y")
		for i := range million {
			n.Graph.Nodes[0].Attrs = append(n.Graph.Nodes[0].Attrs, integer(fmt.Sprint("a", i), 1))
		}
		return n
	}, ""},
	"million/outputs": {func() net {
		n := newNet(1, 4).op("Relu x > y")
		for i := range million {
			n.Graph.Outputs = append(n.Graph.Outputs, &onnx.ValueInfo{Name: fmt.Sprint("v", i)})
		}
		return n
	}, "outputs; at most"},

	"chain":      {func() net { return newNet(1, 4).times(largest, "Exp") }, ""},
	"transposes": {func() net { return newNet(2, 3).times(largest, "Transpose") }, ""},
	"sinking": {func() net {
		return newNet(2, 3).weights("w", 2).op("Transpose x > a").op("Transpose x > b").each(largest/2, "Add w a > v%d").each(largest/4, "Add a b > s%d").op("Relu s7 > y")
	}, ""},
	"residuals": {func() net { return newNet(1, 4).times(largest, "Add x") }, ""},
	"all live": {func() net {
		return newNet(1, 4).each(largest/2, "Exp x > v%d").op("Sum" + numbered(largest/2) + " > y")
	}, ""},
	"all joined": {func() net {
		return newNet(1, 4).each(largest, "Exp x > v%d").op("Concat"+numbered(largest)+" > y", integer("axis", 0))
	}, ""},
	"dense": {func() net {
		return newNet(1, 4).weights("w", 4, 4).weights("b", 4).times(largest/2, "Gemm % w b")
	}, ""},
	"convolutions": {func() net {
		return newNet(1, 4, 3, 3).weights("w", 4, 4, 3, 3).times(largest/8, "Conv % w", ints("pads", 1, 1, 1, 1))
	}, ""},
	"shared weights": {func() net { // a megabyte; a copy for each is a module of gigabytes
		n := newNet(1, 512).weights("w", 512, 512).weights("b", 512)
		from := "x"
		for i := range 2000 {
			to := fmt.Sprint("v", i)
			n.op(fmt.Sprintf("MatMul %s w > m%d", from, i)).op(fmt.Sprintf("Mul m%d b > %s", i, to))
			from = to
		}
		return n.op("Relu " + from + " > y")
	}, ""},
	"shared constant": {func() net { return newNet(1, 1<<18).weights("w", 1<<18).times(5000, "Add w") }, ""},
	"sunk constant": {func() net {
		return newNet(512, 512).weights("w", 512, 512).op("Transpose x > z").times(5000, "Add w")
	}, ""},
	"to be known": {func() net {
		return newNet(1, 4).input("s", 2).times(largest/2, "Exp").each(largest/2, "Reshape x s > r%d")
	}, "node(s)"},
	"inputs": {func() net {
		n := newNet(1, 4)
		for i := range 4000 {
			n.input(fmt.Sprint("v", i), 1)
		}
		return n.op("Sum x" + numbered(4000) + " > y")
	}, ""},
	"split": {func() net {
		return newNet(1, 1000).op("Split x >"+numbered(1000), integer("axis", 1)).op("Sum" + numbered(1000) + " > y")
	}, ""},
	"quantised": {func() net { // transposes between quantisations that move past each other
		n := newNet(2, 3).weights("one", 1)
		n.Graph.Initializers[0].Raw = []byte{0, 0, 0x80, 0x3f}
		from := "x"
		for i := range largest / 4 {
			n.op(fmt.Sprintf("QuantizeLinear %s one > q%d", from, i)).op(fmt.Sprintf("DequantizeLinear q%d one > d%d", i, i)).op(fmt.Sprintf("Transpose d%d > v%d", i, i))
			from = fmt.Sprint("v", i)
		}
		return n.op("Relu " + from + " > y")
	}, ""},
	"loop over many": {func() net {
		n := newNet(1, 4).list("t", 1000)
		for i := range 100_000 {
			n.weights(fmt.Sprint("w", i), 1)
		}
		for i := range 20 {
			n.op(fmt.Sprintf("Loop t t x > v%d", i), body(newNet().input("s", 1, 4).op("Identity s > y")))
			n.Graph.Nodes[i].Inputs[1] = ""
		}
		return n.op("Relu v7 > y")
	}, ""},
	"loops in loops": {func() net {
		inner := newNet().input("s", 1, 4).op("Identity s > y")
		for range 6 {
			inner = newNet().input("s", 1, 4).list("t", 1000).op("Loop t t s > y", body(inner))
			inner.Graph.Nodes[0].Inputs[1] = ""
		}
		n := newNet(1, 4).list("t", 1000).op("Loop t t x > y", body(inner))
		n.Graph.Nodes[0].Inputs[1] = ""
		return n
	}, "out of all proportion"},
}

// body makes n, which maps the input s to y, the body of a loop that always goes on.
func body(n net) *onnx.Attribute {
	g := *n.Graph
	number, again := *g.Inputs[0], *g.Inputs[0]
	number.Name, again.Name = "number", "again"
	g.Inputs = []*onnx.ValueInfo{&number, &again, g.Inputs[1]}
	g.Nodes = append([]*onnx.Node{{OpType: "Identity", Inputs: []string{"again"}, Outputs: []string{"still"}}}, g.Nodes...)
	g.Outputs = append([]*onnx.ValueInfo{{Name: "still"}}, g.Outputs...)
	return &onnx.Attribute{Name: "body", Type: onnx.AttrGraph, G: &g}
}

// A large model is compiled or refused at a price in proportion: these have up to 100 MB as files, and what
// they cost is 1 GB of allocations at most. Work that allocates nothing may be endless too, so there is
// a limit of time; they take half a second to four on one core, so that it never counts the machine's load.
func TestLargeModels(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	for name, c := range largeModels {
		t.Run(name, func(t *testing.T) {
			n := c.net()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := compile(n.Model, Options{})
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%v, %d MB allocated", took.Round(time.Millisecond), allocated>>20)
			if got := fmt.Sprint(err); c.want != "" && !strings.Contains(got, c.want) || c.want == "" && err != nil {
				t.Errorf("error %.300q, want one with %q", got, c.want)
			}
			if allocated > 1<<30 {
				t.Errorf("%d bytes were allocated", allocated)
			}
			if took > 5*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}
