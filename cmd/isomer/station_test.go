package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/guest"
)

// stationHost is a host that lends all there is, and remembers what it was asked for.
type stationHost struct {
	mu        sync.Mutex
	log       bytes.Buffer
	published []string
	store     isomer.Store
	server    *httptest.Server
}

func newStationHost(t *testing.T) *stationHost {
	h := &stationHost{}
	h.forget(t)
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Station", "roof "+r.Header.Get("X-Station"))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	t.Cleanup(h.server.Close)
	return h
}

// forget makes the host as it was at first, at the same address.
func (h *stationHost) forget(t *testing.T) {
	store, err := isomer.NewMemStore()
	if err != nil {
		t.Fatal(err)
	}
	h.store, h.published = store, nil
	h.log.Reset()
}

func (h *stationHost) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func (h *stationHost) Publish(_ context.Context, subject string, payload []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if string(payload) == "full" {
		return errors.New("the line is full")
	}
	h.published = append(h.published, subject+" "+string(payload))
	return nil
}

func (h *stationHost) address() string { return strings.TrimPrefix(h.server.URL, "http://") }

func (h *stationHost) options() []isomer.Option {
	logger := slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return []isomer.Option{isomer.AllowLog(logger), isomer.AllowClock(), isomer.AllowRandom(), isomer.AllowKV(h.store), isomer.AllowHTTP(h.address()), isomer.AllowPublish(h, "station.>"), isomer.WithOutput(h)}
}

// exercise calls everything that the example station does and returns what it answered, with what no two
// hosts answer alike taken out.
func (h *stationHost) exercise(t *testing.T, m *isomer.Module, stderr bool) (transcript string) {
	t.Helper()
	var all strings.Builder
	say := func(what string, out []byte, err error) {
		var app *isomer.AppError
		if errors.As(err, &app) {
			out, err = []byte("no: "+app.Message), nil
		}
		if err != nil {
			t.Fatalf("%q: %v", what, err)
		}
		fmt.Fprintf(&all, "%s = %s\n", strings.ReplaceAll(what, "\n", " "), out)
	}
	ask := func(request string) string {
		out, err := m.Call(t.Context(), "ask", []byte(request))
		say(request, out, err)
		return string(out)
	}
	for _, input := range []string{"abc", "", strings.Repeat("x", 100_000)} {
		out, err := m.Call(t.Context(), "count", []byte(input))
		say(fmt.Sprint("count ", len(input)), out, err)
	}
	out, err := m.CallImage(t.Context(), "brightness", isomer.Image{Width: 3, Height: 2, RGB: []byte("abcdefghijklmnopqr")})
	say("brightness", out, err)

	// Long texts and many of them: what the host writes needs room in the guest, while the guest waits.
	long := strings.Repeat("long ", 20_000)
	requests := []string{
		"log\n1\nthe roof is dry", "log\n3\nthe röof is wet", "get\nplace", "set\nplace\nthe roof", "get\nplace", "set\nlong\n" + long, "get\nlong",
		"set\nempty\n", "get\nempty", "keys\n", "keys\npl", "delete\nplace", "delete\nplace", "get\nplace", "keys\nnone", "get\n",
		"publish\nstation.roof\n21.5", "publish\nelsewhere\nx", "publish\nstation.roof\nfull",
		"fetch\nPOST\nhttp://" + h.address() + "/a/b\nbody\nof two lines", "fetch\n\nhttp://" + h.address() + "/", "fetch\nGET\nhttp://localhost:1/",
		"random\n0", "whistle", "",
	}
	for k := range 50 {
		requests = append(requests, fmt.Sprintf("set\nkey.%02d\n%d", k, k))
	}
	requests = append(requests, "keys\nkey.")
	if stderr {
		ask("stderr\na line for stderr")
	}
	for _, r := range requests {
		ask(r)
	}
	transcript = strings.ReplaceAll(all.String(), h.address(), "HOST")

	quiet := func(request string) string {
		t.Helper()
		out, err := m.Call(t.Context(), "ask", []byte(request))
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		return string(out)
	}
	if a, b := quiet("random\n32"), quiet("random\n32"); len(a) != 64 || a == b {
		t.Errorf("random bytes %s and %s", a, b)
	}
	before := time.Now()
	now, err := strconv.ParseInt(quiet("now"), 10, 64)
	if at := time.Unix(0, now); err != nil || at.Before(before.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
		t.Errorf("now %v, %v", at, err)
	}
	first, err := strconv.ParseInt(quiet("monotonic"), 10, 64)
	second, err2 := strconv.ParseInt(quiet("monotonic"), 10, 64)
	if err != nil || err2 != nil || second < first {
		t.Errorf("monotonic %d, then %d", first, second)
	}
	for range 2000 { // enough for what leaks 64 KiB a call to meet the limit
		if _, err := m.Call(t.Context(), "ask", []byte("get\nlong")); err != nil {
			t.Fatal(err)
		}
	}
	return transcript
}

// linkModules gives a project in AssemblyScript its compiler.
func linkModules(t *testing.T, lang, dir string) {
	t.Helper()
	if lang != "as" {
		return
	}
	if err := os.Symlink(os.Getenv("ISOMER_NODE_MODULES"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
}

// buildStation builds the example in a language, for a host with the server at address.
func buildStation(t *testing.T, lang, address string) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "station")
	if status, _, talk := command(t, "new", dir, "--lang", lang, "--example", "station"); status != 0 {
		t.Fatal(talk)
	}
	file := filepath.Join(dir, "isomer.json")
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte("http:127.0.0.1")) {
		t.Fatalf("%s, %v", b, err)
	}
	replace(t, file, bytes.Replace(b, []byte("127.0.0.1"), []byte(address), 1))
	linkModules(t, lang, dir)
	if status, out, talk := command(t, "build", dir); status != 0 || !strings.Contains(out, "4 cases passed") {
		t.Fatalf("%s%s", out, talk)
	}
	b, err = os.ReadFile(filepath.Join(dir, "station.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGuestStation builds the worked example in each language that is here: all answer alike, byte for byte,
// and each takes over the state of the one before.
func TestGuestStation(t *testing.T) {
	modules := map[string][]byte{}
	h := newStationHost(t)
	want, from := "", ""
	for _, lang := range guest.Languages() {
		t.Run(lang, func(t *testing.T) {
			if tool := missing(lang); tool != "" {
				t.Skipf("%s is not here", tool)
			}
			h.forget(t)
			bin := buildStation(t, lang, h.address())
			m, err := isomer.New(t.Context(), bin, h.options()...)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			modules[lang] = bin
			got := h.exercise(t, m, true)
			if want == "" {
				want, from = got, lang
				stationAnswers(t, got)
			}
			wants := strings.Split(want, "\n")
			for k, line := range strings.Split(got, "\n") {
				if k >= len(wants) || line != wants[k] {
					t.Errorf("%s answers %.200q, and %s %.200q", lang, line, from, wants[min(k, len(wants)-1)])
				}
			}
			for _, line := range []string{"a line for stderr\n", "level=INFO msg=\"the roof is dry\"", "level=ERROR msg=\"the röof is wet\""} {
				if !strings.Contains(h.log.String(), line) {
					t.Errorf("no %q in the log:\n%s", line, h.log.String())
				}
			}
			if len(h.published) != 1 || h.published[0] != "station.roof 21.5" {
				t.Errorf("published %q", h.published)
			}
			stationDenied(t, bin)
		})
	}
	stationState(t, h, modules)
}

// stationAnswers checks lines that depend on the host; that all languages agree does not make them right.
func stationAnswers(t *testing.T, transcript string) {
	t.Helper()
	for _, line := range []string{
		"count 100000 = 100003", `brightness = {"mean":105}`, "get place = none", "get place = value the roof", "get empty = value ", "keys  = empty,long,place",
		"publish elsewhere x = no: subject \"elsewhere\" is not allowed", "publish station.roof full = no: the line is full", "random 0 = ",
		"fetch POST http://HOST/a/b body of two lines = 418 roof seven POST /a/b body\nof two lines", "fetch  http://HOST/ = 418 roof seven GET / ",
		"fetch GET http://localhost:1/ = no: host \"localhost:1\" is not allowed", "whistle = no: no request whistle",
	} {
		if !strings.Contains(transcript, "\n"+line+"\n") {
			t.Errorf("no answer %q", line)
		}
	}
}

// stationDenied opens the module on a host that lends nothing: refused, with the list.
func stationDenied(t *testing.T, bin []byte) {
	t.Helper()
	_, err := isomer.New(t.Context(), bin)
	missing, ok := errors.AsType[*isomer.PermissionError](err)
	if !ok || len(missing.Missing) < 6 {
		t.Errorf("without a grant: %v", err)
	}
}

// stationState hands one number through all languages, twice.
func stationState(t *testing.T, h *stationHost, modules map[string][]byte) {
	var m *isomer.Module
	total := 0
	for range 2 {
		for _, lang := range guest.Languages() {
			bin, ok := modules[lang]
			if !ok {
				continue
			}
			var err error
			if m == nil {
				m, err = isomer.New(t.Context(), bin, h.options()...)
				if err == nil {
					defer m.Close()
				}
			} else {
				err = m.Swap(t.Context(), bin)
			}
			if err != nil {
				t.Fatalf("%s: %v", lang, err)
			}
			total += 3
			if out, err := m.Call(t.Context(), "count", []byte("abc")); err != nil || string(out) != strconv.Itoa(total) {
				t.Errorf("%s after the others: %s, %v; want %d", lang, out, err, total)
			}
		}
	}
}

// TestGuestImports checks that a module imports what it uses, and nothing else.
func TestGuestImports(t *testing.T) {
	for _, lang := range guest.Languages() {
		t.Run(lang, func(t *testing.T) {
			dir := newMeter(t, lang)
			if status, _, talk := command(t, "build", dir); status != 0 {
				t.Fatal(talk)
			}
			b, err := os.ReadFile(filepath.Join(dir, "meter.wasm"))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte("isomer:host/")) {
				t.Error("the module imports from its host")
			}
		})
	}
}

// TestGuestWitBindgen builds a module whose border wit-bindgen writes, both sides of it, and asks it what it asks
// the example station. The crate comes from crates.io, so it is built only where that is wanted.
func TestGuestWitBindgen(t *testing.T) {
	if tool := missing("rust"); tool != "" {
		t.Skipf("%s is not here", tool)
	}
	if os.Getenv("ISOMER_WIT_BINDGEN") == "" {
		t.Skip("ISOMER_WIT_BINDGEN is not set: crates.io is not asked for wit-bindgen")
	}
	root := t.TempDir()
	for _, part := range []string{"wit", "example/wit"} {
		if err := os.CopyFS(filepath.Join(root, part), os.DirFS(filepath.Join("../../guest", part))); err != nil {
			t.Fatal(err)
		}
	}
	target := os.Getenv("CARGO_TARGET_DIR") // saves two minutes where it is kept
	if target == "" {
		target = filepath.Join(root, "target")
	}
	cargo := exec.Command("cargo", "build", "--release", "--locked", "--target", "wasm32-unknown-unknown")
	cargo.Dir, cargo.Env = filepath.Join(root, "example", "wit"), append(os.Environ(), "CARGO_TARGET_DIR="+target)
	if out, err := cargo.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bin, err := os.ReadFile(filepath.Join(target, "wasm32-unknown-unknown", "release", "visitor.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	h := newStationHost(t)
	m, err := isomer.New(t.Context(), bin, h.options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var names []string
	for _, f := range m.Functions() {
		names = append(names, string(f.Convention)+" "+f.Name)
	}
	if got := strings.Join(names, ", "); got != "bytes ask, image brightness, bytes count, scalar half-of" {
		t.Errorf("functions: %s", got)
	}
	if half, err := m.CallScalar(t.Context(), "half-of", isomer.F64(3)); err != nil || len(half) != 1 || half[0].Float() != 1.5 {
		t.Errorf("half of 3 is %v, %v", half, err)
	}
	stationAnswers(t, h.exercise(t, m, false))
	h.forget(t)

	// The state of a module in C, and back.
	if missing("c") == "" {
		modules := map[string][]byte{"c": buildStation(t, "c", h.address()), "rust": bin}
		stationState(t, h, modules)
	}
}
