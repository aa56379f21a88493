package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/examples/meter"
)

// jsCase is a call that javascript.mjs makes.
type jsCase struct {
	Function string `json:"function"`
	Input    []byte `json:"input"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
}

// javascript calls bin through the bridge of sdk/js, or skips the test where there is no Node.js or no bridge.
func javascript(t *testing.T, bin []byte, cases []jsCase) [][]byte {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node.js: install it for the tests of the JavaScript bridge")
	}
	bridge := filepath.Join("..", "sdk", "js", "dist", "index.js")
	if _, err := os.Stat(bridge); err != nil {
		t.Skip("the JavaScript bridge is not built: cd sdk/js && npm ci && npm run build")
	}
	file := filepath.Join(t.TempDir(), "module.wasm")
	if err := os.WriteFile(file, bin, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), node, "javascript.mjs", bridge, file)
	var said bytes.Buffer
	c.Stdin, c.Stderr = bytes.NewReader(in), &said
	b, err := c.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, said.Bytes())
	}
	var out [][]byte
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	return out
}

// sameInJavaScript gives cases to both bridges.
func sameInJavaScript(t *testing.T, bin []byte, cases []jsCase) {
	t.Helper()
	m, err := isomer.New(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for k, got := range javascript(t, bin, cases) {
		c := cases[k]
		var want []byte
		if c.Width > 0 {
			want, err = m.CallImage(t.Context(), c.Function, isomer.Image{Width: c.Width, Height: c.Height, RGB: c.Input})
		} else {
			want, err = m.Call(t.Context(), c.Function, c.Input)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("case %d %s: JavaScript %.100q, Go %.100q", k, c.Function, got, want)
		}
	}
}

// TestJavaScriptGivesTheBytesOfGo reads the meter's frames in Node.js: V8 and the JavaScript bridge give what wazero
// and the Go bridge give, to the byte.
func TestJavaScriptGivesTheBytesOfGo(t *testing.T) {
	pictures, err := meter.Cases()
	if err != nil {
		t.Fatal(err)
	}
	var cases []jsCase
	for _, c := range pictures {
		cases = append(cases, jsCase{Function: "classify", Width: c.Picture.Width, Height: c.Picture.Height, Input: c.Picture.RGB})
	}
	cases = append(cases, jsCase{Function: "run", Input: floats(3 * meter.Side * meter.Side)})
	for _, model := range meter.Models() {
		built, err := compiler.Compile(model.ONNX, compiler.Options{
			Name: model.Name, Version: model.Version, Labels: meter.Labels(), Mean: meter.Mean[:], Std: meter.Std[:], Scale: meter.Scale,
		})
		if err != nil {
			t.Fatal(err)
		}
		sameInJavaScript(t, built.Bytes, cases)
	}
}

// TestJavaScriptMobileNet does the same with MobileNetV2 and the photos.
func TestJavaScriptMobileNet(t *testing.T) {
	bin := mobileNet(t)
	cases := []jsCase{{Function: "run", Input: floats(3 * 224 * 224)}}
	for _, p := range photos(t) {
		rgb, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, jsCase{Function: "classify", Width: 224, Height: 224, Input: rgb})
	}
	sameInJavaScript(t, bin, cases)
}

// photos are the files of raw pictures beside MobileNetV2.
func photos(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	all, err := filepath.Glob(filepath.Join(dir, "mobilenetv2", "images", "*.rgb"))
	if err != nil || len(all) == 0 {
		t.Skipf("no photos in %s (set ISOMER_DATA)", dir)
	}
	return all
}

// floats are n numbers between -2 and 2 as a tensor has them.
func floats(n int) []byte {
	var out []byte
	for k := range n {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(k*7919%4001)/1000-2))
	}
	return out
}
