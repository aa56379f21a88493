package page

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/compiler"
)

// chain is a network of n layers that each read the one before; every fourth adds what two of them made.
func chain(n int) compiler.Stats {
	s := compiler.Stats{Inputs: []compiler.Tensor{{Name: "x", Type: "f32[1,4]"}}}
	for i := range n {
		l := compiler.Layer{
			Name: fmt.Sprintf("layer/%d", i), Op: "conv", Kernel: "gemm", Kind: compiler.Product, MACs: 100 * (i + 1), Moved: 64,
			Inputs:  []compiler.Tensor{{Name: "x", Type: "f32[1,9,9,4]"}, {Name: "w", Type: "f32[3,3,4,4]", Const: true}},
			Outputs: []compiler.Tensor{{Name: "y", Type: "f32[1,4]"}},
			Reads:   []int{i - 1},
		}
		if i >= 4 && i%4 == 0 {
			l.Reads = []int{i - 4, i - 1}
		}
		s.Layers = append(s.Layers, l)
		s.Blocks = append(s.Blocks, compiler.Block{Name: "b", Address: 64 + 16*(i%2), Size: 16, First: i + 1, Last: i + 2})
	}
	s.Outputs = []compiler.Output{{Tensor: compiler.Tensor{Name: "y", Type: "f32[1,4]"}, Layer: n - 1}}
	return s
}

func times(s compiler.Stats) []time.Duration {
	t := make([]time.Duration, len(s.Layers))
	for i := range t {
		t[i] = time.Duration(i+1) * time.Microsecond
	}
	return t
}

func written(t *testing.T, p Page) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What a model's file says of itself is text on the page and nothing else.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	evil := `</script></title></svg><script>alert(1)</script><img src=x onerror=alert(1)>"'&\u2028{{.}}`
	s := chain(6)
	for i := range s.Layers {
		l := &s.Layers[i]
		l.Name, l.Op, l.Kernel, l.Attributes, l.Fused = evil, evil, evil, evil, []string{evil}
		l.Inputs[0].Name, l.Outputs[0].Name = evil, evil
		s.Blocks[i].Name = evil
	}
	s.Inputs[0].Name, s.Outputs[0].Name = evil, evil
	html := written(t, Page{Title: evil, Facts: [][2]string{{evil, evil}}, Stats: s, Times: times(s), TimedOn: evil})
	if n := strings.Count(html, "<script"); n != 2 {
		t.Errorf("%d script elements, want the data and the page's own", n)
	}
	if n := strings.Count(html, "</script"); n != 2 {
		t.Errorf("%d ends of scripts, want 2", n)
	}
	if strings.Contains(html, "<img") {
		t.Error("a name became an element")
	}
	got := browse(t, html)
	if !strings.Contains(got, `data-ready="6"`) {
		t.Error("the script did not get to its end")
	}
	if strings.Contains(got, "<img") {
		t.Error("the script made a name into an element")
	}
}

// The page asks nobody for anything, and its policy forbids it to.
func TestSelfContained(t *testing.T) {
	s := chain(40)
	html := written(t, Page{Title: "net", Stats: s, Times: times(s), TimedOn: "here"})
	addresses := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+`).FindAllString(html, -1)
	for _, a := range addresses {
		if a != "http://www.w3.org" { // the name of SVG, which nobody fetches
			t.Errorf("the page names %s", a)
		}
	}
	for _, want := range []string{"default-src &#39;none&#39;", "default-src 'none'"} {
		if strings.Contains(html, want) {
			return
		}
	}
	t.Error("no policy against loading")
}

// The script runs under the page's policy, colours the layers and lists the costliest first.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	s := chain(40)
	got := browse(t, written(t, Page{Title: "net", Stats: s, Times: times(s), TimedOn: "here"}))
	if !strings.Contains(got, `data-ready="40"`) {
		t.Fatal("the script did not get to its end")
	}
	if !regexp.MustCompile(`class="box layer h9"[^>]*data-layer="39"`).MatchString(got) {
		t.Error("the costliest layer has not the hottest colour")
	}
	if !strings.Contains(got, "Where it goes") {
		t.Error("the costliest layers are not listed")
	}
}

// browse returns what a browser makes of a page from a file, or skips.
func browse(t *testing.T, html string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the page's script was not run")
	}
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no chromium: the page's script was not run")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	// A container's root has no sandbox to give, and the page is our own.
	c := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--virtual-time-budget=5000", "--dump-dom", "file://"+file)
	c.WaitDelay = 10 * time.Second
	kill := time.AfterFunc(2*time.Minute, func() { c.Process.Kill() })
	defer kill.Stop()
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	return string(out)
}

// Boxes never cover each other, and each layer stands below what it reads.
func TestDrawing(t *testing.T) {
	s := chain(60)
	for i := 30; i < 36; i++ { // branches side by side, which the next layer brings together
		s.Layers[i].Reads = []int{29}
	}
	s.Layers[36].Reads = []int{30, 31, 32, 33, 34, 35}
	v := view{Page: Page{Stats: s}}
	v.layers()
	d := newDrawing(s, v.Layers)
	type place struct{ x, y int }
	taken := map[place]bool{}
	at := map[int]box{}
	for _, b := range d.Boxes {
		if p := (place{b.X, b.Y}); taken[p] {
			t.Errorf("two boxes at %v", p)
		} else {
			taken[p] = true
		}
		if b.X < 0 || b.Y < 0 || b.X+boxWidth > d.Width || b.Y+boxHeight > d.Height {
			t.Errorf("box %+v is outside of %d×%d", b, d.Width, d.Height)
		}
		if b.Layer >= 0 {
			at[b.Layer] = b
		}
	}
	edges := 0
	for i, l := range s.Layers {
		edges += len(l.Reads)
		for _, r := range l.Reads {
			if r >= 0 && at[i].Y <= at[r].Y {
				t.Errorf("layer %d is not below %d", i, r)
			}
		}
	}
	if len(d.Edges) != edges+1 {
		t.Errorf("%d edges, want %d and the output's", len(d.Edges), edges)
	}
	if at[36].X != at[29].X {
		t.Errorf("the branches of layer 29 at %d do not come back to it, layer 36 is at %d", at[29].X, at[36].X)
	}
}

// A network of any size gives a page: the drawing is bounded, the table is not.
func TestLarge(t *testing.T) {
	n := 2 * maxDrawn
	s := chain(n)
	for i := range s.Layers { // every layer reads the first: long lanes
		s.Layers[i].Reads = []int{0, i - 1}
	}
	s.Layers[0].Reads = []int{-1}
	html := written(t, Page{Title: "net", Stats: s})
	if got := strings.Count(html, `class="box layer`); got != maxDrawn {
		t.Errorf("%d boxes, want %d", got, maxDrawn)
	}
	if got := strings.Count(html, "<tr data-layer"); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
}

// A network without layers or without times is a page too.
func TestEmpty(t *testing.T) {
	t.Parallel()
	html := written(t, Page{Title: "net"})
	if strings.Contains(html, "Times") || strings.Contains(html, "alive") {
		t.Error("the page speaks of times or memory where there are none")
	}
	if got := browse(t, html); !strings.Contains(got, `data-ready="0"`) {
		t.Error("the script did not get to its end")
	}
}

func TestPeak(t *testing.T) {
	s := chain(3) // blocks of 16 bytes, two of them at a time
	if m := newMemory(s); m.Peak != "32 B" || m.Bytes != 32 || m.Steps != 5 {
		t.Errorf("memory %+v", m)
	}
	s.Blocks[1].Address = s.Blocks[0].Address // written over what it reads: counted once
	s.Blocks[2].Address = s.Blocks[0].Address
	if m := newMemory(s); m.Peak != "16 B" {
		t.Errorf("peak %s, want 16 B", m.Peak)
	}
}
