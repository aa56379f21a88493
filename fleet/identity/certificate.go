package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// Lives of certificates. The CA outlives the devices; what it signs is renewed by a new start of the hub, and of an
// edge by a new enrolment, long before it ends.
const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 2 * 365 * 24 * time.Hour
	// backdate lets nodes in whose clock is behind.
	backdate = 24 * time.Hour
)

// authorityCA is the fleet's own certificate authority: ECDSA P-256, which browsers and microcontrollers take
// where Ed25519 is not known everywhere yet.
type authorityCA struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func serial() (*big.Int, error) { return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) }

func newCA(now time.Time) (*authorityCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	n, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: n, Subject: pkix.Name{CommonName: "Isomer fleet CA " + n.Text(16)[:8]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authorityCA{key: key, cert: cert}, err
}

// CA is the CA's certificate in PEM.
func (a *Authority) CA() string { return certPEM(a.ca.cert.Raw) }

// Fingerprint is the SHA-256 of the CA's certificate (DER), hexadecimal: join tokens carry it.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.ca.cert.Raw)
	return hex.EncodeToString(sum[:])
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Server makes a certificate for a server that is reached under these host names and IP addresses. Its chain
// has the CA, so that clients which know its fingerprint alone can check it.
func (a *Authority) Server(commonName string, hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := a.issue(commonName, hosts, key.Public(), time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, a.ca.cert.Raw}, PrivateKey: key}, nil
}

// Sign answers the certificate request (PKCS #10 in PEM) of an edge: a chain in PEM for the addresses. What the request
// itself asks for is not looked at but its key, of which it must prove the possession.
func (a *Authority) Sign(request, commonName string, hosts []string) (string, error) {
	block, rest := pem.Decode([]byte(request))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return "", fmt.Errorf("%w: certificate request: want one PEM block CERTIFICATE REQUEST", fleet.ErrInvalid)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return "", fmt.Errorf("%w: certificate request: %w", fleet.ErrInvalid, err)
	}
	der, err := a.issue(commonName, hosts, csr.PublicKey, time.Now())
	if err != nil {
		return "", err
	}
	return certPEM(der) + a.CA(), nil
}

func (a *Authority) issue(commonName string, hosts []string, key crypto.PublicKey, now time.Time) ([]byte, error) {
	n, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: n, Subject: pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		if !hostname(h) {
			return nil, fmt.Errorf("%w: %.80q is no host name or IP address", fleet.ErrInvalid, h)
		}
		t.DNSNames = append(t.DNSNames, h)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: a certificate of %s needs a host name or address", fleet.ErrInvalid, commonName)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.ca.cert, key, a.ca.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", commonName, err)
	}
	return der, nil
}

// hostname reports whether s can be a DNS name without a wildcard.
func hostname(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[0] == '-' {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_')
	})
}
