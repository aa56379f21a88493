package wazero

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// shelf is the directory of one module in the cache directory, in which wazero keeps a file of machine
// code for each of its versions and each kind of processor. wazero's checksum leaves out the table of
// functions, where a damaged number sends calls anywhere, and the count before it, for which up to 32 GiB
// are allocated. So each file has the sum of all its bytes beside it, and one without is removed
// before wazero sees it. Files and sums are replaced by renaming: processes that meet here at worst
// remove each other's work, and the next one does it again.
type shelf struct{ dir string }

// sumSuffix marks the file with the sum of another.
const sumSuffix = ".sha256"

// abandoned is the age from which an unfinished file belongs to a process that is gone.
const abandoned = time.Hour

// openShelf makes the directory for bin, and removes what is damaged in it. An error means that nothing
// there may be used.
func openShelf(cacheDir string, bin []byte) (*shelf, error) {
	sum := sha256.Sum256(bin)
	s := &shelf{dir: filepath.Join(cacheDir, hex.EncodeToString(sum[:16]))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	files, err := s.files()
	for _, f := range files {
		if s.sealed(f) {
			continue
		}
		if e := os.Remove(f); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return s, err
}

// files lists the files of machine code, and removes unfinished ones.
func (s *shelf) files() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(s.dir, "*", "*"))
	if err != nil {
		return nil, err
	}
	var code []string
	for _, f := range all {
		switch {
		case strings.HasSuffix(f, sumSuffix):
		case strings.HasSuffix(f, ".tmp"):
			if i, err := os.Lstat(f); err == nil && time.Since(i.ModTime()) > abandoned {
				_ = os.Remove(f)
			}
		default:
			code = append(code, f)
		}
	}
	return code, nil
}

// sealed reports whether a file has its sum beside it.
func (s *shelf) sealed(file string) bool {
	want, err := readShort(file + sumSuffix)
	if err != nil {
		return false
	}
	got, err := s.sum(file)
	return err == nil && got == want
}

func readShort(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*sha256.Size+1))
	return string(b), err
}

// sum covers the place as well: a file that somebody copied to another module's is not that one's.
func (s *shelf) sum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, _ = io.WriteString(h, filepath.Base(s.dir)+"/"+filepath.Base(file)+"\n")
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// seal gives what was compiled its sum. Where that fails the next process compiles again.
func (s *shelf) seal() {
	files, _ := s.files()
	for _, f := range files {
		if _, err := os.Lstat(f + sumSuffix); err == nil && s.sealed(f) {
			continue
		}
		if sum, err := s.sum(f); err == nil {
			s.write(f+sumSuffix, sum)
		}
	}
}

func (s *shelf) write(file, content string) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.tmp")
	if err != nil {
		return
	}
	_, err = io.WriteString(f, content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}
