package identity

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
)

// kinds are the keys of an authority by their file, and how each is made.
func kinds() map[string]func() (nkeys.KeyPair, error) {
	k := map[string]func() (nkeys.KeyPair, error){
		operatorKey: nkeys.CreateOperator, systemKey: nkeys.CreateAccount, accountKey: nkeys.CreateAccount, hubKey: nkeys.CreateAccount, localKey: nkeys.CreateAccount, mqttKey: nkeys.CreateAccount,
	}
	for _, l := range fleet.Layers() {
		k[signerKey(l)] = nkeys.CreateAccount
	}
	return k
}

// Files of the folder besides the keys.
const (
	caKeyFile    = "ca.key"
	caCertFile   = "ca.pem"
	operatorFile = "operator.jwt"
	systemFile   = "system.jwt"
	accountFile  = "account.jwt"
	completeFile = "complete" // written last: without it Create was interrupted
)

// Open reads the authority in the folder dir, or makes one where there is none. The folder holds every secret
// of the fleet but the developer's: whoever reads it can let nodes in, yet cannot make them run anything.
// Several hubs of one fleet have copies of it.
func Open(dir string) (*Authority, error) {
	_, err := os.Stat(filepath.Join(dir, completeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(dir); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrAuthority, dir, err)
		}
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	a, err := load(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrAuthority, dir, err)
	}
	return a, nil
}

// create makes the keys. What an interrupted one left is made anew, since nothing was signed with it.
func create(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	a := &Authority{keys: map[string]nkeys.KeyPair{}}
	for name, make := range kinds() {
		kp, err := make()
		if err != nil {
			return err
		}
		a.keys[name] = kp
		seed, err := kp.Seed()
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, name+".nk"), seed); err != nil {
			return err
		}
	}
	if err := a.claims(); err != nil {
		return err
	}
	ca, err := newCA(time.Now())
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return err
	}
	return errors.Join(
		write(filepath.Join(dir, caKeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		write(filepath.Join(dir, caCertFile), []byte(certPEM(ca.cert.Raw))),
		write(filepath.Join(dir, operatorFile), []byte(a.operator)),
		write(filepath.Join(dir, systemFile), []byte(a.system)),
		write(filepath.Join(dir, accountFile), []byte(a.account)),
		syncDir(dir),
		write(filepath.Join(dir, completeFile), nil),
		syncDir(dir),
	)
}

// write makes a file that its owner alone reads, to the end (fsync).
func write(file string, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func load(dir string) (*Authority, error) {
	a := &Authority{keys: map[string]nkeys.KeyPair{}}
	for name := range kinds() {
		seed, err := os.ReadFile(filepath.Join(dir, name+".nk"))
		if err != nil {
			return nil, err
		}
		if a.keys[name], err = nkeys.FromSeed(seed); err != nil {
			return nil, fmt.Errorf("%s.nk: %w", name, err)
		}
		want := nkeys.PrefixByteAccount
		if name == operatorKey {
			want = nkeys.PrefixByteOperator
		}
		if pub, err := a.keys[name].PublicKey(); err != nil || nkeys.Prefix(pub) != want {
			return nil, fmt.Errorf("%s.nk holds a key of another kind", name)
		}
	}
	var err error
	if a.ca, err = loadCA(dir); err != nil {
		return nil, err
	}
	for file, into := range map[string]*string{operatorFile: &a.operator, systemFile: &a.system, accountFile: &a.account} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		*into = string(b)
	}
	_, err = a.decode(a.account)
	return a, err
}

func loadCA(dir string) (*authorityCA, error) {
	blocks := map[string][]byte{}
	for file, kind := range map[string]string{caKeyFile: "PRIVATE KEY", caCertFile: "CERTIFICATE"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(b)
		if block == nil || block.Type != kind {
			return nil, fmt.Errorf("%s: want a PEM block %s", file, kind)
		}
		blocks[file] = block.Bytes
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[caKeyFile])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caKeyFile, err)
	}
	cert, err := x509.ParseCertificate(blocks[caCertFile])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caCertFile, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T cannot sign", caKeyFile, key)
	}
	if pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s is the certificate of another key than %s", caCertFile, caKeyFile)
	}
	return &authorityCA{key: signer, cert: cert}, nil
}
