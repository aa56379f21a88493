package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet/client"
)

// authority is a fleet's CA.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.cert = a.make(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0)})
	return a
}

func (a *authority) make(c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(1)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

func (a *authority) digest() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// hub answers with a version, under a certificate for these addresses and time. It returns its URL.
func (a *authority) hub(addresses []net.IP, names []string, from, to time.Time) string {
	a.t.Helper()
	key, cert := a.make(&x509.Certificate{IPAddresses: addresses, DNSNames: names, NotBefore: from, NotAfter: to, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"1"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.URL
}

// The hub is believed by its CA, its name and its time, also where the clock begins in 1970.
func TestWhichHubIsBelieved(t *testing.T) {
	a := newAuthority(t)
	loopback, elsewhere := []net.IP{net.IPv4(127, 0, 0, 1)}, []net.IP{net.IPv4(192, 0, 2, 1)}
	now := time.Now()
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	in1970 := func() time.Time { return time.Unix(60, 0) }
	tests := []struct {
		name     string
		url      string
		c        client.Config
		believed bool
	}{
		{"valid", a.hub(loopback, nil, hour(-1), hour(1)), client.Config{}, true},
		{"by its name", strings.Replace(a.hub(nil, []string{"localhost"}, hour(-1), hour(1)), "127.0.0.1", "localhost", 1), client.Config{}, true},
		{"another server of the fleet, by address", a.hub(elsewhere, []string{"gw1"}, hour(-1), hour(1)), client.Config{}, false},
		{"another server of the fleet, by name", strings.Replace(a.hub(loopback, []string{"gw1"}, hour(-1), hour(1)), "127.0.0.1", "localhost", 1), client.Config{}, false},
		{"of another fleet", newAuthority(t).hub(loopback, nil, hour(-1), hour(1)), client.Config{}, false},
		{"expired", a.hub(loopback, nil, hour(-2), hour(-1)), client.Config{}, false},
		{"a clock in 1970", a.hub(loopback, nil, hour(-1), hour(1)), client.Config{Now: in1970, Since: hour(-24)}, true},
		{"a clock in 1970 that knows nothing", a.hub(loopback, nil, hour(-1), hour(1)), client.Config{Now: in1970}, true},
		{"expired before the token was made", a.hub(loopback, nil, hour(-9), hour(-8)), client.Config{Now: in1970, Since: hour(-7)}, false},
		{"made after the token", a.hub(loopback, nil, hour(-1), hour(1)), client.Config{Now: in1970, Since: hour(-7)}, true},
		{"a clock ahead", a.hub(loopback, nil, hour(-1), hour(1)), client.Config{Now: func() time.Time { return hour(2) }}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.URL, tt.c.CA = tt.url, a.digest()
			c, err := client.New(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Version(t.Context())
			if (err == nil) != tt.believed || err != nil && !errors.Is(err, client.ErrUntrusted) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Of several hubs the next one is asked where one cannot be reached, with the whole body.
func TestTheNextHubIsAsked(t *testing.T) {
	var bodies []string
	serve := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		_, _ = io.WriteString(w, `{"version":"1"}`)
	}
	alive := httptest.NewServer(http.HandlerFunc(serve))
	defer alive.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c, err := client.New(client.Config{URL: dead.URL + ", " + alive.URL})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Version(t.Context()); err != nil || v != "1" {
		t.Errorf("version %q (%v)", v, err)
	}
	if c, err = client.New(client.Config{URL: dead.URL + "," + alive.URL}); err != nil {
		t.Fatal(err)
	}
	body := strings.NewReader("a module")
	if err := c.PutModule(t.Context(), strings.Repeat("0", 64), body.Size(), body); err != nil || bodies[len(bodies)-1] != "a module" {
		t.Errorf("%q arrived (%v)", bodies, err)
	}
	if c, err = client.New(client.Config{URL: dead.URL + "," + dead.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("without any hub: %v", err)
	}
	if _, err := client.New(client.Config{URL: alive.URL + ",nonsense"}); err == nil {
		t.Error("an URL that is none is taken")
	}
}
