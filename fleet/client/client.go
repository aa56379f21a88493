// Package client speaks to a hub's HTTP API from Go. Use it to drive a fleet from a program or a pipeline,
// as the command isomer does; never on a node, which has its own way to the hub (package fleet/node).
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// Config says which hub, and who asks.
type Config struct {
	// URL is https://hub.example.com:8443; of the hubs of a cluster several with commas. The next one is asked where one
	// cannot be reached.
	URL   string
	Token string // bearer token; empty: operations that need none
	// CA is the SHA-256 of the fleet's CA certificate (DER), hexadecimal: what that signed is trusted, and
	// nothing else. Empty: the system's roots.
	CA string
	// Since is a time that is known to have passed, such as that of a join token, for machines whose clock begins in 1970;
	// Now is the clock. Zero: no such time, and time.Now.
	Since time.Time
	Now   func() time.Time
	// Timeout bounds each request but uploads, downloads, calls and streams. 0: 30 s.
	Timeout time.Duration
}

// Client is a connection to a hub. Its methods may be called from several goroutines.
type Client struct {
	hubs    []endpoint
	at      atomic.Int64 // the hub that answered last
	token   string
	timeout time.Duration
}

// endpoint is one hub of a cluster.
type endpoint struct {
	base string
	http *http.Client
}

// Error is an answer of the hub that is no success.
type Error struct {
	Status  int // of HTTP
	Message string
	Details []string // what is wrong with the request, each with its place
}

func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = http.StatusText(e.Status)
	}
	if len(e.Details) > 0 {
		text += ": " + strings.Join(e.Details, "; ")
	}
	return text
}

// ErrAway is a hub that no connection reaches.
var ErrAway = errors.New("cannot be reached")

// ErrUntrusted is a hub whose certificate the pinned CA did not sign.
var ErrUntrusted = errors.New("the hub's certificate is not signed by the fleet's CA")

// New makes a client. It does not connect yet.
func New(c Config) (*Client, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	out := &Client{token: c.Token, timeout: c.Timeout}
	if out.timeout == 0 {
		out.timeout = 30 * time.Second
	}
	for _, text := range strings.Split(c.URL, ",") {
		e, err := c.endpoint(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		out.hubs = append(out.hubs, e)
	}
	return out, nil
}

func (c Config) endpoint(text string) (endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return endpoint{}, fmt.Errorf("%w: %q is no URL of a hub, such as https://hub:8443", fleet.ErrInvalid, text)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, Time: c.time}
	if c.CA != "" {
		if t.TLSClientConfig, err = c.pinned(u.Hostname()); err != nil {
			return endpoint{}, err
		}
	}
	return endpoint{strings.TrimSuffix(u.String(), "/"), &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// time is the clock's, or the later one that is known to have passed.
func (c Config) time() time.Time {
	if now := c.Now(); now.After(c.Since) {
		return now
	}
	return c.Since
}

// pinned is a TLS configuration that trusts the CA whose certificate has the digest of the configuration, and nobody
// else, for servers called host. The server must send the CA's certificate in its chain.
func (c Config) pinned(host string) (*tls.Config, error) {
	if err := fleet.CheckDigest(c.CA); err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The usual check needs the CA beforehand; VerifyConnection makes the same one with the CA that the
		// server sends and whose digest is known.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			leaf, now := s.PeerCertificates[0], c.time()
			var ca *x509.Certificate
			between := x509.NewCertPool()
			for _, cert := range s.PeerCertificates[1:] {
				if sum := sha256.Sum256(cert.Raw); hex.EncodeToString(sum[:]) == c.CA {
					ca = cert
				}
				between.AddCert(cert)
			}
			if ca == nil || !ca.IsCA {
				return ErrUntrusted
			}
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			// That the CA signed a certificate says that its time has begun, whatever a clock without a battery says. What a
			// certificate ends by is told by the clock, and by what is known to have passed.
			for _, begin := range []time.Time{ca.NotBefore, leaf.NotBefore} {
				if begin.After(now) {
					now = begin
				}
			}
			// The name is the URL's: that of the connection is empty where it is an address, and would not be compared.
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host, CurrentTime: now})
			if err != nil {
				return fmt.Errorf("%w: %w", ErrUntrusted, err)
			}
			return nil
		},
	}, nil
}

// request sends body, if it is one, and returns the answer if it is a success. The caller closes it.
func (c *Client) request(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	return c.send(ctx, method, path, header, body, -1)
}

// send is request with the size of the body; -1: it is known or does not matter. Where a hub cannot even be connected to the
// next one is asked; where the connection was lost later it may have done what was asked, so the next request goes elsewhere.
func (c *Client) send(ctx context.Context, method, path string, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	start := int64(0)
	seeker, again := body.(io.Seeker)
	if again {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			return nil, err
		}
		if _, ok := body.(io.Closer); ok {
			body = struct{ io.Reader }{body} // a failed attempt would close it
		}
	}
	var failed error
	for range c.hubs {
		at := c.at.Load()
		hub := c.hubs[at]
		r, err := http.NewRequestWithContext(ctx, method, hub.base+path, body)
		if err != nil {
			return nil, err
		}
		if size >= 0 {
			r.ContentLength = size
		}
		for k, v := range header {
			r.Header[k] = v
		}
		trace.Inject(ctx, r.Header) // net/http sends it as it is, and servers read either case
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		resp, err := hub.http.Do(r)
		if err == nil && resp.StatusCode < 300 {
			return resp, nil
		}
		if err == nil {
			defer resp.Body.Close()
			return nil, failure(resp)
		}
		op, network := errors.AsType[*net.OpError](err)
		if network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			c.at.CompareAndSwap(at, (at+1)%int64(len(c.hubs)))
		}
		if !network {
			return nil, err
		}
		failed = errors.Join(failed, fmt.Errorf("the hub at %s %w: %w", hub.base, ErrAway, err))
		if op.Op != "dial" || ctx.Err() != nil || body != nil && !again {
			return nil, failed
		}
		if again {
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return nil, err
			}
		}
	}
	return nil, failed
}

// failure reads an answer of RFC 9457 or whatever else came.
func failure(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	e := &Error{Status: resp.StatusCode}
	if json.Unmarshal(b, &p) != nil || p.Detail == "" {
		e.Message = fmt.Sprintf("%s: %.200s", resp.Status, bytes.TrimSpace(b))
		return e
	}
	e.Message = p.Detail
	for _, d := range p.Errors {
		text := d.Message
		if d.Location != "" {
			text = d.Location + ": " + text
		}
		e.Details = append(e.Details, text)
	}
	return e
}

// exchange sends in as JSON (nil: no body) and decodes the answer into out (nil: it is dropped).
func (c *Client) exchange(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	header := http.Header{}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
	}
	resp, err := c.request(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the hub's answer cannot be read: %w", err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.exchange(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

// stream reads server-sent events and gives each to deliver until that says false, the server ends or ctx does.
func (c *Client) stream(ctx context.Context, path string, deliver func(event string, data []byte) (more bool, err error)) error {
	resp, err := c.request(ctx, http.MethodGet, path, http.Header{"Accept": {"text/event-stream"}}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	event := "message"
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "event":
			event = value
		case "data":
			if event == "problem" {
				var p struct {
					Message string `json:"message"`
				}
				_ = json.Unmarshal([]byte(value), &p)
				return &Error{Status: http.StatusBadGateway, Message: p.Message}
			}
			if event != "beat" {
				if more, err := deliver(event, []byte(value)); err != nil || !more {
					return err
				}
			}
		case "":
			event = "message"
		}
	}
	return errors.Join(lines.Err(), ctx.Err())
}

// Call is a function call on a node.
type Call struct {
	Module, Function string
	Node             string      // that answers
	Layer            fleet.Layer // or any one node of it
	Type             string      // MIME type of Body: application/json, image/jpeg, image/png; empty: raw bytes
	Body             []byte
	Timeout          time.Duration // 0: 10 s
}

// Answer is what a node answered.
type Answer struct {
	Type    string // MIME type of Body
	Body    []byte
	Node    string
	Release string // name@version
	Digest  string
	Took    time.Duration // in the node's bridge
}

// Call calls a function on a node through the hub.
func (c *Client) Call(ctx context.Context, call Call) (Answer, error) {
	timeout := call.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	q := url.Values{"seconds": {strconv.FormatFloat(timeout.Seconds(), 'g', -1, 64)}}
	if call.Node != "" {
		q.Set("node", call.Node)
	}
	if call.Layer != "" {
		q.Set("layer", string(call.Layer))
	}
	kind := call.Type
	if kind == "" {
		kind = "application/octet-stream"
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+5*time.Second) // the hub's own answer says more than ours
	defer cancel()
	path := "/v1/call/" + url.PathEscape(call.Module) + "/" + url.PathEscape(call.Function) + "?" + q.Encode()
	resp, err := c.request(ctx, http.MethodPost, path, http.Header{"Content-Type": {kind}}, bytes.NewReader(call.Body))
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	took, _ := time.ParseDuration(resp.Header.Get(fleet.TookHeader))
	return Answer{
		Type: resp.Header.Get("Content-Type"), Body: body, Node: resp.Header.Get(fleet.NodeHeader),
		Release: resp.Header.Get(fleet.ReleaseHeader), Digest: resp.Header.Get(fleet.DigestHeader), Took: took,
	}, nil
}
