package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/node/local"
)

// echo is a node whose function "echo" answers with what it got, and whose "fail" fails.
type echo struct{ gate chan struct{} }

var errFail = errors.New("it fails")

func (e echo) Call(ctx context.Context, module, function, encoding string, body []byte) (local.Answer, error) {
	switch function {
	case "fail":
		return local.Answer{Release: module + "@1.0.0"}, errFail
	case "wait":
		select {
		case <-e.gate:
		case <-ctx.Done():
			return local.Answer{}, ctx.Err()
		}
	}
	return local.Answer{
		Body: []byte(module + " " + function + " " + encoding + " " + string(body)), Encoding: "text/plain", Release: module + "@1.0.0", Digest: "ab", Took: time.Millisecond,
	}, nil
}
func (e echo) HasPath(path string) bool { return path == "/frames" }
func (e echo) Feed(ctx context.Context, path, encoding string, body []byte) (local.Answer, error) {
	return e.Call(ctx, "bound", path, encoding, body)
}
func (e echo) Code(error) int { return http.StatusUnprocessableEntity }
func (e echo) Status() local.Status {
	return local.Status{Report: fleet.Report{Node: "dev1"}, Connected: true}
}
func (e echo) Modules() []local.Module {
	return []local.Module{{Name: "meter", Serves: true}, {Name: "other"}}
}

func serve(t testing.TB, l local.Listen) (*local.Server, string) {
	t.Helper()
	if l.Socket == "" && l.Address == "" {
		l.Address = "127.0.0.1:0"
	}
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "isomer_test_total", Help: "For a test."})
	reg.MustRegister(c)
	s, err := local.Serve(l, local.Config{Node: echo{make(chan struct{})}, Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, "http://" + s.Addr()
}

// ask sends a request with headers as "Name: value".
func ask(t testing.TB, c *http.Client, method, url string, body io.Reader, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= 400 { // each error is JSON
		var e struct {
			Error string
			Code  int
		}
		if json.Unmarshal(b, &e) != nil || resp.StatusCode != http.StatusServiceUnavailable && (e.Error == "" || e.Code != resp.StatusCode) {
			t.Errorf("%s %s: %d %s", method, url, resp.StatusCode, b)
		}
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestCalls(t *testing.T) {
	t.Parallel()
	_, url := serve(t, local.Listen{MaxBody: 100})
	c := http.DefaultClient
	call := url + "/v1/modules/meter/call/"
	for _, r := range []struct {
		what, method, url, body, kind string
		status                        int
		answer                        string
	}{
		{"bytes", "POST", call + "echo", "\x01\x00", "application/octet-stream", 200, "meter echo  \x01\x00"},
		{"what curl sends", "POST", call + "echo", `{"a":1}`, "application/x-www-form-urlencoded", 200, `meter echo  {"a":1}`},
		{"JSON", "POST", call + "echo", `{"a":1}`, "application/json; charset=utf-8", 200, `meter echo application/json {"a":1}`},
		{"a picture", "POST", call + "echo", "jpg", "image/jpeg", 200, "meter echo image/jpeg jpg"},
		{"a function with a slash", "POST", call + "a%2Fb%23c", "x", "", 200, "meter a/b#c  x"},
		{"nothing", "POST", call + "echo", "", "", 200, "meter echo  "},
		{"a binding's path", "POST", url + "/frames", "x", "", 200, "bound /frames  x"},
		{"its own error", "POST", call + "fail", "", "", 422, "it fails"},
		{"a broken type", "POST", call + "echo", "", "a/b/c", 400, "content type"},
		{"a name that is none", "POST", url + "/v1/modules/..%2Fx/call/echo", "", "", 404, "module"},
		{"too much", "POST", call + "echo", strings.Repeat("x", 101), "", 413, "at most 100"},
		{"another method", "GET", call + "echo", "", "", 405, "POST"},
		{"another method of a binding", "GET", url + "/frames", "", "", 405, "POST"},
		{"another method of a list", "POST", url + "/v1/modules", "", "", 405, "GET"},
		{"nowhere", "GET", url + "/v1/secrets", "", "", 404, "nothing"},
		{"nowhere else", "POST", url + "/frames/x", "", "", 404, "nothing"},
	} {
		status, got, h := ask(t, c, r.method, r.url, strings.NewReader(r.body), "Content-Type: "+r.kind)
		if status != r.status || !strings.Contains(got, r.answer) {
			t.Errorf("%s: %d %q", r.what, status, got)
		}
		if status == 200 && (h.Get(fleet.ReleaseHeader) == "" || h.Get(fleet.TookHeader) == "") {
			t.Errorf("%s: headers %v", r.what, h)
		}
	}
	// Chunked, whose length nobody tells.
	if status, got, _ := ask(t, c, "POST", call+"echo", io.MultiReader(strings.NewReader(strings.Repeat("x", 101)))); status != 413 {
		t.Errorf("chunked: %d %s", status, got)
	}
	if status, got, _ := ask(t, c, "POST", call+"echo", io.MultiReader(strings.NewReader("x"))); status != 200 || got != "meter echo  x" {
		t.Errorf("chunked: %d %s", status, got)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	_, url := serve(t, local.Listen{})
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	if err := form.WriteField("note", "no file"); err != nil {
		t.Fatal(err)
	}
	part, err := form.CreateFormFile("image", "frame.jpg")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(part, "jpg")
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	url += "/v1/modules/meter/call/echo"
	if status, got, _ := ask(t, http.DefaultClient, "POST", url, &b, "Content-Type: "+form.FormDataContentType()); status != 200 || got != "meter echo  jpg" {
		t.Errorf("%d %q", status, got)
	}
	for _, body := range []string{"", "--b--\r\n", "--b\r\n\r\nx", strings.Repeat("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n", 100)} {
		if status, got, _ := ask(t, http.DefaultClient, "POST", url, strings.NewReader(body), "Content-Type: multipart/form-data; boundary=b"); status != 400 {
			t.Errorf("%q: %d %s", body, status, got)
		}
	}
}

func TestWhatItShows(t *testing.T) {
	t.Parallel()
	_, url := serve(t, local.Listen{})
	for path, want := range map[string]string{
		"/v1/modules": `"name":"meter"`, "/v1/status": `"connected":true`, "/healthz": `"missing":["other"]`, "/metrics": "\nisomer_test_total 0\n",
	} {
		if status, got, _ := ask(t, http.DefaultClient, "GET", url+path, nil); !strings.Contains(got, want) || (status != 200) != (path == "/healthz") {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s, url := serve(t, local.Listen{})
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		header string
		ok     bool
	}{
		{"Host: evil.example:" + port, false}, // DNS rebinding: its name leads to 127.0.0.1
		{"Host: 192.168.1.7", false},
		{"Host: localhost.evil.example", false},
		{"Host: 127.0.0.1.evil.example:" + port, false},
		{"Host: localhost:" + port, true},
		{"Host: [::1]:" + port, true},
		{"Origin: https://evil.example", false},
		{"Origin: http://localhost:3000", false}, // another program's page
		{"Origin: null", false},
		{"Origin: http://" + s.Addr(), true},
		{"Sec-Fetch-Site: cross-site", false},
		{"Sec-Fetch-Site: same-site", false},
		{"Sec-Fetch-Site: same-origin", true},
		{"Sec-Fetch-Site: none", true},
	} {
		for _, path := range []string{"/v1/modules/meter/call/echo", "/frames"} {
			if status, got, _ := ask(t, http.DefaultClient, "POST", url+path, nil, r.header); (status == 200) != r.ok || !r.ok && status != 403 {
				t.Errorf("%s: %d %s", r.header, status, got)
			}
		}
		if status, _, h := ask(t, http.DefaultClient, "OPTIONS", url+"/frames", nil, r.header, "Access-Control-Request-Method: POST"); status < 400 || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: it is allowed to ask: %d %v", r.header, status, h)
		}
	}
}

func TestTheSocketIsForItsGroup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "isomer.sock")
	s, _ := serve(t, local.Listen{Socket: path})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Fatalf("%v %v", info, err)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer c.CloseIdleConnections()
	if status, got, _ := ask(t, c, "POST", "http://isomer/v1/modules/meter/call/echo", strings.NewReader("x")); status != 200 || got != "meter echo  x" {
		t.Errorf("%d %s", status, got)
	}
	if _, err := local.Serve(local.Listen{Socket: path}, local.Config{Node: echo{}}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one: %v", err)
	}
	c.CloseIdleConnections()
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
	// One that a killed process left is taken over; a file is not.
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	s, _ = serve(t, local.Listen{Socket: path})
	s.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Serve(local.Listen{Socket: path}, local.Config{Node: echo{}}); err == nil {
		t.Error("a file is overwritten")
	}
	if _, err := local.Serve(local.Listen{Socket: filepath.Join(t.TempDir(), strings.Repeat("x", 100))}, local.Config{Node: echo{}}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long path: %v", err)
	}
}

func TestItListensOnLoopbackAlone(t *testing.T) {
	t.Parallel()
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.com:80", "nonsense"} {
		if s, err := local.Serve(local.Listen{Address: address}, local.Config{Node: echo{}}); err == nil {
			s.Close()
			t.Errorf("%s is taken", address)
		}
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	_, url := serve(t, local.Listen{Timeout: time.Second})
	address := strings.TrimPrefix(url, "http://")
	for what, begin := range map[string]string{
		"headers": "POST /v1/modules/meter/call/echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"body":    "POST /v1/modules/meter/call/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
		"silence": "",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, begin)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") { // until the server ends it
			t.Errorf("%s: %v", what, err)
		}
		_ = conn.Close()
	}
	// A call that hangs ends as well.
	if status, got, _ := ask(t, http.DefaultClient, "POST", url+"/v1/modules/meter/call/wait", nil); status != 422 || !strings.Contains(got, "deadline") {
		t.Errorf("%d %s", status, got)
	}
	if status, _, _ := ask(t, http.DefaultClient, "POST", url+"/v1/modules/meter/call/echo", nil); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestBodiesHaveABudget(t *testing.T) {
	t.Parallel()
	_, url := serve(t, local.Listen{MaxBody: 100})
	address := strings.TrimPrefix(url, "http://")
	// Each promises all that it may send, and sends nothing. More follow until
	// one byte is refused: that byte may have taken the place of one of them.
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "POST /frames HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
		status, _, h := ask(t, http.DefaultClient, "POST", url+"/frames", strings.NewReader("x"))
		if status == 503 && h.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("any number of bodies is taken")
		}
	}
	if status, _, _ := ask(t, http.DefaultClient, "GET", url+"/v1/status", nil); status != 200 {
		t.Errorf("the status: %d", status)
	}
}
