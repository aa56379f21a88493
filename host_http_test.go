package isomer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// server is what the guest's requests meet. Its host is 127.0.0.1 with the port of the listener.
type server struct {
	*httptest.Server
	hits atomic.Int32
	last atomic.Pointer[http.Request]
	body atomic.Pointer[[]byte]
}

func newServer(t testing.TB, handler func(w http.ResponseWriter, r *http.Request)) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		b, _ := io.ReadAll(r.Body)
		s.last.Store(r)
		s.body.Store(&b)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func fetch(t testing.TB, m *isomer.Module, method, url string, headers pairs, body string) reply {
	t.Helper()
	return mustLend(t, m, "http.fetch", method, url, headers, body, uint32(hostRet))
}

func (r reply) status() uint16 { return uint16(r.u32(hostRet + 4)) }
func (r reply) body() string   { return r.text(hostRet + 16) }

func (r reply) header(name string) string {
	at, n := r.u32(hostRet+8), r.u32(hostRet+12)
	for k := range n {
		if r.text(at+16*k) == name {
			return r.text(at + 16*k + 8)
		}
	}
	return ""
}

func openFetch(t testing.TB, opts ...isomer.Option) *isomer.Module {
	t.Helper()
	return openBytes(t, hostGuest{imports: []string{"http.fetch"}}.build(), opts...)
}

func TestFetch(t *testing.T) {
	onEngines(t, func(t *testing.T, engines ...isomer.Option) {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Answer", "42")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "body")
		})
		t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // nobody is there
		m := openFetch(t, append(engines, isomer.AllowHTTP(s.host()))...)
		r := fetch(t, m, "POST", s.URL+"/path?q=1#part", pairs{{"x-one", "1"}, {"X-Two", "a"}, {"x-two", "b"}}, "input")
		if err := r.err(); err != nil || r.status() != http.StatusTeapot || r.body() != "body" || r.header("X-Answer") != "42" {
			t.Fatalf("%v, %d, %q, %q", err, r.status(), r.body(), r.header("X-Answer"))
		}
		got := s.last.Load()
		if got.Method != "POST" || got.URL.String() != "/path?q=1" || got.Header.Get("X-One") != "1" || len(got.Header["X-Two"]) != 2 ||
			got.Header.Get("User-Agent") != "isomer" || string(*s.body.Load()) != "input" {
			t.Errorf("the server got %s %s %v %q", got.Method, got.URL, got.Header, *s.body.Load())
		}
		if r := fetch(t, m, "GET", strings.ToUpper(s.URL[:4])+s.URL[4:], pairs{{"User-Agent", "meter/1"}}, ""); r.err() != nil || s.last.Load().Header.Get("User-Agent") != "meter/1" {
			t.Errorf("%v, %v", r.err(), s.last.Load().Header)
		}
	})
}

func TestFetchRefuses(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	other := newServer(t, func(http.ResponseWriter, *http.Request) {})
	m := openFetch(t, isomer.AllowHTTP(s.host(), "api.example.com"))
	port := s.host()[strings.LastIndexByte(s.host(), ':'):]
	for _, tt := range []struct {
		method, url, want string
		headers           pairs
	}{
		{"GET", other.URL, "is not allowed", nil},
		{"GET", "http://localhost" + port, `host "localhost` + port + `" is not allowed`, nil},
		{"GET", "http://api.example.com.evil.example/", "is not allowed", nil},
		{"GET", "http://evilapi.example.com/", "is not allowed", nil},
		{"GET", "http://sub.api.example.com/", "is not allowed", nil},
		{"GET", "http://api.example.com:8080/", "is not allowed", nil},
		{"GET", "http://api.example.com:443/", "is not allowed", nil}, // http on the port of https
		{"GET", "http://api.example.com./", "dot at its end", nil},
		{"GET", "http://api.example.com@" + s.host() + "/", "user and password", nil},
		{"GET", "http://user:pw@" + s.host() + "/", "user and password", nil},
		{"GET", `http://api.example.com\@evil.example/`, "url: ", nil},
		{"GET", "http://ａpi.example.com/", "url: ", nil},
		{"GET", "ftp://" + s.host(), "scheme", nil}, {"GET", "file:///etc/passwd", "scheme", nil}, {"GET", "//" + s.host(), "scheme", nil}, {"GET", "", "scheme", nil},
		{"GET", "http:" + s.host(), "no host", nil}, {"GET", "http:///x", "no host", nil}, {"GET", "http://%zz/", "url: ", nil},
		{"GET", "http://" + s.host() + "/a\r\nHost: evil", "url: ", nil},
		{"GET", s.URL + "/" + strings.Repeat("a", abi.MaxURL), "bytes, at most", nil},
		{"CONNECT", s.URL, "method", nil}, {"TRACE", s.URL, "method", nil}, {"get", s.URL, "method", nil}, {"", s.URL, "method", nil}, {"GET / HTTP/1.1\r\n", s.URL, "method", nil},
		{"GET", s.URL, "host's to set", pairs{{"Host", "evil.example"}}}, {"GET", s.URL, "host's to set", pairs{{"content-length", "0"}}},
		{"GET", s.URL, "host's to set", pairs{{"Transfer-Encoding", "chunked"}}}, {"GET", s.URL, "host's to set", pairs{{"proxy-authorization", "x"}}},
		{"GET", s.URL, "control character", pairs{{"X", "a\r\nEvil: 1"}}}, {"GET", s.URL, "control character", pairs{{"X", "a\x00"}}},
		{"GET", s.URL, "no name of a header", pairs{{"X: y\r\nZ", "1"}}}, {"GET", s.URL, "no name of a header", pairs{{"", "1"}}}, {"GET", s.URL, "no name of a header", pairs{{"ä", "1"}}},
		{"GET", s.URL, "headers: 129", make(pairs, 129)}, {"GET", s.URL, "bytes of headers", pairs{{"X", strings.Repeat("a", abi.MaxHeaderText)}}},
	} {
		wantRefusal(t, tt.method+" "+tt.url, fetch(t, m, tt.method, tt.url, tt.headers, ""), tt.want)
	}
	wantRefusal(t, "a long body", fetch(t, openFetch(t, isomer.AllowHTTP(s.host()), isomer.WithHTTP(isomer.HTTPConfig{MaxBody: 10})), "PUT", s.URL, nil, "12345678901"), "11 bytes")
	if n := s.hits.Load() + other.hits.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// With a manifest its list counts, not the whole of what is granted.
	m = openBytes(t, hostGuest{imports: []string{"http.fetch"}, manifest: named("m", "1", "http:api.example.com")}.build(), isomer.AllowHTTP(s.host(), "api.example.com"))
	wantRefusal(t, "granted and not declared", fetch(t, m, "GET", s.URL, nil, ""), "is not allowed")
}

func TestFetchRedirects(t *testing.T) {
	evil := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") })
	friend := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "friend") })
	s := newServer(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{
			"/evil": evil.URL, "/friend": friend.URL, "/here": "/there", "/file": "file:///etc/passwd", "/user": "http://u:p@" + friend.host(),
			"/twice": "/evil", "/loop": "/loop",
		}[r.URL.Path]
		if to == "" {
			_, _ = io.WriteString(w, "there")
			return
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	})
	m := openFetch(t, isomer.AllowHTTP(s.host(), friend.host()))
	secret := pairs{{"Authorization", "secret"}, {"X-Api-Key", "secret"}}
	if r := fetch(t, m, "POST", s.URL+"/here", secret, "x"); r.err() != nil || r.body() != "there" {
		t.Errorf("%v, %q", r.err(), r.body())
	}
	if r := fetch(t, m, "POST", s.URL+"/friend", secret, "x"); r.err() != nil || r.body() != "friend" || string(*friend.body.Load()) != "x" {
		t.Errorf("%v, %q", r.err(), r.body())
	}
	if h := friend.last.Load().Header; h.Get("Authorization")+h.Get("X-Api-Key")+h.Get("Referer") != "" {
		t.Errorf("another host got %v", h)
	}
	for path, want := range map[string]string{
		"/evil": "redirect: host", "/twice": "redirect: host", "/file": "redirect: url: scheme", "/user": "redirect: url: user", "/loop": "redirect: more than 5",
	} {
		wantRefusal(t, path, fetch(t, m, "GET", s.URL+path, nil, ""), want)
	}
	if evil.hits.Load() != 0 {
		t.Error("a host that nobody allowed was asked")
	}
}

func TestFetchTLS(t *testing.T) {
	plain := newServer(t, func(http.ResponseWriter, *http.Request) {})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of clients that do not trust it
	s.StartTLS()
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	wantRefusal(t, "an unknown certificate", fetch(t, openFetch(t, isomer.AllowHTTP(host)), "GET", s.URL, nil, ""), "certificate")
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	m := openFetch(t, isomer.AllowHTTP(host, plain.host()), isomer.WithHTTP(isomer.HTTPConfig{TLS: &tls.Config{RootCAs: pool}}))
	if r := fetch(t, m, "GET", s.URL, nil, ""); r.err() != nil || r.status() != 200 {
		t.Errorf("%v, %d", r.err(), r.status())
	}
	wantRefusal(t, "from https to http", fetch(t, m, "GET", s.URL+"/plain", nil, ""), "from https to http")
}

func TestFetchLimits(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1001))
		case "/fits":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 100_000))
		case "/slow":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "x")
		}
	})
	t.Cleanup(func() { close(release) })
	m := openFetch(t, isomer.AllowHTTP(s.host(), "nobody.invalid"), isomer.WithHTTP(isomer.HTTPConfig{MaxBody: 1000, Timeout: 200 * time.Millisecond}))
	if r := fetch(t, m, "GET", s.URL+"/fits", nil, ""); r.err() != nil || len(r.body()) != 1000 {
		t.Errorf("%v, %d bytes", r.err(), len(r.body()))
	}
	wantRefusal(t, "a long answer", fetch(t, m, "GET", s.URL+"/long", nil, ""), "more than 1000 bytes")
	wantRefusal(t, "a slow answer", fetch(t, m, "GET", s.URL+"/slow", nil, ""), "no answer within 200ms")
	patient := openFetch(t, isomer.AllowHTTP(s.host()))
	wantRefusal(t, "long headers", fetch(t, patient, "GET", s.URL+"/headers", nil, ""), "header")
	wantRefusal(t, "an answer cut off", fetch(t, patient, "GET", s.URL+"/cut", nil, ""), "EOF")

	s.Close()
	r := fetch(t, patient, "GET", s.URL, nil, "")
	wantRefusal(t, "nobody there", r, "refused")
	if strings.Contains(fmt.Sprint(r.err()), "127.0.0.1") {
		t.Errorf("the host's addresses are told: %v", r.err())
	}
}

func TestFetchEndsWithItsCall(t *testing.T) {
	var arrived atomic.Pointer[context.CancelFunc]
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		(*arrived.Load())()
		<-r.Context().Done()
	})
	m := openFetch(t, isomer.AllowHTTP(s.host()))
	ctx, cancel := context.WithCancel(t.Context())
	arrived.Store(&cancel)
	_, err := m.Call(ctx, "http.fetch", hostInput("GET", s.URL, pairs{}, "", uint32(hostRet)))
	var limit *isomer.LimitError
	if !errors.As(err, &limit) || limit.Limit != engine.Canceled {
		t.Errorf("err = %v", err)
	}
}
