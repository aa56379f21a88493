package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/cli/browser"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/examples/meter"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

// demoPhone is the browser node's name.
const demoPhone = "phone"

// phonePatience is how long the demo waits for a browser; a person may have to allow it.
const phonePatience = 60 * time.Second

// browserNode is the node of the demo that runs in a browser. Its page reads frames by itself; the demo calls it through the hub
// besides, as isomer call --on does, to have its answers.
type browserNode struct {
	admin  *client.Client
	report nodeReport
	took   []time.Duration
	frame  []byte // the answers of the frame that is being read
	by     string // the releases that gave them
}

// open shows the dashboard and makes a browser a node: the person's own, or where there is no screen, Chromium without one.
func (d *demo) open() error {
	token, err := d.invite(demoPhone, fleet.Mobile)
	if err != nil {
		return err
	}
	dashboard, page := d.web+"/#/login/"+d.token, d.web+"/node/?frames#"+token.String()
	switch chromium := headless(); {
	case hasScreen():
		// One after the other: the page in front is the dashboard, and a page behind it goes on.
		err = errors.Join(browser.OpenURL(page), sleep(d.ctx, time.Second), browser.OpenURL(dashboard))
	case chromium != "":
		d.say("there is no screen here: %s without one is the browser node, and the dashboard is for a browser that you open", filepath.Base(chromium))
		err = d.startHeadless(chromium, page)
	default:
		err = hint(errors.New("there is neither a screen nor Chromium here for --open"), "run it on a desktop, or: apt-get install chromium")
	}
	if err != nil {
		return fmt.Errorf("cannot open a browser: %w", err)
	}
	d.say("the dashboard: %s", dashboard)
	if err := d.awaitNode(demoPhone, phonePatience); err != nil {
		return fmt.Errorf("%w; its page is %s", err, page)
	}
	d.say("  %-8s joined as %s, in a browser", demoPhone, fleet.Mobile)
	d.phone = &browserNode{admin: d.admin, report: nodeReport{Node: demoPhone, Layer: fleet.Mobile, Module: demoModule, Answers: map[string]string{}}}
	return nil
}

// hasScreen reports whether a browser of a person can be opened.
func hasScreen() bool {
	return runtime.GOOS != "linux" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

func headless() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func (d *demo) startHeadless(chromium, page string) error {
	args := []string{"--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--user-data-dir=" + filepath.Join(d.dir, "chromium")}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium refuses to start as root with it, and opens the demo's page alone
	}
	p := &demoProcess{cmd: exec.Command(chromium, append(args, page)...)}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	d.chromium = p
	return nil
}

// closeBrowser lets Chromium end its own processes, which write into the demo's folder.
func (d *demo) closeBrowser() {
	if d.chromium == nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.chromium.cmd.Wait()
	}()
	_ = d.chromium.cmd.Process.Signal(os.Interrupt)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = d.chromium.cmd.Process.Kill()
		<-ended
	}
}

// readFrames reads every frame of the meter on the browser node.
func (b *browserNode) readFrames(ctx context.Context) error {
	m, err := meter.Demo()
	if err != nil {
		return err
	}
	for i, f := range m.Frames {
		b.frame, b.by = b.frame[:0], ""
		r, err := (&meter.Reader{Module: b, Regions: m.Regions, Decimals: m.Decimals}).Read(ctx, f.Picture)
		if err != nil {
			continue // counted by CallImage
		}
		b.report.Frames++
		if r.Digits == f.Reading {
			b.report.Right++
		}
		sum := sha256.Sum256(b.frame)
		b.report.Answers[fmt.Sprintf("%s/%02d", b.by, i)] = hex.EncodeToString(sum[:])
	}
	return ctx.Err()
}

// CallImage is the module's in the browser, through the hub.
func (b *browserNode) CallImage(ctx context.Context, fn string, img isomer.Image) ([]byte, error) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, opaque(img)); err != nil {
		return nil, err
	}
	b.report.Calls++
	got, err := b.admin.Call(ctx, client.Call{Node: demoPhone, Module: demoModule, Function: fn, Type: "image/png", Body: picture.Bytes()})
	if err != nil {
		b.report.Failed++
		b.report.Errors = append(b.report.Errors, err.Error())
		return nil, err
	}
	if b.report.SHA256 != "" && b.report.SHA256 != got.Digest {
		b.report.Swaps++
	}
	_, version, _ := strings.Cut(got.Release, "@")
	if len(b.frame) > 0 && b.by != version {
		version = "several" // as no node else says: such a frame is not compared
	}
	b.report.Version, b.report.SHA256, b.by = version, got.Digest, version
	b.took = append(b.took, got.Took)
	b.frame = append(b.frame, got.Body...)
	return got.Body, nil
}

// opaque is the picture for Go's encoders.
func opaque(img isomer.Image) image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, img.Width, img.Height))
	for from, to := 0, 0; from < len(img.RGB); from, to = from+3, to+4 {
		copy(out.Pix[to:], img.RGB[from:from+3])
		out.Pix[to+3] = 255
	}
	return out
}

func (b *browserNode) result() nodeReport {
	b.report.Calm = percentiles(b.took)
	return b.report
}
