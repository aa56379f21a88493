// Package identity says who is who in a fleet: the operator, account and user claims of NATS, which every
// server checks without asking anybody, and the fleet's own certificate authority. Use it in a hub, which has
// the Authority; nodes have a key of their own and what the hub signed for it.
//
// One account is one fleet. Each kind of node has a signing key of its own, whose claims carry the
// permissions of that kind as a template: what the hub signs for a node holds its name and nothing more, and
// a signing key that leaks cannot make anything but nodes of its kind.
package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
)

// ErrAuthority is a folder of an authority that is missing parts, or damaged.
var ErrAuthority = errors.New("the fleet's authority cannot be used")

// keyNames are the keys of an authority in its folder. The account's own key stays unused once it signed
// nothing: claims are signed by the operator, users by the signing keys.
const (
	operatorKey = "operator"
	systemKey   = "system"
	accountKey  = "account"
	hubKey      = "signer-hub"
	localKey    = "signer-local"
	mqttKey     = "signer-mqtt"
)

func signerKey(l fleet.Layer) string { return "signer-" + string(l) }

// Authority signs for a fleet. It is safe for concurrent use.
type Authority struct {
	keys map[string]nkeys.KeyPair
	ca   *authorityCA
	// Claims that never change after Create.
	operator, system string
	account          string // as created: without revocations
}

// Operator is the operator's JWT, which every server of the fleet trusts.
func (a *Authority) Operator() string { return a.operator }

// SystemAccount is the JWT of the account in which servers talk among themselves.
func (a *Authority) SystemAccount() string { return a.system }

// SystemAccountID is the public key of the system account.
func (a *Authority) SystemAccountID() string { return a.public(systemKey) }

// Account is the JWT of the fleet's account as it was created. Revocations come later: see Revoke.
func (a *Authority) Account() string { return a.account }

// AccountID is the public key of the fleet's account.
func (a *Authority) AccountID() string { return a.public(accountKey) }

func (a *Authority) public(key string) string {
	pub, err := a.keys[key].PublicKey()
	if err != nil {
		panic(err) // every key of an authority has one
	}
	return pub
}

// claims signs the JWTs of operator and accounts. It is done once: servers and edges keep them, and of two the
// one signed later counts.
func (a *Authority) claims() error {
	oc := jwt.NewOperatorClaims(a.public(operatorKey))
	oc.Name = "isomer"
	oc.SystemAccount = a.public(systemKey)
	sys := jwt.NewAccountClaims(a.public(systemKey))
	sys.Name = "system"
	acc := jwt.NewAccountClaims(a.public(accountKey))
	a.template(acc)
	for _, c := range []struct {
		claims jwt.Claims
		into   *string
	}{{oc, &a.operator}, {sys, &a.system}, {acc, &a.account}} {
		text, err := a.sign(c.claims)
		if err != nil {
			return err
		}
		*c.into = text
	}
	return nil
}

// template gives account claims the limits and permissions that this version of Isomer wants.
func (a *Authority) template(acc *jwt.AccountClaims) {
	acc.Name = "fleet"
	acc.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
		MaxAckPending: jwt.NoLimit, MemoryMaxStreamBytes: jwt.NoLimit, DiskMaxStreamBytes: jwt.NoLimit,
	}
	acc.SigningKeys = jwt.SigningKeys{}
	hub := jwt.NewUserScope()
	hub.Key, hub.Role = a.public(hubKey), "hub"
	acc.SigningKeys.AddScopedSigner(hub)
	acc.SigningKeys.AddScopedSigner(local(a.public(localKey)))
	acc.SigningKeys.AddScopedSigner(mqtt(a.public(mqttKey)))
	for _, layer := range fleet.Layers() {
		acc.SigningKeys.AddScopedSigner(scope(layer, a.public(signerKey(layer))))
	}
}

// Current returns account claims with the permissions that this version of Isomer gives, revocations kept, and
// whether that differs from what was given: after an upgrade it does, once.
func (a *Authority) Current(account string) (current string, changed bool, err error) {
	ac, err := a.decode(account)
	if err != nil {
		return "", false, err
	}
	before, err := json.Marshal(ac.Account)
	if err != nil {
		return "", false, err
	}
	a.template(ac)
	after, err := json.Marshal(ac.Account)
	if err != nil || bytes.Equal(before, after) {
		return account, false, err
	}
	current, err = a.sign(ac)
	return current, true, err
}

// decode reads claims of the fleet's own account.
func (a *Authority) decode(account string) (*jwt.AccountClaims, error) {
	ac, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		return nil, fmt.Errorf("%w: account claims: %w", ErrAuthority, err)
	}
	if ac.Subject != a.AccountID() || ac.Issuer != a.public(operatorKey) {
		return nil, fmt.Errorf("%w: these are the claims of another account", ErrAuthority)
	}
	return ac, nil
}

func (a *Authority) sign(c jwt.Claims) (string, error) {
	var found jwt.ValidationResults
	c.Validate(&found)
	if errs := found.Errors(); len(errs) > 0 {
		return "", fmt.Errorf("claims of %s: %w", c.Claims().Name, errors.Join(errs...))
	}
	return c.Encode(a.keys[operatorKey])
}

// User is a NATS user: a JWT and the key that it speaks for.
type User struct {
	JWT  string
	Seed []byte // of the nkey
}

// Hub makes a user that may do everything in the fleet's account. Each hub makes one at each start and keeps
// it in memory.
func (a *Authority) Hub(name string) (User, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return User{}, err
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return User{}, err
	}
	text, err := a.user(hubKey, name, pub, time.Time{})
	if err != nil {
		return User{}, err
	}
	seed, err := kp.Seed()
	return User{JWT: text, Seed: seed}, err
}

// System makes a user of the system account, through which a hub tells servers that it does not run itself of new
// account claims. It may ask for claims and update them, and nothing else; as Hub's it is kept in memory.
func (a *Authority) System(name string) (User, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return User{}, err
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return User{}, err
	}
	uc := jwt.NewUserClaims(pub)
	uc.Name = name
	uc.Pub.Allow.Add("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT."+a.AccountID()+".CLAIMS.LOOKUP")
	uc.Sub.Allow.Add("_INBOX.>")
	text, err := uc.Encode(a.keys[systemKey])
	if err != nil {
		return User{}, fmt.Errorf("claims of %s: %w", name, err)
	}
	seed, err := kp.Seed()
	return User{JWT: text, Seed: seed}, err
}

// Node signs for a node with this public key (U…). The same node and key give claims with the same rights.
func (a *Authority) Node(name string, layer fleet.Layer, key string) (string, error) {
	if err := fleet.CheckNode(name); err != nil {
		return "", err
	}
	if _, err := fleet.ParseLayer(string(layer)); err != nil {
		return "", err
	}
	if !nkeys.IsValidPublicUserKey(key) {
		return "", fmt.Errorf("%w: %.60q is no public user key of NATS", fleet.ErrInvalid, key)
	}
	return a.user(signerKey(layer), name, key, time.Time{})
}

// MQTT signs for a microcontroller: a password, with any user name, that opens MQTT under its own subjects until
// expires. It is a secret. The key has no other use than to be revoked by.
func (a *Authority) MQTT(name, key string, expires time.Time) (string, error) {
	if err := fleet.CheckNode(name); err != nil {
		return "", err
	}
	if !nkeys.IsValidPublicUserKey(key) {
		return "", fmt.Errorf("%w: %.60q is no public user key of NATS", fleet.ErrInvalid, key)
	}
	return a.user(mqttKey, name, key, expires)
}

// Local signs for an edge's own work on its own broker: all rights, within the edge's process alone.
func (a *Authority) Local(name, key string) (string, error) {
	if !nkeys.IsValidPublicUserKey(key) {
		return "", fmt.Errorf("%w: %.60q is no public user key of NATS", fleet.ErrInvalid, key)
	}
	return a.user(localKey, name, key, time.Time{})
}

func (a *Authority) user(signer, name, key string, expires time.Time) (string, error) {
	uc := jwt.NewUserClaims(key)
	uc.Name = name
	uc.IssuerAccount = a.AccountID()
	if !expires.IsZero() {
		uc.Expires = expires.Unix()
	}
	uc.SetScoped(true)
	text, err := uc.Encode(a.keys[signer])
	if err != nil {
		return "", fmt.Errorf("claims of %s: %w", name, err)
	}
	return text, nil
}

// Revoke adds to the account's claims that what was signed for the key until now counts no more.
func (a *Authority) Revoke(account, key string, now time.Time) (string, error) {
	ac, err := a.decode(account)
	if err != nil {
		return "", err
	}
	// RevokeAt covers claims issued up to that second; a node that is let in again gets a new key.
	ac.RevokeAt(key, now.Add(time.Second))
	return a.sign(ac)
}

// Again signs account claims anew: the same, of this second.
func (a *Authority) Again(account string) (string, error) {
	ac, err := a.decode(account)
	if err != nil {
		return "", err
	}
	return a.sign(ac)
}

// RevokedAt is when the last of the account's revocations was made, 0 where there is none.
func RevokedAt(account string) (time.Time, error) {
	ac, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		return time.Time{}, fmt.Errorf("account claims: %w", err)
	}
	var last int64
	for _, at := range ac.Revocations {
		last = max(last, at)
	}
	if last == 0 {
		return time.Time{}, nil
	}
	return time.Unix(last, 0), nil
}

// IssuedAt is when account claims were signed: of two, the later ones count.
func IssuedAt(account string) (time.Time, error) {
	ac, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		return time.Time{}, fmt.Errorf("account claims: %w", err)
	}
	return time.Unix(ac.IssuedAt, 0), nil
}
