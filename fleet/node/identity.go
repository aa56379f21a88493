package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/disk"
)

// Identity is who a node is: its key, and what the hub signed for it. It is the node's only secret.
type Identity struct {
	Seed      string          `json:"seed"`             // of the nkey
	TLSKey    string          `json:"tlsKey,omitempty"` // of an edge: PEM (PKCS #8)
	Enrolment fleet.Enrolment `json:"enrolment"`
	RootPin   string          `json:"rootPin,omitempty"` // SHA-256 of the TUF root that the join token named
	Hubs      []string        `json:"hubs"`              // base URLs of the hub's API
	HubCA     string          `json:"hubCA,omitempty"`   // SHA-256 of the fleet's CA
	// Token is the hash of the join token's secret: the same token again is the same identity.
	Token string `json:"token"`
}

const identityFile = "identity.json"

// ErrNotJoined is a node's folder without an identity.
var ErrNotJoined = errors.New("this node has not joined a fleet")

// LoadIdentity reads the identity of the node in the folder dir.
func LoadIdentity(dir string) (Identity, error) {
	var id Identity
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("%w: %s has no %s", ErrNotJoined, dir, identityFile)
	}
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, fmt.Errorf("%w: %s is damaged: %w", ErrNotJoined, filepath.Join(dir, identityFile), err)
	}
	if _, err := nkeys.FromSeed([]byte(id.Seed)); err != nil || fleet.CheckNode(id.Enrolment.Node) != nil {
		return id, fmt.Errorf("%w: %s is damaged", ErrNotJoined, filepath.Join(dir, identityFile))
	}
	return id, nil
}

// Source is what the node asks for everything that it fetches: "hub" or an edge's name.
func (id Identity) Source() string {
	if id.Enrolment.Via != "" {
		return id.Enrolment.Via
	}
	return "hub"
}

// JoinOptions say how a node joins.
type JoinOptions struct {
	// Via is the edge to go through: its name, which the hub resolves, or host:port of its enrolment where the
	// node cannot reach the hub. Empty: straight to the hub.
	Via string
	// Addresses are the host names and IP addresses under which an edge's devices reach it.
	Addresses []string
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Join makes the node in the folder dir a member of the fleet: it makes a key, which never leaves the folder,
// and has the hub sign for it. Interrupted, it can be repeated with the same token.
func Join(ctx context.Context, dir string, token fleet.JoinToken, o JoinOptions) (Identity, error) {
	if err := disk.MkdirAll(disk.OS{}, dir, 0o700); err != nil {
		return Identity{}, err
	}
	id, err := prepare(dir, token)
	if err != nil || id.Enrolment.JWT != "" {
		return id, err
	}
	kp, err := nkeys.FromSeed([]byte(id.Seed))
	if err != nil {
		return id, err
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return id, err
	}
	request := fleet.EnrolRequest{Secret: token.Secret, Key: pub, Root: token.Root, Addresses: o.Addresses}
	desks := token.Hubs
	if strings.Contains(o.Via, ":") {
		scheme := "https"
		if token.CA == "" && strings.HasPrefix(token.Hubs[0], "http:") {
			scheme = "http"
		}
		desks = []string{scheme + "://" + o.Via}
	} else {
		request.Via = o.Via
	}
	if request.CSR, err = certificateRequest(id.TLSKey); err != nil {
		return id, err
	}
	var errs []error
	for _, hub := range desks {
		c, err := client.New(client.Config{URL: hub, CA: token.CA, Timeout: 10 * time.Second, Since: time.Unix(token.At, 0), Now: o.Now})
		if err != nil {
			return id, err
		}
		e, err := c.Enrol(ctx, request)
		if answer, ok := errors.AsType[*client.Error](err); ok && answer.Status < 500 {
			return id, fmt.Errorf("join: %w", err)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		id.Enrolment = e
		return id, disk.Write(disk.OS{}, filepath.Join(dir, identityFile), mustJSON(id), 0o600)
	}
	return id, fmt.Errorf("join: nobody answers: %w", errors.Join(errs...))
}

// prepare makes the key, or finds the one that an interrupted Join with the same token left.
func prepare(dir string, token fleet.JoinToken) (Identity, error) {
	hash := tokenHash(token)
	var id Identity
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	switch {
	case err == nil && json.Unmarshal(b, &id) == nil && id.Token == hash:
		return id, nil
	case err == nil && id.Enrolment.JWT != "":
		return id, fmt.Errorf("%w: %s belongs to node %s already; give another folder", fleet.ErrInvalid, dir, id.Enrolment.Node)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return id, err
	}
	kp, err := nkeys.CreateUser()
	if err != nil {
		return id, err
	}
	seed, err := kp.Seed()
	if err != nil {
		return id, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return id, err
	}
	id = Identity{
		Seed: string(seed), TLSKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		Hubs: token.Hubs, HubCA: token.CA, RootPin: token.Root, Token: hash,
	}
	// Kept before anybody is asked: the answer to a request that is cut off can be asked for again.
	return id, disk.Write(disk.OS{}, filepath.Join(dir, identityFile), mustJSON(id), 0o600)
}

func certificateRequest(key string) (string, error) {
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return "", fmt.Errorf("%w: the TLS key is damaged", fleet.ErrInvalid)
	}
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, signer)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// joined is when the hub signed for the node, by the hub's clock; zero where that cannot be told.
func (id Identity) joined() time.Time {
	var claims struct {
		IssuedAt int64 `json:"iat"`
	}
	parts := strings.Split(id.Enrolment.JWT, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil || claims.IssuedAt <= 0 {
		return time.Time{}
	}
	return time.Unix(claims.IssuedAt, 0)
}

// pool are the certificates that the node trusts; nil: the system's.
func (id Identity) pool() *x509.CertPool {
	if id.Enrolment.CA == "" {
		return nil
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM([]byte(id.Enrolment.CA))
	return p
}

func mustJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic(err) // the package's own types always encode
	}
	return b.Bytes()
}
