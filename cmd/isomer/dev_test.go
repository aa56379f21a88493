package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// devTime bounds each wait: a compiler on a busy machine takes its time.
const devTime = 5 * time.Minute

// devSession is "isomer dev --json" at work.
type devSession struct {
	t      *testing.T
	dir    string
	in     *io.PipeWriter
	out    chan string
	events chan devEvent
	exit   chan int
	stop   context.CancelFunc
}

func beginDev(t *testing.T, dir string, args ...string) *devSession {
	ctx, stop := context.WithCancel(t.Context())
	inR, in := io.Pipe()
	outR, out := io.Pipe()
	errR, errW := io.Pipe()
	s := &devSession{t: t, dir: dir, in: in, stop: stop, out: make(chan string, 100), events: make(chan devEvent, 1000), exit: make(chan int, 1)}
	go func() {
		for lines := bufio.NewScanner(outR); lines.Scan(); {
			s.out <- lines.Text()
		}
	}()
	go func() {
		lines := bufio.NewScanner(errR)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e devEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e.Event = fmt.Sprintf("not an event: %s", lines.Text())
			}
			s.events <- e
		}
	}()
	go func() {
		s.exit <- execute(ctx, append([]string{"dev", dir, "--json"}, args...), streams{in: inR, out: out, err: errW})
	}()
	t.Cleanup(stop)
	return s
}

// want waits for what comes of a save; empty: whatever comes.
func (s *devSession) want(event string) devEvent {
	s.t.Helper()
	select {
	case e := <-s.events:
		if event != "" && e.Event != event {
			s.t.Fatalf("%+v, want %q", e, event)
		}
		return e
	case code := <-s.exit:
		s.t.Fatalf("the command ended with %d", code)
	case <-time.After(devTime):
		s.t.Fatalf("no event, want %q", event)
	}
	return devEvent{}
}

// answers calls total of 1000 pulses.
func (s *devSession) answers(want string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, "total [250, 750]"); err != nil {
		s.t.Fatal(err)
	}
	select {
	case line := <-s.out:
		var r response
		if err := json.Unmarshal([]byte(line), &r); err != nil || strings.TrimRight(strings.TrimSuffix(string(r.Output), "}"), "0.") != want {
			s.t.Fatalf("%s, want %s", line, want)
		}
	case <-time.After(devTime):
		s.t.Fatal("no answer")
	}
}

// edit replaces a part of a file, the way an editor saves.
func (s *devSession) edit(file, old, new string) {
	s.t.Helper()
	path := filepath.Join(s.dir, file)
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(old)) {
		s.t.Fatalf("%s: no %q in it: %v", file, old, err)
	}
	replace(s.t, path, bytes.Replace(b, []byte(old), []byte(new), 1))
}

// devSources are the edits of the test in each language.
var devSources = map[string]struct {
	main, scale, constant, include, included string
	folder                                   func(per string) string
	// moved is what comes of a constant that moves into the folder: Go's bytes know the packages.
	moved string
}{
	"go": {
		main: "main.go", scale: "scale/scale.go", constant: "const pulsesPerKWh = 1000", include: "import (\n", included: "import (\n\t\"example.com/meter/scale\"\n",
		folder: func(per string) string { return "package scale\n\nconst PulsesPerKWh = " + per + "\n" },
		moved:  devBuilt,
	},
	"c": {
		main: "main.c", scale: "scale/scale.h", constant: "enum { pulses_per_kwh = 1000 };", include: "#include \"isomer.h\"", included: "#include \"isomer.h\"\n#include \"scale/scale.h\"",
		folder: func(per string) string { return "enum { pulses_per_kwh = " + per + " };\n" },
		moved:  devSame,
	},
}

func TestDev(t *testing.T) {
	for lang, src := range devSources {
		t.Run(lang, func(t *testing.T) {
			if tool := missing(lang); tool != "" {
				t.Skipf("%s is not here", tool)
			}
			dir := filepath.Join(t.TempDir(), "meter")
			if status, _, talk := command(t, "new", dir, "--lang", lang); status != 0 {
				t.Fatal(talk)
			}
			// The interpreter begins sooner, and Go's modules have megabytes.
			s := beginDev(t, dir, "--engine", "interp")
			first := s.want(devBuilt)
			if first.Module != "meter" || len(first.Cases) != 4 || first.BuildMS <= 0 || first.SwapMS <= 0 {
				t.Errorf("%+v", first)
			}
			s.answers(`{"kWh":1`)

			s.edit(src.main, "1000", "1000 ]")
			if e := s.want(devFailed); !strings.Contains(e.Output, src.main) || e.SHA256 != first.SHA256 {
				t.Errorf("%+v", e)
			}
			s.answers(`{"kWh":1`)

			s.edit(src.main, "1000 ]", "500")
			e := s.want(devRefused)
			if len(e.Cases) != 4 || e.Cases[0].Passed || !strings.Contains(e.Cases[0].Error, "kWh differs: got 2, want 1") || !e.Cases[1].Passed || !e.Cases[2].Passed {
				t.Errorf("%+v", e)
			}
			if line := e.String(); !strings.Contains(line, "3 of 4 cases passed") || !strings.Contains(line, "\n  cases[0] total: ") || !strings.Contains(line, "serves on") {
				t.Error(line)
			}
			s.answers(`{"kWh":1`)

			s.edit(src.main, "500", "1000")
			s.want(devSame)

			s.edit("isomer.json", `"version"`, `"versoin"`)
			if e := s.want(devFailed); !strings.Contains(e.Error, "versoin") {
				t.Errorf("%+v", e)
			}
			replace(t, filepath.Join(dir, "isomer.json"), []byte(`{"name": "meter", "version": "0.2.0", "language": "`+lang+`",
				"functions": [{"name": "total", "convention": "bytes", "input": "json", "output": "json"}]}`))
			if e := s.want(devBuilt); e.Version != "0.2.0" || e.SHA256 == first.SHA256 {
				t.Errorf("%+v", e)
			}

			// A source in a new folder, and a save of it while nothing else changes.
			scale := filepath.Join(dir, src.scale)
			if err := os.MkdirAll(filepath.Dir(scale), 0o755); err != nil {
				t.Fatal(err)
			}
			replace(t, scale, []byte(src.folder("1000")))
			s.want(devSame)
			if lang == "go" {
				s.edit(src.main, src.include, src.included)
				s.want(devFailed) // imported, not used yet
				s.edit(src.main, src.constant, "const pulsesPerKWh = scale.PulsesPerKWh")
			} else {
				s.edit(src.main, src.include, src.included)
				s.want(devFailed) // defined twice
				s.edit(src.main, src.constant, "")
			}
			s.want(src.moved)
			replace(t, scale, []byte(src.folder("500")))
			s.want(devBuilt)
			s.answers(`{"kWh":2`)

			// What is written into outputs is no save. After stdin's end saves are followed on; a signal ends all.
			if err := os.MkdirAll(filepath.Join(dir, "node_modules", "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(dir, "node_modules", "x", "y.ts"), []byte("x"))
			if err := s.in.Close(); err != nil {
				t.Fatal(err)
			}
			replace(t, scale, []byte(src.folder("250")))
			s.want(devBuilt)
			s.stop()
			select {
			case code := <-s.exit:
				if code != 0 {
					t.Errorf("exit status %d", code)
				}
			case <-time.After(devTime):
				t.Fatal("the command does not end")
			}
		})
	}
}

// TestDevWaits begins with a project that does not build: calls wait for the first module that is good, and a
// save in the middle of a build is the next build's.
func TestDevWaits(t *testing.T) {
	lang := "c"
	if missing(lang) != "" {
		lang = "go"
	}
	src := devSources[lang]
	dir := filepath.Join(t.TempDir(), "meter")
	if status, _, talk := command(t, "new", dir, "--lang", lang); status != 0 {
		t.Fatal(talk)
	}
	path := filepath.Join(dir, src.main)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, []byte("nonsense"))
	s := beginDev(t, dir)
	if e := s.want(devFailed); e.SHA256 != "" || !strings.Contains(e.String(), "nothing serves yet") {
		t.Errorf("%+v", e)
	}
	go fmt.Fprintln(s.in, "total [1000]")
	for k := range 20 { // whichever of them a build meets, the last one counts
		replace(t, path, fmt.Appendf(nil, "%s\n// %d", good, k))
	}
	for deadline := time.Now().Add(devTime); ; {
		select {
		case <-s.events:
			continue
		case line := <-s.out:
			if !strings.Contains(line, `"kWh":1`) {
				t.Error(line)
			}
		case <-time.After(time.Until(deadline)):
			t.Fatal("no answer")
		}
		break
	}
	s.stop()
	if code := <-s.exit; code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestDevAllow develops a module that asks its host for something: refused with the list until it is granted.
func TestDevAllow(t *testing.T) {
	if tool := missing("c"); tool != "" {
		t.Skipf("%s is not here", tool)
	}
	dir := filepath.Join(t.TempDir(), "station")
	if status, _, talk := command(t, "new", dir, "--lang", "c", "--example", "station"); status != 0 {
		t.Fatal(talk)
	}
	s := beginDev(t, dir)
	if e := s.want(devRefused); !strings.Contains(e.Error, "--allow random") || len(e.Cases) != 4 || !e.Cases[3].Passed {
		t.Errorf("%+v", e)
	}
	s.stop()
	<-s.exit
	s = beginDev(t, dir, "--allow", "log", "--allow", "clock", "--allow", "random", "--allow", "kv="+t.TempDir(), "--allow", "http=127.0.0.1", "--allow", "publish=station.>")
	first := s.want(devBuilt)
	count := func(want string) {
		t.Helper()
		if _, err := fmt.Fprintln(s.in, "count 1"); err != nil {
			t.Fatal(err)
		}
		select {
		case line := <-s.out:
			if !strings.Contains(line, want) {
				t.Errorf("%s, want %s", line, want)
			}
		case <-time.After(devTime):
			t.Fatal("no answer")
		}
	}
	count("MQ==") // base64 of 1
	s.edit("main.c", `"no request "`, `"no such request "`)
	s.edit("isomer.json", `"no request"`, `"no such request"`)
	for e := s.want(""); e.SHA256 == first.SHA256; e = s.want("") { // a build may come between the two saves
	}
	count("Mg==") // the state was carried
	s.stop()
	if code := <-s.exit; code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestDevRefused(t *testing.T) {
	if status, _, talk := command(t, "dev", t.TempDir()); status != exitFailure || !strings.Contains(talk, "isomer new NAME") {
		t.Errorf("status %d, %s", status, talk)
	}
	for _, args := range [][]string{{"dev"}, {"dev", "x", "--engine", "steam"}} {
		if status, _, talk := command(t, args...); status != exitUsage {
			t.Errorf("%v: status %d, %s", args, status, talk)
		}
	}
}

// TestSources checks what counts as a change.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := &sources{dir: dir}
	last, err := s.digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, text string
		changes    bool
	}{
		{"main.c", "a", true}, {"main.c", "a", false}, {"main.c", "b", true}, {"deep/er/x.h", "a", true},
		{"node_modules/x/y.ts", "a", false}, {"target/x.rs", "a", false}, {".git/HEAD", "a", false},
		{"m.wasm", "a", false}, {".main.c.swp", "a", false}, {"main.c~", "a", false}, {"Cargo.lock", "a", false},
		{"isomer.json", "{}", true}, {"build/x.c", "a", true},
	} {
		write(c.file, c.text)
		now, err := s.digest()
		if err != nil || (now != last) != c.changes {
			t.Errorf("%s: changed %v, want %v; %v", c.file, now != last, c.changes, err)
		}
		last = now
	}
}

// TestSourcesMadeAgain moves the folder away, as a checkout or an unpacked archive does, and makes it anew.
func TestSourcesMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "meter")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := watchSources(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for k := range 3 { // at most two are of the renaming itself
		select {
		case <-s.changed:
		case <-time.After(devTime):
			t.Fatalf("%d marks: the new folder is not looked at", k)
		}
	}
}
