package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// patience bounds each wait: it is for machines that are busy; nothing waits this long when all is well.
const patience = time.Minute

// buildRules makes the module of ../rules with other limits, as a new build of an edited limits.json.
func buildRules(t *testing.T, limits string) []byte {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no colon in a file's name")
	}
	dir := t.TempDir()
	edited := filepath.Join(dir, "limits.json")
	write(t, edited, []byte(limits))
	original, err := filepath.Abs("../rules/limits.json")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: edited}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), overlay)
	out := filepath.Join(dir, "rules.wasm")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-buildmode=c-shared", "-o", out, "../rules")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	bin, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// record is what the application writes.
type record struct {
	Time   time.Time
	Module string
	Report struct {
		Device, Channel, State, Error string
		Value                         float64
		Limit                         *float64
	}
}

// running is the application at work.
type running struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error
	said *lockedBuffer
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, stdout io.Writer, args ...string) *running {
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, stop: stop, done: make(chan error, 1), said: &lockedBuffer{}}
	go func() { r.done <- run(ctx, args, stdout, r.said) }()
	t.Cleanup(stop)
	return r
}

// end stops the application and waits for it.
func (r *running) end() string {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patience):
		r.t.Fatal("it does not stop")
	}
	return r.said.String()
}

// await waits until a record fits.
func await(t *testing.T, records <-chan record, what string, fits func(record) bool) record {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case r := <-records:
			if fits(r) {
				return r
			}
		case <-timeout:
			t.Fatalf("waiting for %s", what)
		}
	}
}

// A swap of the file changes the thresholds while the application runs.
func TestThresholdsChangeLive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.wasm")
	write(t, path, buildRules(t, `[{"device": "bme280", "channel": "temp", "high": 35}]`))
	cooler := buildRules(t, `[{"device": "bme280", "channel": "temp", "high": 20}]`)

	r, w := io.Pipe()
	records := make(chan record, 10_000)
	go func() {
		dec := json.NewDecoder(r)
		for {
			var rec record
			if dec.Decode(&rec) != nil {
				return
			}
			records <- rec
		}
	}()
	app := start(t, w, "-module", path, "-tree", "recorded", "-every", "20ms")
	temp := func(state string) func(record) bool {
		return func(r record) bool {
			return r.Report.Device == "bme280" && r.Report.Channel == "temp" && r.Report.State == state
		}
	}
	if ok := await(t, records, "a temperature", temp("ok")); ok.Report.Value != 23.46 {
		t.Errorf("%+v", ok)
	}
	await(t, records, "a fault", func(r record) bool { return r.Report.State == "fault" && r.Report.Channel == "fan2" })

	write(t, path+".new", cooler)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if high := await(t, records, "the new limit", temp("high")); high.Report.Limit == nil || *high.Report.Limit != 20 {
		t.Errorf("%+v", high)
	}
	if said := app.end(); strings.Contains(said, "no reports") {
		t.Error(said)
	}
}

// everyone lets anyone in, and hands on what arrives.
type everyone struct {
	mochi.HookBase
	lines chan record
	t     *testing.T
}

func (*everyone) ID() string { return "everyone" }
func (*everyone) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnPublished
}
func (*everyone) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*everyone) OnACLCheck(*mochi.Client, string, bool) bool              { return true }
func (e *everyone) OnPublished(_ *mochi.Client, p packets.Packet) {
	var r record
	if err := json.Unmarshal(p.Payload, &r); err != nil {
		e.t.Errorf("%s: %v", p.Payload, err)
	}
	e.lines <- r
}

// broker listens at addr, sends what arrives to lines, and gives what ends it.
func broker(t *testing.T, addr string, lines chan record) func() {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	hook := &everyone{lines: lines, t: t}
	if err := errors.Join(s.AddHook(hook, nil), s.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: addr})), s.Serve()); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { _ = s.Close() })
	t.Cleanup(end)
	return end
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// While the broker is away lines wait, and none is missing when it is back: every look has its channels.
func TestBrokerRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.wasm")
	write(t, path, buildRules(t, `[{"high": 35}]`))
	addr := freeAddress(t)
	lines := make(chan record, 100_000) // of both brokers
	stop := broker(t, addr, lines)
	app := start(t, io.Discard, "-module", path, "-tree", "recorded", "-every", "20ms", "-mqtt", "tcp://"+addr, "-topic", "plant/1")

	const channels = 12
	looks := map[time.Time]map[string]bool{}
	note := func(r record) bool {
		if looks[r.Time] == nil {
			looks[r.Time] = map[string]bool{}
		}
		looks[r.Time][r.Report.Device+" "+r.Report.Channel] = true
		return len(looks) > 3
	}
	await(t, lines, "the first looks", note)
	stop()
	for timeout := time.After(patience); !strings.Contains(app.said.String(), "broker away"); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatal("it does not notice that the broker is away")
		}
	}
	away := len(looks)
	broker(t, addr, lines)
	await(t, lines, "looks after the restart", func(r record) bool { note(r); return len(looks) > away+10 })
	said := app.end()
	for drained := false; !drained; {
		select {
		case r := <-lines:
			note(r)
		default:
			drained = true
		}
	}
	for at, have := range looks {
		if len(have) != channels {
			t.Errorf("%v: %d of %d channels", at, len(have), channels)
		}
	}
	if !strings.Contains(said, `"not sent"=0 dropped=0`) {
		t.Error(said)
	}
}

// A broker that never comes costs a bounded buffer, and the log says what it cost.
func TestNoBroker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.wasm")
	write(t, path, buildRules(t, `[{"high": 35}]`))
	app := start(t, io.Discard, "-module", path, "-tree", "recorded", "-every", "10ms", "-mqtt", "tcp://"+freeAddress(t), "-buffer", "30")
	for timeout := time.After(patience); !strings.Contains(app.said.String(), "lines dropped, the oldest first"); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatal(app.said.String())
		}
	}
	if said := app.end(); !strings.Contains(said, `"not sent"=30 `) {
		t.Error(said)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-module"}, {"-module", "m", "x"}, {"-module", "m", "-every", "0s"}, {"-module", "m", "-buffer", "0"},
		{"-module", "m", "-mqtt", "nowhere"}, {"-module", "m", "-mqtt", "tcp://"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := run(t.Context(), []string{"-module", filepath.Join(t.TempDir(), "none.wasm")}, io.Discard, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
