package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/isomer-iot/isomer/fleet/disk"
)

// Keys is a folder of a developer: private keys, and a copy of the roots and targets that were signed last.
//
//	root-1a2b3c4d.key     PEM: the public key, and the private one (PKCS #8) or its age encryption; mode 0600
//	targets-5e6f7a8b.key
//	metadata/             1.root.json …, 7.targets.json: what this developer takes as current
//
// Each change has three steps: Adopt what the hub has, make and sign the Change, upload it and Commit it.
// Whatever a hub says, versions go on from the copy, never from something older.
// The methods may not be called from several goroutines.
type Keys struct {
	o     KeysOptions
	dir   string
	files []*keyFile
	meta  Files
	pass  []byte
}

// KeysOptions are of a folder of keys. The zero value works for keys without a passphrase.
type KeysOptions struct {
	// Passphrase is asked once, when an encrypted key is to sign or a new one to be written. nil: new keys are not
	// encrypted, and encrypted ones are refused.
	Passphrase func() ([]byte, error)
	// RootLife and TargetsLife are how long new metadata is valid. 0: RootLife and TargetsLife of the package.
	RootLife, TargetsLife time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// PublicKeys are what a developer tells the others: hexadecimal Ed25519 keys.
type PublicKeys struct {
	Root    []string `json:"root"`
	Targets []string `json:"targets"`
}

type keyFile struct {
	role, path string
	public     string // hexadecimal
	id         string
	private    *pem.Block
	key        *signer // nil until unlocked
}

const (
	metadataDir  = "metadata"
	publicBlock  = "PUBLIC KEY"
	privateBlock = "PRIVATE KEY"
	maxKeyFile   = 64 << 10
)

// workFactor of scrypt: 2^18 takes about a second and 256 MB, as age's own default has it. Tests lower it.
var workFactor = 18

// CreateKeys makes the folder with one key for root and one for targets. It refuses a folder that has keys.
func CreateKeys(dir string, o KeysOptions) (*Keys, error) {
	if old, err := filepath.Glob(filepath.Join(dir, "*.key")); err != nil || len(old) > 0 {
		return nil, fmt.Errorf("%w: %s has keys already; they are what nodes trust, so they are not replaced", ErrKey, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k := &Keys{o: o, dir: dir, meta: Files{}}
	for _, role := range []string{metadata.ROOT, metadata.TARGETS} {
		if _, err := k.generate(role); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// OpenKeys reads the folder. No passphrase is asked for yet.
func OpenKeys(dir string, o KeysOptions) (*Keys, error) {
	k := &Keys{o: o, dir: dir}
	paths, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	for _, p := range paths {
		f, err := readKeyFile(p)
		if err != nil {
			return nil, err
		}
		k.files = append(k.files, f)
	}
	if len(k.files) == 0 {
		return nil, fmt.Errorf("%w: no keys in %s", ErrKey, dir)
	}
	k.meta, err = readMetadata(filepath.Join(dir, metadataDir))
	return k, err
}

func readKeyFile(path string) (*keyFile, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrKey, path, fmt.Sprintf(format, args...))
	}
	role, _, _ := strings.Cut(filepath.Base(path), "-")
	if role != metadata.ROOT && role != metadata.TARGETS {
		return nil, bad("its name should begin with root- or targets-")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, bad("%v", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, bad("others may read it (mode %04o): chmod 600 it, and rotate the key if somebody did", info.Mode().Perm())
	}
	if info.Size() > maxKeyFile {
		return nil, bad("%d bytes are no key", info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, bad("%v", err)
	}
	pub, rest := pem.Decode(b)
	if pub == nil || pub.Type != publicBlock {
		return nil, bad("it does not begin with a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(pub.Bytes)
	public, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, bad("its public key is no Ed25519 key")
	}
	f := &keyFile{role: role, path: path, public: hex.EncodeToString(public)}
	if f.private, _ = pem.Decode(rest); f.private == nil || f.private.Type != privateBlock && f.private.Type != armorType {
		return nil, bad("its private key is missing or cut off")
	}
	k, err := publicKey(f.public)
	if err != nil {
		return nil, bad("%v", err)
	}
	f.id, err = k.ID()
	return f, err
}

// armorType is age's PEM type.
var armorType = strings.TrimSuffix(strings.TrimPrefix(armor.Header, "-----BEGIN "), "-----")

func publicKey(public string) (*metadata.Key, error) {
	b, err := parsePublic(public)
	if err != nil {
		return nil, err
	}
	return metadata.KeyFromPublicKey(ed25519.PublicKey(b))
}

// generate makes a key of this folder for role, and writes it before anything depends on it.
func (k *Keys) generate(role string) (*keyFile, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	s, err := newSigner(private.Seed())
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	doc := pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: spki})
	block := &pem.Block{Type: privateBlock, Bytes: pkcs8}
	if k.o.Passphrase != nil {
		if block.Bytes, err = k.encrypt(pkcs8); err != nil {
			return nil, err
		}
		block.Type = armorType
	}
	doc = append(doc, pem.EncodeToMemory(block)...)
	f := &keyFile{role: role, public: s.public, id: s.id, private: block, key: &s,
		path: filepath.Join(k.dir, role+"-"+s.id[:8]+".key")}
	if err := disk.Write(disk.OS{}, f.path, doc, 0o600); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	k.files = append(k.files, f)
	return f, nil
}

func (k *Keys) passphrase() (string, error) {
	if k.o.Passphrase == nil {
		return "", fmt.Errorf("%w: it is encrypted and no passphrase was given", ErrKey)
	}
	if k.pass == nil {
		p, err := k.o.Passphrase()
		if err != nil {
			return "", fmt.Errorf("%w: passphrase: %w", ErrKey, err)
		}
		if len(p) == 0 {
			return "", fmt.Errorf("%w: the passphrase is empty", ErrKey)
		}
		k.pass = p
	}
	return string(k.pass), nil
}

func (k *Keys) encrypt(b []byte) ([]byte, error) {
	p, err := k.passphrase()
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	r.SetWorkFactor(workFactor)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	_, err = w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil { // Close writes the last chunk
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return out.Bytes(), nil
}

func (k *Keys) decrypt(b []byte) ([]byte, error) {
	p, err := k.passphrase()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(p)
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(20) // 1 GB: a file may not ask for more
	r, err := age.Decrypt(bytes.NewReader(b), id)
	if err != nil {
		k.pass = nil // ask again
		return nil, fmt.Errorf("wrong passphrase, or a damaged file: %w", err)
	}
	return io.ReadAll(io.LimitReader(r, maxKeyFile))
}

// unlock makes the key ready to sign.
func (k *Keys) unlock(f *keyFile) (*signer, error) {
	if f.key != nil {
		return f.key, nil
	}
	bad := func(err error) (*signer, error) { return nil, fmt.Errorf("%w: %s: %w", ErrKey, f.path, err) }
	pkcs8 := f.private.Bytes
	if f.private.Type == armorType {
		var err error
		if pkcs8, err = k.decrypt(pkcs8); err != nil {
			return bad(err)
		}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return bad(err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return bad(errors.New("it is no Ed25519 key"))
	}
	s, err := newSigner(private.Seed())
	if err != nil {
		return bad(err)
	}
	if s.public != f.public {
		return bad(errors.New("its private key belongs to another public key"))
	}
	f.key = &s
	return f.key, nil
}

// Public are the public halves of the keys in the folder.
func (k *Keys) Public() PublicKeys {
	var p PublicKeys
	for _, f := range k.files {
		if f.role == metadata.ROOT {
			p.Root = append(p.Root, f.public)
		} else {
			p.Targets = append(p.Targets, f.public)
		}
	}
	return p
}

// KeyID is the id under which metadata names a public key.
func KeyID(public string) (string, error) {
	k, err := publicKey(public)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	return k.ID()
}

func (k *Keys) now() time.Time {
	if k.o.Now != nil {
		return k.o.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

// readMetadata reads a developer's copy; none is no error.
func readMetadata(dir string) (Files, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	files := Files{}
	for _, e := range entries {
		role, _, err := parseName(e.Name())
		if err != nil || role != metadata.ROOT && role != metadata.TARGETS {
			continue
		}
		b, err := DirStore(dir).Load(e.Name(), maxSize[role])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, e.Name()), err)
		}
		files[e.Name()] = b
	}
	if len(files) == 0 {
		return files, nil
	}
	if _, _, err := files.signed(); err != nil {
		return nil, fmt.Errorf("%s: %w; remove the folder and fetch from the hub again", dir, err)
	}
	return files, nil
}

// writeMetadata replaces the copy, and removes targets of the past.
func (k *Keys) writeMetadata(files Files) error {
	dir := filepath.Join(k.dir, metadataDir)
	for _, name := range files.Order() {
		if same(k.meta[name], files[name]) {
			continue
		}
		if err := DirStore(dir).Save(name, files[name]); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	for name := range k.meta {
		if files[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%w: %w", ErrStore, err)
			}
		}
	}
	k.meta = files
	return nil
}

// signed are the newest root and targets of files that have no timestamp, verified.
func (f Files) signed() (*rootDoc, *targetsDoc, error) {
	v, err := f.chain(never)
	if err != nil {
		return nil, nil, err
	}
	n := f.newest(metadata.TARGETS)
	b := f[fileName(metadata.TARGETS, n)]
	if b == nil {
		return nil, nil, fmt.Errorf("%w: no targets among the files", ErrNoMetadata)
	}
	m, err := readTargets(b)
	if err != nil {
		return nil, nil, failure(fileName(metadata.TARGETS, n), err)
	}
	if m.Signed.Version != n {
		return nil, nil, tampered("%s holds version %d", fileName(metadata.TARGETS, n), m.Signed.Version)
	}
	return v.set.Root, m, verifyTargets(v.set.Root, m)
}

// Fingerprint is the SHA-256 of the newest root: for join tokens.
func (k *Keys) Fingerprint() (string, error) { return k.meta.Fingerprint() }

// Info describes the copy.
func (k *Keys) Info() (Info, error) {
	root, targets, err := k.meta.signed()
	if err != nil {
		return Info{}, err
	}
	return view{root: root, targets: targets}.info(), nil
}

// Files are the roots and targets of the copy, such as a hub that lost its state needs.
func (k *Keys) Files() Files {
	f := Files{}
	for name, b := range k.meta {
		f[name] = slices.Clone(b)
	}
	return f
}
