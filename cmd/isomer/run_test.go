package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
)

// answerTime bounds each wait of a test: it is for machines that are busy; nothing waits this long when all is well.
const answerTime = time.Minute

// session is a command that runs, with its three ends.
type session struct {
	t      *testing.T
	in     *io.PipeWriter
	out    chan string
	events chan eventJSON
	exit   chan int
}

func begin(t *testing.T, ctx context.Context, args ...string) *session {
	inR, in := io.Pipe()
	outR, out := io.Pipe()
	errR, errW := io.Pipe()
	// Events are buffered: the module waits for whoever takes them.
	s := &session{t: t, in: in, out: make(chan string), events: make(chan eventJSON, 1000), exit: make(chan int, 1)}
	go func() {
		for lines := bufio.NewScanner(outR); lines.Scan(); {
			s.out <- lines.Text()
		}
	}()
	go func() {
		for lines := bufio.NewScanner(errR); lines.Scan(); {
			var e eventJSON
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e.Error = fmt.Sprintf("not an event: %s", lines.Text())
			}
			s.events <- e
		}
	}()
	go func() {
		s.exit <- execute(ctx, args, streams{in: inR, out: out, err: errW})
	}()
	return s
}

func (s *session) ask(line string) response {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
	return s.next()
}

func (s *session) next() response {
	s.t.Helper()
	var r response
	select {
	case line := <-s.out:
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	case code := <-s.exit:
		s.t.Fatalf("the command ended with %d", code)
	case <-time.After(answerTime):
		s.t.Fatal("no answer")
	}
	return r
}

func (s *session) wait(kind isomer.EventKind) eventJSON {
	s.t.Helper()
	timeout := time.After(answerTime)
	for {
		select {
		case e := <-s.events:
			if e.Event == kind {
				return e
			}
		case <-timeout:
			s.t.Fatalf("no event %q", kind)
		}
	}
}

func (s *session) end() {
	s.t.Helper()
	select {
	case code := <-s.exit:
		if code != 0 {
			s.t.Errorf("exit status %d", code)
		}
	case <-time.After(answerTime):
		s.t.Fatal("the command does not end")
	}
}

// replace puts a file in place the way an update arrives: by rename.
func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestRunFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kit.wasm")
	replace(t, path, kit(1))
	ctx, stop := context.WithCancel(t.Context())
	s := begin(t, ctx, "run", path, "--watch", "--json")
	if e := s.wait(isomer.Loaded); e.Version != "1.0.0" || e.Module != "kit" || len(e.SHA256) != 64 {
		t.Errorf("%+v", e)
	}
	version := func(want int) {
		t.Helper()
		if r := s.ask("version"); string(r.Output) != fmt.Sprintf(`{"version":%d}`, want) {
			t.Errorf("version %d: %s %s", want, r.Output, r.Error)
		}
	}
	version(1)

	replace(t, path, kit(2))
	if e := s.wait(isomer.Swapped); e.Version != "2.0.0" || e.TimesMS["total"] <= 0 {
		t.Errorf("%+v", e)
	}
	version(2)

	replace(t, path, kit(3)[:100])
	if e := s.wait(isomer.Refused); e.Error == "" || e.Step == "" {
		t.Errorf("%+v", e)
	}
	version(2)

	// A trap costs its own call and the instance, nothing else.
	if r := s.ask("trap"); !strings.Contains(r.Error, "trap") {
		t.Errorf("%+v", r)
	}
	version(2)

	stop()
	s.end()
}

func TestRunAnswersInOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kit.wasm")
	replace(t, path, kit(1))
	raw := filepath.Join(dir, "p.rgb")
	replace(t, raw, []byte("abcdef"))
	tensor := filepath.Join(dir, "x.f32")
	replace(t, tensor, make([]byte, 16))

	s := begin(t, t.Context(), "run", path, "--json")
	cases := []struct{ line, output, err string }{
		{`echo {"a": 1}`, `{"a":1}`, ""},
		{`  echo   [1,2]  `, `[1,2]`, ""},
		{`add [1, 2]`, `[3]`, ""},
		{`{"function": "echo", "input": {"b": 2}, "id": 7}`, `{"b":2}`, ""},
		{`{"function": "pixels", "image": "` + raw + `", "size": "2x1"}`, `{"base64":"YWJjZGVm"}`, ""},
		{`{"function": "run", "file": "` + tensor + `"}`, `{"outputs":[{"name":"y","dtype":"f32","shape":[1,4],"data":[0,0,0,0]}]}`, ""},
		{`pixels ` + filepath.Join(dir, "missing.png"), "", "no such file"},
		{`pixels {"x": 1}`, "", "no such file"},
		{`echo {a}`, "", "not JSON"},
		{`refuse`, "", "the meter is dark"},
		{`nothing 1`, "", `no function "nothing"`},
		{`{"function": "nothing"}`, "", `no function "nothing"`},
		{`{"function": "echo", "imput": 1}`, "", `unknown field "imput"`},
		{`{"function": "echo"} {}`, "", "more than one JSON value"},
		{`{"input": 1}`, "", "no function"},
		{`{"function": "echo", "input": 1, "file": "x"}`, "", "more than one of"},
		{`{"function"`, "", "request: "},
		{`version`, `{"version":1}`, ""},
	}
	for _, c := range cases {
		r := s.ask(c.line)
		if string(r.Output) != c.output || !strings.Contains(r.Error, c.err) || (c.err == "") != (r.Error == "") {
			t.Errorf("%s: %s, %q; want %s, %q", c.line, r.Output, r.Error, c.output, c.err)
		}
		if wantID := strings.Contains(c.line, `"id"`); wantID != (string(r.ID) == "7") {
			t.Errorf("%s: id %s", c.line, r.ID)
		}
	}
	// Empty lines get no answer, and many lines at once get theirs in order.
	go fmt.Fprint(s.in, "\n  \n", strings.Repeat("echo 1\necho 2\n", 50))
	for i := range 100 {
		if r := s.next(); string(r.Output) != fmt.Sprint(i%2+1) {
			t.Fatalf("answer %d: %+v", i, r)
		}
	}
	if err := s.in.Close(); err != nil {
		t.Fatal(err)
	}
	s.end()
}

// TestRunReadsRegularFilesAlone asks for what never ends.
func TestRunReadsRegularFilesAlone(t *testing.T) {
	if _, err := os.Stat(os.DevNull); err != nil || os.DevNull != "/dev/null" {
		t.Skip("skipped: this system has no /dev/zero")
	}
	path := filepath.Join(t.TempDir(), "kit.wasm")
	replace(t, path, kit(1))
	s := begin(t, t.Context(), "run", path)
	for _, what := range []string{"file", "image"} {
		r := s.ask(fmt.Sprintf(`{"function": "version", %q: "/dev/zero"}`, what))
		if r.Error != "/dev/zero: not a regular file" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if r := s.ask("version"); r.Error != "" {
		t.Errorf("after that: %+v", r)
	}
	s.in.Close()
	s.end()
}

// TestRunEndsWithoutReader stops a command whose answers nobody reads: its write waits, and the signal ends it.
func TestRunEndsWithoutReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kit.wasm")
	replace(t, path, kit(1))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := blockedWriter{began: make(chan struct{}), end: make(chan struct{})}
	defer close(out.end)
	var talk strings.Builder
	exit := make(chan int, 1)
	go func() {
		exit <- execute(ctx, []string{"run", path}, streams{in: strings.NewReader("nothing\n"), out: out, err: &talk})
	}()
	select {
	case <-out.began:
	case <-time.After(answerTime):
		t.Fatal("no answer was written")
	}
	stop()
	select {
	case code := <-exit:
		if code != exitFailure || !strings.Contains(talk.String(), "nobody read it\nhint: ") {
			t.Errorf("exit %d: %s", code, talk.String())
		}
	case <-time.After(answerTime):
		t.Fatal("the signal did not end the command")
	}
}

// TestRunLastAnswer reads the answer that waits only after the signal: it is not lost.
func TestRunLastAnswer(t *testing.T) {
	r, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	written := make(chan error, 1)
	go func() { written <- writeAnswer(ctx, w, []byte("answer\n")) }()
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "answer\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// blockedWriter is a pipe that is full: a write waits until the test ends.
type blockedWriter struct{ began, end chan struct{} }

func (b blockedWriter) Write(p []byte) (int, error) {
	close(b.began)
	<-b.end
	return 0, io.ErrClosedPipe
}
