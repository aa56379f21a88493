package hub

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/api"
)

// maxBrowsers are the WebSocket connections that the API passes on at once, 2,048 at most. Half of its connections stay for
// requests; a fleet with more browsers opens the broker's own listener (--websocket).
func maxBrowsers() int { return api.MaxConns() / 2 }

// websocket passes browsers on to the broker: they come with the port, the certificate and the name that the page came
// with, which is all that a browser accepts. Who they are is the broker's to ask, as of any node.
func (h *Hub) websocket() http.Handler {
	if h.broker == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotImplemented, "this hub uses a NATS cluster of others: browsers connect to a WebSocket listener there")
		})
	}
	to, err := url.Parse(strings.Replace(h.broker.WebSocketURL(), "ws", "http", 1))
	if err != nil || to.Host == "" {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusServiceUnavailable, "the broker has no WebSocket listener")
		})
	}
	if ip := net.ParseIP(to.Hostname()); ip != nil && ip.IsUnspecified() { // of --websocket :443
		to.Host = net.JoinHostPort("127.0.0.1", to.Port())
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if to.Scheme == "https" { // the listener is this process's own: its certificate alone is taken
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: h.ownCertificate, MinVersion: tls.VersionTLS12}
	}
	b := &browsers{slots: make(chan struct{}, maxBrowsers()), say: h.refusals.say}
	b.proxy = &httputil.ReverseProxy{
		Transport: transport, ErrorLog: slog.NewLogLogger(h.cfg.Log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			// The paths /leafnode and /mqtt would be other listeners of the broker.
			r.Out.URL.Path, r.Out.URL.RawPath, r.Out.URL.RawQuery = "/", "", ""
			r.Out.Host = to.Host
			r.SetXForwarded() // by which the broker knows the address that it tells of in refusals
			for _, secret := range []string{"Cookie", "Authorization"} {
				r.Out.Header.Del(secret)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusBadGateway, "the broker does not answer: "+err.Error())
		},
	}
	return b
}

func (h *Hub) ownCertificate(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 || !bytes.Equal(raw[0], h.cfg.Certificate.Certificate[0]) {
		return errors.New("the WebSocket listener is not this hub's")
	}
	return nil
}

type browsers struct {
	proxy *httputil.ReverseProxy
	slots chan struct{}
	say   func(fleet.AuditEntry)
}

func (b *browsers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, "this is NATS over WebSocket, for nodes in browsers")
		return
	}
	if !sameOrigin(r) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			from = r.RemoteAddr
		}
		why := "a page of another origin: " + r.Header.Get("Origin")
		b.say(fleet.AuditEntry{Who: "nobody", From: from, What: "websocket", Reason: why})
		refuse(w, http.StatusForbidden, why)
		return
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many browsers are connected; isomer hub --websocket opens a listener for more")
		return
	}
	b.proxy.ServeHTTP(w, r)
}

// sameOrigin reports whether a page of this host asks, or a program, which has no origin.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Values("Origin")
	if len(origin) == 0 {
		return true
	}
	u, err := url.Parse(origin[0])
	return len(origin) == 1 && err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// refuse answers as RFC 9457 wants, as the API does.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}
