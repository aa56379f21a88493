package conformance

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/examples/meter"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// driven is a page in Chromium that a test drives.
type driven struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Scanner
	said bytes.Buffer
	cmd  *exec.Cmd
}

// drive starts Chromium with a folder for what it keeps, and the video as its camera. It trusts who answers at the address.
func drive(t *testing.T, folder, address, video string) *driven {
	t.Helper()
	s := newPageSite(t)
	d := &driven{t: t}
	d.cmd = exec.Command("node", filepath.Join("browser", "drive.mjs"), s.sdk, s.chromium, folder, pinOf(t, address), video)
	d.cmd.Stderr = &d.said
	out, err := d.cmd.StdoutPipe()
	check(t, err)
	d.in, err = d.cmd.StdinPipe()
	check(t, err)
	check(t, d.cmd.Start())
	t.Cleanup(d.close)
	d.out = bufio.NewScanner(out)
	d.out.Buffer(nil, 1<<20)
	return d
}

// close ends the browser.
func (d *driven) close() {
	_ = d.in.Close()
	_ = d.cmd.Wait()
}

// pinOf is the SHA-256 of the public key of the certificate at the address.
func pinOf(t *testing.T, address string) string {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	check(t, err)
	defer c.Close()
	der, err := x509.MarshalPKIXPublicKey(c.ConnectionState().PeerCertificates[0].PublicKey)
	check(t, err)
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// do sends a command, given as pairs of names and values, and decodes what it answers.
func (d *driven) do(into any, what string, pairs ...any) {
	d.t.Helper()
	q := map[string]any{"do": what}
	for i := 0; i < len(pairs); i += 2 {
		q[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(q)
	check(d.t, err)
	if os.Getenv("ISOMER_TEST_TIMES") != "" {
		began := time.Now()
		defer func() { d.t.Logf("%v %s %v", time.Since(began).Round(time.Millisecond), what, pairs) }()
	}
	_, err = d.in.Write(append(b, '\n'))
	check(d.t, err)
	if !d.out.Scan() {
		d.t.Fatalf("%s: the browser ended: %s", what, d.said.Bytes())
	}
	var a struct {
		Value json.RawMessage
		Error string
	}
	check(d.t, json.Unmarshal(d.out.Bytes(), &a))
	if a.Error != "" {
		d.t.Fatalf("%s %v: %s", what, pairs, a.Error)
	}
	if into != nil {
		check(d.t, json.Unmarshal(a.Value, into))
	}
}

// says waits until an element's text holds something.
func (d *driven) says(at, has string) string {
	d.t.Helper()
	var text string
	d.do(&text, "text", "at", at, "has", has)
	return text
}

// shot keeps a screenshot where the environment asks for it.
func (d *driven) shot(name string, dark bool) {
	if dir := os.Getenv("ISOMER_SCREENSHOTS"); dir != "" {
		d.do(nil, "shot", "file", filepath.Join(dir, name+".png"), "dark", dark)
	}
}

// accessible has axe look at the page.
func (d *driven) accessible() {
	d.t.Helper()
	axe := filepath.Join("..", "web", "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(axe); err != nil {
		d.t.Log("SKIP of axe-core, which is not there: cd web && npm ci")
		return
	}
	var serious []string
	d.do(&serious, "axe", "file", axe)
	for _, s := range serious {
		d.t.Errorf("axe: %s", s)
	}
}

// digits are the versions of the meter's model.
func digits(t *testing.T) [][]byte {
	t.Helper()
	var out [][]byte
	for _, m := range meter.Models() {
		built, err := compiler.Compile(m.ONNX, compiler.Options{
			Name: m.Name, Version: m.Version, Labels: meter.Labels(), Mean: meter.Mean[:], Std: meter.Std[:], Scale: meter.Scale,
		})
		check(t, err)
		out = append(out, built.Bytes)
	}
	return out
}

// cameraFile is a video of one picture, each of its pixels four, so that half the chroma is as much as the picture has.
func cameraFile(t *testing.T, p isomer.Image) string {
	t.Helper()
	w, h := 2*p.Width, 2*p.Height
	y, cb, cr := make([]byte, w*h), make([]byte, w*h/4), make([]byte, w*h/4)
	for i := range p.Width * p.Height {
		r, g, b := float64(p.RGB[3*i]), float64(p.RGB[3*i+1]), float64(p.RGB[3*i+2])
		luma := byte(16.5 + (65.481*r+128.553*g+24.966*b)/255) // BT.601, of which Chromium takes such a file
		x, row := i%p.Width, i/p.Width
		for _, at := range []int{2*row*w + 2*x, 2*row*w + 2*x + 1, (2*row+1)*w + 2*x, (2*row+1)*w + 2*x + 1} {
			y[at] = luma
		}
		cb[i] = byte(128.5 + (-37.797*r-74.203*g+112*b)/255)
		cr[i] = byte(128.5 + (112*r-93.786*g-18.214*b)/255)
	}
	var file bytes.Buffer
	fmt.Fprintf(&file, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420mpeg2\n", w, h)
	for range 10 {
		file.WriteString("FRAME\n")
		file.Write(y)
		file.Write(cb)
		file.Write(cr)
	}
	path := filepath.Join(t.TempDir(), "camera.y4m")
	check(t, os.WriteFile(path, file.Bytes(), 0o600))
	return path
}

// A phone opens the page that a code holds: it joins, runs what is deployed, reads its camera, changes to a new version
// while it reads, refuses what is bad or not signed, and goes on without the hub.
func TestBrowserNode(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hub and Chromium (-short)")
	}
	sample, err := meter.Demo()
	check(t, err)
	r := hubtest.New(t)
	patient(t, r)
	folder, video := t.TempDir(), cameraFile(t, sample.Frames[0].Picture)
	d := drive(t, folder, r.Hub.Address(), video)
	p := newPhone(t, r)
	p.module = "digits"
	versions := digits(t)

	// What is no token, and one that another has used, say so and leave the page ready for the right one.
	d.do(nil, "open", "url", r.Hub.URL()+"/node/#%E0%A4%A")
	d.says("#problem", "isomer-join-")
	used := r.Token("other", fleet.Mobile, nil)
	_, err = node.Join(r.Ctx, filepath.Join(r.Dir, "other"), used, node.JoinOptions{})
	check(t, err)
	d.do(nil, "open", "url", r.Hub.URL()+"/node/#"+used.String())
	d.says("#problem", "the hub says no")
	check(t, r.Admin.Revoke(r.Ctx, "other"))
	var errors []string
	if d.do(&errors, "errors"); len(errors) != 1 || !strings.Contains(errors[0], "403") { // Chromium's own line
		t.Errorf("the page logs %q", errors)
	}
	d.do(nil, "open", "url", r.Hub.URL()+"/node/#"+r.Token("phone", fleet.Mobile, nil).String())
	d.says("#link", "connected")
	d.says("#name", "phone")
	d.accessible()
	var where string
	d.do(&where, "run", "code", "location.href")
	if strings.Contains(where, "#") {
		t.Errorf("the token stays in the address: %s", where)
	}
	p.online("phone")
	p.rolls("digits@1.0.0", versions[0], fleet.Completed)
	if got := p.report(); got.Layer != fleet.Mobile || !strings.HasPrefix(got.Engine, "Chrome ") || !strings.HasPrefix(got.Agent, "isomer-web ") || got.Modules[0].Digest != hubtest.Digest(versions[0]) {
		t.Errorf("report %+v", got)
	}
	p.readsAsGo(versions[0], sample)

	// The camera reads with what is deployed, and with the next version from one picture to the next.
	d.do(nil, "click", "at", "#use-camera")
	d.says("#release", "digits@1.0.0")
	d.says("#reading", "m³")
	p.rolls("digits@2.0.0", versions[1], fleet.Completed)
	d.says("#release", "digits@2.0.0")
	d.says("#reading", "417.94 m³") // the truth; version 1 takes the first drum for an 8
	if latency := d.says("#latency", " ms"); !strings.HasSuffix(latency, " ms") {
		t.Errorf("latency %q", latency)
	}
	d.shot("node-light", false)
	d.shot("node-dark", true)
	d.accessible()
	var before string
	d.do(&before, "text", "at", "#pictures", "has", "")
	hubtest.Wait(t, "calls in its report", func() bool {
		d.do(nil, "run", "code", "dispatchEvent(new Event('online'))")
		m := p.report().Modules
		return len(m) == 1 && m[0].Stats.Failed == 0 && m[0].PreviousStats.Failed == 0
	})

	// Nobody looks: no pictures, and the hub knows why there are fewer reports.
	d.do(nil, "run", "code", `Object.defineProperty(document, "hidden", {get: () => globalThis.away, configurable: true}); globalThis.away = true; document.dispatchEvent(new Event("visibilitychange"))`)
	hubtest.Wait(t, "a report that it saves", func() bool { return slices.Contains(p.report().Saving, "hidden") })
	var first, later string
	d.do(nil, "run", "code", "new Promise(r => setTimeout(r, 300))") // a picture that was being read
	d.do(&first, "text", "at", "#pictures", "has", "")
	d.do(nil, "run", "code", "new Promise(r => setTimeout(r, 1200))")
	d.do(&later, "text", "at", "#pictures", "has", "")
	if first != later || !larger(later, before) {
		t.Errorf("%s pictures, %s when it was hidden, %s later", before, first, later)
	}
	d.do(nil, "run", "code", `globalThis.away = false; document.dispatchEvent(new Event("visibilitychange"))`)
	hubtest.Wait(t, "a report that it does not save", func() bool { return len(p.report().Saving) == 0 })

	// No room for a module: it runs all the same, and the page that is opened next fetches it again and keeps it.
	modules := `(await caches.open("isomer-node-modules"))`
	d.do(nil, "run", "code", `(async () => { const c = `+modules+`; for (const k of await c.keys()) if (k.url.endsWith("`+hubtest.Digest(versions[0])+`")) await c.delete(k); })()`)
	d.do(nil, "quota", "bytes", "1")
	d.do(nil, "click", "at", "summary")
	if ro := p.Ended(p.Deploy("digits@1.0.0", "layer=mobile", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Errorf("without room the rollout is %s: %+v", ro.Phase, ro.History)
	}
	d.says("#log", "cannot be stored")
	p.readsAsGo(versions[0], sample)
	d.do(nil, "quota", "bytes", "")
	d.do(nil, "reload")
	p.runs("digits@1.0.0")
	hubtest.Wait(t, "the module in the cache", func() bool {
		var has bool
		d.do(&has, "run", "code", `(async () => (await `+modules+`.keys()).some((k) => k.url.endsWith("`+hubtest.Digest(versions[0])+`")))()`)
		return has
	})
	if ro := p.Ended(p.Deploy("digits@2.0.0", "layer=mobile", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}

	bad := enginetest.Guest{Version: "3", Manifest: &abi.Manifest{Name: "digits", Version: "3", Golden: []abi.Golden{{Function: "version", Output: []byte("three")}}}}.Build()
	p.rolls("digits@3.0.0", bad, fleet.RolledBack)
	p.audited("refused", "gate")
	p.refusesLies(func() { p.readsAsGo(versions[1], sample) })
	d.says("#list", "refused")
	if d.do(&errors, "errors"); len(errors) > 0 {
		t.Errorf("the page logs %q", errors)
	}

	// Without the hub the page opens, and reads.
	d.do(nil, "run", "code", "navigator.serviceWorker.ready.then(() => undefined)")
	r.Hub.Stop()
	d.says("#link", "no connection")
	d.do(nil, "reload")
	d.says("#name", "phone")
	d.says("#link", "no connection")
	d.do(nil, "click", "at", "#use-frames")
	d.says("#release", "digits@2.0.0")
	d.says("#reading", "m³")
	var hosts []string
	d.do(&hosts, "hosts")
	if !slices.Equal(hosts, []string{r.Hub.Address()}) {
		t.Errorf("the page asks %q, the hub is %s", hosts, r.Hub.Address())
	}
	d.close()

	// The browser is started again, and is the same node.
	r.Start()
	d = drive(t, folder, r.Hub.Address(), video)
	d.do(nil, "open", "url", r.Hub.URL()+"/node/")
	d.says("#name", "phone")
	d.says("#link", "connected")
	p.readsAsGo(versions[1], sample)
}

func larger(a, b string) bool {
	x, err := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err == nil && err2 == nil && x >= y
}

// readsAsGo has a drum read from afar, and wants the bytes that Go's bridge answers.
func (p *phone) readsAsGo(bin []byte, sample *meter.Meter) {
	p.t.Helper()
	crop, err := meter.Crop(sample.Frames[0].Picture, sample.Regions[1])
	check(p.t, err)
	m, err := isomer.New(p.Ctx, bin)
	check(p.t, err)
	defer m.Close()
	want, err := m.CallImage(p.Ctx, "classify", crop)
	check(p.t, err)
	picture := image.NewNRGBA(image.Rect(0, 0, crop.Width, crop.Height))
	for i := range crop.Width * crop.Height {
		copy(picture.Pix[4*i:], []byte{crop.RGB[3*i], crop.RGB[3*i+1], crop.RGB[3*i+2], 255})
	}
	var file bytes.Buffer
	check(p.t, png.Encode(&file, picture))
	got, err := p.Admin.Call(p.Ctx, client.Call{Module: "digits", Function: "classify", Node: p.victim, Type: "image/png", Body: file.Bytes()})
	if err != nil || !bytes.Equal(got.Body, want) || got.Digest != hubtest.Digest(bin) || got.Type != "application/json" {
		p.t.Errorf("the phone answers %q (%+v, %v), Go %q", got.Body, got, err, want)
	}
}
