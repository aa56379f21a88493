package local

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type nobody struct{ t *testing.T }

func (n nobody) Call(_ context.Context, _, _, encoding string, body []byte) (Answer, error) {
	if len(body) > 1<<10 {
		n.t.Fatalf("a body of %d bytes", len(body))
	}
	return Answer{Body: body, Encoding: "application/octet-stream"}, nil
}
func (n nobody) HasPath(string) bool { return true }
func (n nobody) Feed(ctx context.Context, path, encoding string, body []byte) (Answer, error) {
	return n.Call(ctx, path, "", encoding, body)
}
func (nobody) Code(error) int    { return 500 }
func (nobody) Status() Status    { return Status{} }
func (nobody) Modules() []Module { return nil }

// FuzzBodies sends any body under any type to any path: an answer or an error comes, and the memory is given back.
func FuzzBodies(f *testing.F) {
	f.Add("/v1/modules/m/call/f", "application/json", "localhost", []byte(`{"a":1}`), true)
	f.Add("/frames", "multipart/form-data; boundary=b", "127.0.0.1:1", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"\r\nContent-Type: image/png\r\n\r\npng\r\n--b--\r\n"), false)
	f.Add("/v1/modules/m/call/f", "multipart/form-data; boundary=\"\"", "[::1]", []byte("--\r\n"), true)
	f.Add("/v1/status", "a/b; c", "", []byte{}, false)
	f.Fuzz(func(t *testing.T, path, kind, host string, body []byte, known bool) {
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		r.URL.Path, r.Host = path, host
		r.Header.Set("Content-Type", kind)
		if !known {
			r.ContentLength = -1
		}
		l := Listen{MaxBody: 1 << 10}
		h := &handler{c: Config{Node: nobody{t}}, max: l.MaxBody, deadline: time.Second, budget: budget{left: 4 * l.MaxBody}}
		for _, f := range []http.HandlerFunc{h.path, h.call} {
			w := httptest.NewRecorder()
			r.SetPathValue("name", "m")
			guard(f).ServeHTTP(w, r)
			if w.Code < 200 || w.Code > 599 {
				t.Fatalf("status %d", w.Code)
			}
		}
		if h.budget.left != 4*l.MaxBody {
			t.Fatalf("%d bytes are not given back", 4*l.MaxBody-h.budget.left)
		}
	})
}
