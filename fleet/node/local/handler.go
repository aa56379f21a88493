package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// handler answers requests.
type handler struct {
	c        Config
	log      *slog.Logger
	max      int64
	deadline time.Duration
	budget   budget
}

func newHandler(l Listen, deadline time.Duration, c Config) http.Handler {
	h := &handler{c: c, log: c.Log, max: l.MaxBody, deadline: deadline, budget: budget{left: 4 * l.MaxBody}}
	mux := http.NewServeMux()
	for pattern, f := range map[string]http.HandlerFunc{
		"/v1/modules/{name}/call/{function}": only(http.MethodPost, h.call),
		"/v1/modules":                        only(http.MethodGet, h.modules),
		"/v1/status":                         only(http.MethodGet, h.status),
		"/healthz":                           only(http.MethodGet, h.health),
		"/metrics":                           only(http.MethodGet, h.metrics),
		"/":                                  h.path,
	} {
		mux.HandleFunc(pattern, f)
	}
	return guard(mux)
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, format string, args ...any) {
	write(w, status, struct {
		Error string `json:"error"`
		Code  int    `json:"code"`
	}{fmt.Sprintf(format, args...), status})
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // no field can fail to encode
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON","code":500}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who asked went away
}

func only(method string, f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method && !(method == http.MethodGet && r.Method == http.MethodHead) {
			w.Header().Set("Allow", method)
			fail(w, http.StatusMethodNotAllowed, "%s takes %s alone", r.URL.Path, method)
			return
		}
		f(w, r)
	}
}

// guard refuses what a browser sends for a page of another origin, and names of this machine that it does not have.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if r.Context().Value(network{}) == "tcp" && !local(r.Host) { // no browser reaches a socket
			fail(w, http.StatusForbidden, "host %.80q is no name of this machine's loopback: use 127.0.0.1, [::1] or localhost", r.Host)
			return
		}
		if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
			fail(w, http.StatusForbidden, "a page of %.80q may not use the local API", o)
			return
		}
		switch site := r.Header.Get("Sec-Fetch-Site"); site {
		case "", "none", "same-origin":
		default:
			fail(w, http.StatusForbidden, "a page of another site may not use the local API (%.20s)", site)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether a Host header names loopback.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, h.c.Node.Status())
}

func (h *handler) modules(w http.ResponseWriter, _ *http.Request) {
	list := h.c.Node.Modules()
	if list == nil {
		list = []Module{}
	}
	write(w, http.StatusOK, list)
}

func (h *handler) health(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Status  string   `json:"status"`
		Missing []string `json:"missing,omitempty"` // modules that do not serve
	}{Status: "ok"}
	for _, m := range h.c.Node.Modules() {
		if !m.Serves {
			out.Missing = append(out.Missing, m.Name)
		}
	}
	code := http.StatusOK
	if len(out.Missing) > 0 {
		out.Status, code = "degraded", http.StatusServiceUnavailable
	}
	write(w, code, out)
}

// metrics writes the text that every Prometheus reads. The package promhttp does more, and is 300 kB of a device's program.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	if h.c.Metrics == nil {
		fail(w, http.StatusNotFound, "no metrics here")
		return
	}
	families, err := h.c.Metrics.Gather()
	if err != nil {
		h.log.Warn("metrics", "error", err)
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return // who asked went away
		}
	}
}

func (h *handler) call(w http.ResponseWriter, r *http.Request) {
	name, function := r.PathValue("name"), r.PathValue("function")
	if err := fleet.CheckName("module", name); err != nil {
		fail(w, http.StatusNotFound, "%v", err)
		return
	}
	h.answer(w, r, func(ctx context.Context, encoding string, body []byte) (Answer, error) {
		return h.c.Node.Call(ctx, name, function, encoding, body)
	})
}

// path feeds the binding that has it.
func (h *handler) path(w http.ResponseWriter, r *http.Request) {
	if !h.c.Node.HasPath(r.URL.Path) {
		fail(w, http.StatusNotFound, "nothing is at %.100q: see /v1/modules, /v1/status, /healthz, /metrics; a binding may have a path of its own", r.URL.Path)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "%s takes POST alone", r.URL.Path)
		return
	}
	h.answer(w, r, func(ctx context.Context, encoding string, body []byte) (Answer, error) {
		return h.c.Node.Feed(ctx, r.URL.Path, encoding, body)
	})
}

// answer reads the body, calls and writes what comes of it.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, call func(ctx context.Context, encoding string, body []byte) (Answer, error)) {
	if r.ContentLength > h.max {
		fail(w, http.StatusRequestEntityTooLarge, "the body has %d bytes, at most %d are allowed", r.ContentLength, h.max)
		return
	}
	need := r.ContentLength
	if need < 0 { // chunked: nobody knows
		need = h.max
	}
	if !h.budget.take(need) {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "too many bodies are worked on at once")
		return
	}
	defer h.budget.give(need)
	r.Body = http.MaxBytesReader(w, r.Body, h.max)
	encoding, body, err := read(r)
	if err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			fail(w, http.StatusRequestEntityTooLarge, "the body has more than %d bytes", large.Limit)
			return
		}
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			fail(w, http.StatusRequestTimeout, "the body did not come in time")
			return
		}
		fail(w, http.StatusBadRequest, "body: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(trace.Extract(r.Context(), r.Header), h.deadline)
	defer cancel()
	got, err := call(ctx, encoding, body)
	out := w.Header()
	for name, value := range map[string]string{fleet.ReleaseHeader: got.Release, fleet.DigestHeader: got.Digest} {
		if value != "" {
			out.Set(name, value)
		}
	}
	if got.Took > 0 {
		out.Set(fleet.TookHeader, got.Took.String())
	}
	if err != nil {
		fail(w, h.c.Node.Code(err), "%v", err)
		return
	}
	out.Set("Content-Type", got.Encoding)
	out.Set("Content-Length", strconv.Itoa(len(got.Body)))
	_, _ = w.Write(got.Body) // who asked went away
}

// read is a request's input and its MIME type: the body, or the first file of a form. What says nothing of the body, as
// what curl sends of itself, is no type.
func read(r *http.Request) (encoding string, body []byte, err error) {
	kind := r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(kind)
	if kind != "" && err != nil {
		return "", nil, fmt.Errorf("content type %.60q: %w", kind, err)
	}
	switch media {
	case "multipart/form-data":
		return firstFile(r.Body, params["boundary"])
	case "application/x-www-form-urlencoded", "application/octet-stream":
		media = ""
	}
	body, err = all(r.Body, r.ContentLength)
	return media, body, err
}

// all reads everything, into memory of the right size where it is known.
func all(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return io.ReadAll(r)
	}
	b := make([]byte, size) // at most what the body may have
	_, err := io.ReadFull(r, b)
	return b, err
}

const maxParts = 16

func firstFile(r io.Reader, boundary string) (string, []byte, error) {
	if boundary == "" {
		return "", nil, errors.New("a form without a boundary")
	}
	form := multipart.NewReader(r, boundary)
	for range maxParts {
		p, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, err
		}
		if p.FileName() == "" {
			continue
		}
		media, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil || media == "application/octet-stream" {
			media = ""
		}
		b, err := io.ReadAll(p)
		return media, b, err
	}
	return "", nil, errors.New("the form has no file: send it as curl -F image=@frame.jpg does")
}

// budget bounds the memory of bodies.
type budget struct {
	mu   sync.Mutex
	left int64
}

func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}
