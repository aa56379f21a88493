package isomer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

const (
	defaultHTTPTimeout = 30 * time.Second
	defaultMaxBody     = 4 << 20
	maxRedirects       = 5
)

// fetcher sends the requests of a Module's modules.
type fetcher struct {
	transport *http.Transport
	timeout   time.Duration
	maxBody   int64
}

func newFetcher(c HTTPConfig) *fetcher {
	f := &fetcher{timeout: c.Timeout, maxBody: c.MaxBody}
	if f.timeout == 0 {
		f.timeout = defaultHTTPTimeout
	}
	if f.maxBody == 0 {
		f.maxBody = defaultMaxBody
	}
	f.transport = &http.Transport{
		Proxy:                  nil, // a proxy from the environment would be a host that nobody allowed
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: abi.MaxHeaderText,
	}
	if c.TLS != nil {
		f.transport.TLSClientConfig = c.TLS.Clone()
	}
	return f
}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// fetch is fetch(mptr, mlen, uptr, ulen, hptr, hlen, bptr, blen, ret).
func (l *lender) fetch(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[8])
	if err := g.Record(ret, abi.FetchResultSize); err != nil {
		return err
	}
	req, err := l.request(g, s)
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	if l.purpose != serving {
		return refuse(ctx, g, ret, errors.New("no requests are sent while the module is tried"))
	}
	status, headers, body, err := l.do(ctx, req)
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveResponse(ret, status, headers, body)
}

// request reads and checks what the guest asks for.
func (l *lender) request(g abi.Guest, s []uint64) (*http.Request, error) {
	u32 := func(i int) uint32 { return uint32(s[i]) }
	method, err := g.Text(u32(0), u32(1), 16, "method")
	if err != nil {
		return nil, err
	}
	target, err := g.Text(u32(2), u32(3), abi.MaxURL+1, "url")
	if err != nil {
		return nil, err
	}
	headers, err := g.Pairs(u32(4), u32(5), abi.MaxHeaders, abi.MaxHeaderText, "headers")
	if err != nil {
		return nil, err
	}
	body, err := abi.Span(g.Memory(), u32(6), u32(7), "body")
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(methods, method):
		return nil, fmt.Errorf("method %q is none of %s", abi.Clean(method, 16), strings.Join(methods, ", "))
	case len(target) > abi.MaxURL:
		return nil, fmt.Errorf("url of %d bytes, at most %d are allowed", u32(3), abi.MaxURL)
	case int64(len(body)) > l.fetcher.maxBody:
		return nil, fmt.Errorf("request with %d bytes, at most %d are allowed", len(body), l.fetcher.maxBody)
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("url: %w", errors.Unwrap(err)) // what it wraps repeats the whole URL
	}
	if err := l.allowedURL(u); err != nil {
		return nil, err
	}
	u.Fragment, u.RawFragment = "", ""
	h := http.Header{"User-Agent": {"isomer"}}
	given := map[string]bool{}
	for _, p := range headers {
		if err := checkHeader(p[0], p[1]); err != nil {
			return nil, err
		}
		name := http.CanonicalHeaderKey(p[0])
		if !given[name] {
			h.Del(name)
		}
		given[name] = true
		h.Add(name, p[1])
	}
	// The client may still read the body when the answer is there.
	req, err := http.NewRequest(method, u.String(), bytes.NewReader(bytes.Clone(body)))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header = h
	return req, nil
}

// allowedURL checks a URL of the guest's, or of a redirect.
func (l *lender) allowedURL(u *url.URL) error {
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	switch {
	case port == "":
		return fmt.Errorf("url: scheme %q, want http or https", abi.Clean(u.Scheme, 32))
	case u.User != nil:
		return errors.New("url: user and password in it are not allowed; send a header")
	case u.Opaque != "" || u.Host == "":
		return errors.New("url: no host")
	}
	// The port is taken as what it means: example.com and example.com:443 are one over https.
	host, err := abi.CanonicalHost(u.Host)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	allowed := slices.ContainsFunc(l.r.may, func(p abi.Permission) bool {
		return p.Kind == abi.PermHTTP && withPort(p.Arg, port) == withPort(host, port)
	})
	if !allowed {
		return fmt.Errorf("host %q is not allowed", host)
	}
	u.Host = host // what was compared is what is asked
	return nil
}

// withPort adds a port to a canonical host that has none.
func withPort(host, port string) string {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host
	}
	return host + ":" + port
}

// hopHeaders are those by which a guest could say where a request goes or where it ends, against what
// the connection does.
var hopHeaders = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Te", "Trailer", "Expect"}

func checkHeader(name, value string) error {
	token := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !token(r) }) {
		return fmt.Errorf("header %q is no name of a header", abi.Clean(name, 64))
	}
	canonical := http.CanonicalHeaderKey(name)
	if slices.Contains(hopHeaders, canonical) || strings.HasPrefix(canonical, "Proxy-") {
		return fmt.Errorf("header %s is the host's to set", canonical)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("header %s has a control character", canonical)
		}
	}
	return nil
}

// patience is how long a fetch may take, such that its guest has the last tenth of the call's time to answer.
func (f *fetcher) patience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(f.timeout, time.Until(end)/10*9)
	}
	return f.timeout
}

// do sends req and reads the answer.
func (l *lender) do(ctx context.Context, req *http.Request) (status uint16, headers [][2]string, body []byte, err error) {
	f := l.fetcher
	timeout := f.patience(ctx)
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := http.Client{Transport: f.transport, CheckRedirect: l.redirect}
	resp, err := client.Do(req.WithContext(bounded))
	if err != nil {
		return 0, nil, nil, fetchError(err, timeout)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, f.maxBody+1))
	if err != nil {
		return 0, nil, nil, fetchError(err, timeout)
	}
	if int64(len(body)) > f.maxBody {
		return 0, nil, nil, fmt.Errorf("the answer has more than %d bytes", f.maxBody)
	}
	for name, values := range resp.Header {
		for _, v := range values {
			headers = append(headers, [2]string{abi.Clean(name, abi.MaxHeaderText), abi.Clean(v, abi.MaxHeaderText)})
		}
	}
	// In the order of their names, so that the guest gets the same each time.
	slices.SortStableFunc(headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return uint16(resp.StatusCode), headers, body, nil
}

// redirectError is a redirect that is not followed. Its text is the guest's to read.
type redirectError struct{ cause error }

func (e *redirectError) Error() string { return "redirect: " + e.cause.Error() }

// redirect decides about each redirect. What the guest sent in headers was meant for the first host.
func (l *lender) redirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch err := l.allowedURL(req.URL); {
	case err != nil:
		return &redirectError{err}
	case len(via) > maxRedirects:
		return &redirectError{fmt.Errorf("more than %d", maxRedirects)}
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return &redirectError{errors.New("from https to http")}
	}
	req.Header.Del("Referer")
	if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header = http.Header{"User-Agent": req.Header["User-Agent"]}
	}
	return nil
}

// fetchError says what went wrong without the host's addresses.
func fetchError(err error, timeout time.Duration) error {
	if r, ok := errors.AsType[*redirectError](err); ok {
		return r
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", timeout.Round(time.Millisecond))
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		if d.IsNotFound {
			return errors.New("no such host")
		}
		return errors.New("the host's name cannot be resolved")
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		return o.Err
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
