package isomer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// NewDirStore makes a Store of files below dir, which is made if needed: a folder a module, a file a key.
// Set returns when the value is on the disk; after a power failure each key has its old value or its new
// one. One process at a time may use the folder.
func NewDirStore(dir string, opts ...StoreOption) (Store, error) {
	l, err := newStoreLimits(opts)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, fmt.Errorf("%w: store directory is empty", ErrOption)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("isomer: store: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("isomer: store: %w", err)
	}
	return &dirStore{dir: abs, limits: l, modules: map[string]*dirSpace{}}, nil
}

type dirStore struct {
	dir     string
	limits  storeLimits
	mu      sync.Mutex // guards modules
	modules map[string]*dirSpace
}

// dirSpace is the folder of one module.
type dirSpace struct {
	mu     sync.Mutex // one change at a time, so that the limit holds
	dir    string
	loaded bool
	used   int64
}

// Names of files: escaped keys, digests of keys whose escaped form a file system does not take, and
// what is being written.
const (
	plainFile  = "k-"
	hashedFile = "h-"
	newFile    = "new-"
	// maxFileName is what file systems take (255), less the prefix and room for those that encrypt names.
	maxFileName = 140
)

// abandoned is the age from which a file that is being written is taken for what a power failure left: a write
// takes milliseconds, and "isomer call" may be used beside a process that serves.
const abandoned = time.Minute

// fileName is a name that each file system takes, and tells from every other on each: letters of one case, digits
// and '-' stand for themselves, the rest is %XX. The prefix keeps ".", "nul" and the like from being what they are.
func fileName(key string) (name string, hashed bool) {
	var b strings.Builder
	b.WriteString(plainFile)
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() <= maxFileName {
		return b.String(), false
	}
	sum := sha256.Sum256([]byte(key))
	return hashedFile + hex.EncodeToString(sum[:]), true
}

// keyOf undoes fileName for names that are not hashed.
func keyOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, plainFile)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b.WriteByte(rest[i])
			continue
		}
		if i+3 > len(rest) {
			return "", false
		}
		c, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	key := b.String()
	again, hashed := fileName(key)
	return key, again == name && !hashed
}

// space is the folder of a module, which Set makes.
func (s *dirStore) space(module string) *dirSpace {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.modules[module]
	if sp == nil {
		name, _ := fileName(module)
		sp = &dirSpace{dir: filepath.Join(s.dir, name)}
		s.modules[module] = sp
	}
	return sp
}

// storeError tells what went wrong without the host's paths: its text goes to the guest.
func storeError(doing, key string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	} else if l, ok := errors.AsType[*os.LinkError](err); ok {
		err = l.Err
	}
	return fmt.Errorf("%s %q: %w", doing, key, err)
}

// errDamaged is a file that this store did not write.
var errDamaged = errors.New("the stored value is damaged")

func (s *dirStore) Get(_ context.Context, module, key string) ([]byte, bool, error) {
	name, hashed := fileName(key)
	b, err := readStored(filepath.Join(s.space(module).dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err == nil && hashed {
		var of string
		if of, b, err = cutKey(b); err == nil && of != key {
			err = errDamaged
		}
	}
	if err != nil {
		return nil, false, storeError("get", key, err)
	}
	return b, true, nil
}

// readStored reads a file that may have been put there by somebody else.
func readStored(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 2 + abi.MaxKey + abi.MaxValue
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = errDamaged
	}
	return b, err
}

// A hashed file begins with the key: its length in two bytes, then its bytes.
func withKey(key string, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(key)))
	return append(append(b, key...), value...)
}

func cutKey(b []byte) (key string, value []byte, err error) {
	if len(b) < 2 {
		return "", nil, errDamaged
	}
	n := int(binary.LittleEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, errDamaged
	}
	return string(b[2 : 2+n]), b[2+n:], nil
}

func (s *dirStore) Set(_ context.Context, module, key string, value []byte) error {
	sp := s.space(module)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if err := sp.load(); err != nil {
		return storeError("set", key, err)
	}
	name, hashed := fileName(key)
	path := filepath.Join(sp.dir, name)
	before, err := stored(path, key, hashed)
	if err != nil {
		return storeError("set", key, err)
	}
	after := cost(key, int64(len(value)))
	if err := s.limits.room(sp.used, before, after); err != nil {
		return err
	}
	if hashed {
		value = withKey(key, value)
	}
	if err := replaceFile(path, value); err != nil {
		return storeError("set", key, err)
	}
	sp.used += after - before
	return nil
}

// stored is what the entry at path counts, 0 where there is none.
func stored(path, key string, hashed bool) (int64, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	size := st.Size()
	if hashed {
		size -= int64(2 + len(key))
	}
	return cost(key, max(0, size)), nil
}

// replaceFile writes a file so that a power failure leaves the old one or the new one.
func replaceFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, newFile)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncNames(dir)
}

// load makes the folder, counts what is in it and removes what a power failure left half written.
func (sp *dirSpace) load() error {
	if sp.loaded {
		return nil
	}
	err := os.Mkdir(sp.dir, 0o700)
	if err == nil {
		err = syncNames(filepath.Dir(sp.dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(sp.dir)
	if err != nil {
		return err
	}
	sp.used = 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newFile) {
			if st, err := e.Info(); err == nil && time.Since(st.ModTime()) > abandoned {
				_ = os.Remove(filepath.Join(sp.dir, e.Name()))
			}
			continue
		}
		key, hashed, ok := sp.key(e.Name())
		if !ok {
			continue
		}
		n, err := stored(filepath.Join(sp.dir, e.Name()), key, hashed)
		if err != nil {
			return err
		}
		sp.used += n
	}
	sp.loaded = true
	return nil
}

// key is the key of a file; false where the file is none of this store's.
func (sp *dirSpace) key(name string) (key string, hashed, ok bool) {
	if !strings.HasPrefix(name, hashedFile) {
		key, ok = keyOf(name)
		return key, false, ok
	}
	f, err := os.Open(filepath.Join(sp.dir, name))
	if err != nil {
		return "", true, false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 2+abi.MaxKey))
	if err != nil {
		return "", true, false
	}
	key, _, err = cutKey(head)
	want, _ := fileName(key)
	return key, true, err == nil && want == name
}

func (s *dirStore) Delete(_ context.Context, module, key string) error {
	sp := s.space(module)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if _, err := os.Lstat(sp.dir); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever stored
	}
	if err := sp.load(); err != nil {
		return storeError("delete", key, err)
	}
	name, hashed := fileName(key)
	path := filepath.Join(sp.dir, name)
	before, err := stored(path, key, hashed)
	if err == nil && before > 0 {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("delete", key, err)
	}
	sp.used -= before
	if err := syncNames(sp.dir); err != nil {
		return storeError("delete", key, err)
	}
	return nil
}

func (s *dirStore) Keys(_ context.Context, module, prefix string) ([]string, error) {
	sp := s.space(module)
	entries, err := os.ReadDir(sp.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError("keys", prefix, err)
	}
	var keys []string
	for _, e := range entries {
		if key, _, ok := sp.key(e.Name()); ok && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
