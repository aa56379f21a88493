package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/identity"
)

func open(t *testing.T, dir string) *identity.Authority {
	t.Helper()
	a, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func key(t *testing.T) string {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	return pub
}

func TestTheFolderIsTheFleet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	a := open(t, dir)
	b := open(t, dir)
	if a.Account() != b.Account() || a.Operator() != b.Operator() || a.Fingerprint() != b.Fingerprint() {
		t.Error("opened again it is another fleet")
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAnInterruptedStartIsRepeated(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if err := os.Remove(filepath.Join(dir, "complete")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "ca.key"), 3); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestADamagedFolderSaysWhatIsWrong(t *testing.T) {
	for file, damage := range map[string]string{
		"operator.nk": "SUAxx", "signer-device.nk": "", "ca.key": "no PEM", "ca.pem": "", "account.jwt": "x.y.z",
	} {
		dir := t.TempDir()
		open(t, dir)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.Open(dir); !errors.Is(err, identity.ErrAuthority) {
			t.Errorf("%s damaged: %v", file, err)
		}
	}
	// Keys of one fleet and the certificate of another.
	one, two := t.TempDir(), t.TempDir()
	open(t, one)
	open(t, two)
	b, err := os.ReadFile(filepath.Join(two, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(one, "ca.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Open(one); !errors.Is(err, identity.ErrAuthority) {
		t.Errorf("another fleet's certificate: %v", err)
	}
}

func TestNodesGetANameAndNothingMore(t *testing.T) {
	a := open(t, t.TempDir())
	text, err := a.Node("dev1", fleet.Device, key(t))
	if err != nil {
		t.Fatal(err)
	}
	uc, err := jwt.DecodeUserClaims(text)
	if err != nil {
		t.Fatal(err)
	}
	if uc.Name != "dev1" || !uc.HasEmptyPermissions() || uc.IssuerAccount != a.AccountID() {
		t.Errorf("claims %+v", uc)
	}
	if len(text) > 800 {
		t.Errorf("%d bytes for a device's claims", len(text))
	}
	for what, err := range map[string]error{
		"a name":  second(a.Node("a.b", fleet.Device, key(t))),
		"a layer": second(a.Node("a", "cellar", key(t))),
		"a key":   second(a.Node("a", fleet.Device, a.AccountID())),
		"no key":  second(a.Node("a", fleet.Device, "")),
	} {
		if !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s that is wrong: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRevocationsStay(t *testing.T) {
	a := open(t, t.TempDir())
	one, two := key(t), key(t)
	claims, err := a.Revoke(a.Account(), one, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if claims, err = a.Revoke(claims, two, time.Now()); err != nil {
		t.Fatal(err)
	}
	claims, changed, err := a.Current(claims)
	if err != nil || changed {
		t.Errorf("claims of this version are changed: %v (%v)", changed, err)
	}
	ac, err := jwt.DecodeAccountClaims(claims)
	if err != nil || len(ac.Revocations) != 2 {
		t.Errorf("%d revocations of 2 (%v)", len(ac.Revocations), err)
	}
	if _, err := a.Revoke(open(t, t.TempDir()).Account(), one, time.Now()); !errors.Is(err, identity.ErrAuthority) {
		t.Errorf("claims of another fleet: %v", err)
	}
}

func TestCertificatesAreForWhatTheySay(t *testing.T) {
	a := open(t, t.TempDir())
	cert, err := a.Server("hub", []string{"hub.example", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	check(t, a, cert.Certificate[0], "hub.example", true)
	check(t, a, cert.Certificate[0], "10.0.0.1", true)
	check(t, a, cert.Certificate[0], "other.example", false)
	for _, bad := range []string{"*", "*.example", "a b", "", "-x", "a/b"} {
		if _, err := a.Server("hub", []string{bad}); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("host %q: %v", bad, err)
		}
	}

	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// A request that asks for more than it gets: to be a CA, and for the hub's name.
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"hub.example"}}, k)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Sign(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), "gw1", []string{"gw1.local"})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := pem.Decode([]byte(chain))
	check(t, a, first.Bytes, "gw1.local", true)
	check(t, a, first.Bytes, "hub.example", false)
	der[len(der)-1] ^= 1
	for _, bad := range []string{"", "x", strings.Repeat("y", 99), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))} {
		if _, err := a.Sign(bad, "gw1", []string{"gw1.local"}); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("request %.20q: %v", bad, err)
		}
	}
}

func check(t *testing.T, a *identity.Authority, der []byte, host string, want bool) {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.CA()))
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: host})
	if (err == nil) != want || cert.IsCA {
		t.Errorf("for %s: %v, want %v; CA %v", host, err, want, cert.IsCA)
	}
}

func FuzzCertificateRequest(f *testing.F) {
	a, err := identity.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), "gw1.local")
	f.Fuzz(func(t *testing.T, request, host string) {
		chain, err := a.Sign(request, "gw1", []string{host})
		if (err == nil) == (chain == "") {
			t.Errorf("chain %q with error %v", chain, err)
		}
	})
}
