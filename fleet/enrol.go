package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// joinPrefix begins every join token, so that people and scanners of secrets know one when they see it.
const joinPrefix = "isomer-join-"

// JoinToken lets one node into the fleet, once. It is a secret until it is used.
type JoinToken struct {
	Hubs   []string `json:"h"` // base URLs of the hub's API
	Secret string   `json:"s"` // 32 random bytes, hexadecimal; the hub keeps their SHA-256
	// CA is the SHA-256 of the fleet's CA certificate (DER), hexadecimal: the node trusts what that signed
	// and nothing else. Empty: the system's roots.
	CA string `json:"c,omitempty"`
	// Root is the SHA-256 of the TUF root metadata that the developer holds, hexadecimal, so that a hub
	// cannot give the node another developer. Empty: the node believes the root that the hub gives it first.
	Root string `json:"r,omitempty"`
	// At is when it was made, in seconds since 1970: a node whose clock begins there knows that so much has passed.
	At int64 `json:"t,omitempty"`
}

// String is the token as people copy it: one word without characters that shells mind.
func (t JoinToken) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings always encode
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseJoinToken reads a token. Its error does not repeat the secret.
func ParseJoinToken(s string) (JoinToken, error) {
	var t JoinToken
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), joinPrefix)
	if !ok {
		return t, invalid("join token: it begins with %s", joinPrefix)
	}
	if len(rest) > 8192 {
		return t, invalid("join token: %d bytes are too many", len(rest))
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || json.Unmarshal(b, &t) != nil {
		return JoinToken{}, invalid("join token: it is cut off or changed; copy it again")
	}
	return t, t.check()
}

func (t JoinToken) check() error {
	if len(t.Hubs) == 0 {
		return invalid("join token: it names no hub")
	}
	for _, h := range t.Hubs {
		if u, err := url.Parse(h); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return invalid("join token: %.80q is no URL of a hub", h)
		}
	}
	for _, f := range []struct{ what, s string }{{"secret", t.Secret}, {"CA", t.CA}, {"root", t.Root}} {
		if b, err := hex.DecodeString(f.s); err != nil || len(b) != 32 && (f.what == "secret" || f.s != "") {
			return invalid("join token: its %s is damaged; copy it again", f.what)
		}
	}
	return nil
}

// WebSocketPath is where the hub's API lets browsers into NATS: nodes of layer mobile that have no other way in.
const WebSocketPath = "/v1/nats"

// EnrolRequest is what a node sends to the hub's API (POST /v1/enrol), or to an edge that passes it on. The
// same secret and the same key may be sent again: the answer is the same, so that a crash in between does
// not lose the token. Another key is refused.
type EnrolRequest struct {
	Secret string `json:"secret"`
	Key    string `json:"key"` // public user nkey (U…); the private half never leaves the node
	// Root is the SHA-256 of the TUF root that the token names; empty: the newest.
	Root string `json:"root,omitempty"`
	// MQTT asks for a password in place of claims: for a microcontroller that speaks MQTT alone. Key is then the one
	// by which it is revoked, and nobody needs its private half.
	MQTT bool `json:"mqtt,omitempty"`
	// Of an edge: a PKCS #10 request in PEM for the certificate of its listeners; its key never leaves the edge.
	CSR string `json:"csr,omitempty"`
	// Addresses are what an edge's devices may use to reach it: host names and IP addresses, for the certificate.
	Addresses []string `json:"addresses,omitempty"`
	// Via is the edge through which the node wants to be connected, by name; empty: straight to the hub.
	Via string `json:"via,omitempty"`
}

// Enrolment is the hub's answer: who the node is and how it gets in. It holds no secret, save where MQTT was asked
// for.
type Enrolment struct {
	Node   string `json:"node"`
	Layer  Layer  `json:"layer"`
	Labels Labels `json:"labels,omitempty"`

	JWT     string   `json:"jwt"`           // the node's NATS user; with MQTT its password, for any user name
	Servers []string `json:"servers"`       // NATS URLs: the hub's or, with Via, that edge's
	Via     string   `json:"via,omitempty"` // the edge that the node fetches from, by name; empty: the hub
	CA      string   `json:"ca,omitempty"`  // PEM; empty: the system's roots
	Root    []byte   `json:"root"`          // TUF root metadata to begin with

	Edge *EdgeEnrolment `json:"edge,omitempty"` // of an edge alone
}

// EdgeEnrolment is what an edge needs to let devices in by itself: claims signed by the operator, and no key.
type EdgeEnrolment struct {
	Operator      string   `json:"operator"`      // JWT
	SystemAccount string   `json:"systemAccount"` // JWT
	Account       string   `json:"account"`       // JWT of the fleet's account
	Local         string   `json:"local"`         // JWT for the edge's own work on its own broker, in its process alone
	Certificate   string   `json:"certificate"`   // PEM chain for its listeners
	Leaf          []string `json:"leaf"`          // URLs of the hub for leaf nodes
}

// Member is a node that was enrolled.
type Member struct {
	Node    string    `json:"node"`
	Layer   Layer     `json:"layer"`
	Labels  Labels    `json:"labels,omitempty"`
	Key     string    `json:"key"` // public nkey; empty: not joined yet
	Via     string    `json:"via,omitempty"`
	By      string    `json:"by"` // who made the token
	At      time.Time `json:"at"`
	Joined  time.Time `json:"joined"`
	Revoked bool      `json:"revoked,omitempty"`
}

// NodeView is a node as the hub knows it: who it is, what it said last, and what it should run.
type NodeView struct {
	Member
	Online  bool       `json:"online"`            // it was heard of within three times ReportEvery, and is not revoked
	Heard   *time.Time `json:"heard,omitempty"`   // of last, by the hub's clock; nil: never
	Report  *Report    `json:"report,omitempty"`  // what it said then
	Desired *Desired   `json:"desired,omitempty"` // what it should run; where one node is asked for
}

// Role is what an API token may do; each may do what the ones before it may.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // look
	Deployer Role = "deployer" // publish, deploy, call, move rollouts
	Admin    Role = "admin"    // enrol, revoke, tokens, trust
)

// Allows reports whether the role may do what needs does.
func (r Role) Allows(needs Role) bool {
	rank := map[Role]int{Viewer: 1, Deployer: 2, Admin: 3}
	return rank[r] > 0 && rank[r] >= rank[needs] && rank[needs] > 0
}

// AuditEntry is something that somebody did, or was refused.
type AuditEntry struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`    // name of the token, or "node <name>"
	From   string    `json:"from"`   // address
	What   string    `json:"what"`   // such as "deploy", "revoke"
	On     string    `json:"on"`     // the object, such as "digits@1.2.0"
	Result string    `json:"result"` // "done" or "refused"
	Reason string    `json:"reason,omitempty"`
}
