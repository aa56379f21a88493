package trust

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/isomer-iot/isomer/fleet/disk"
)

// Store keeps a client's records. Save has replaced the record durably and at once when it returns, so that after a power
// cut Load returns either the old or the new bytes; where a store fails in that, the client notices.
type Store interface {
	// Load returns the record; fs.ErrNotExist where there is none, ErrTampered where it has more than most bytes.
	Load(name string, most int64) ([]byte, error)
	Save(name string, b []byte) error
}

// DirStore keeps records as files of a folder, which it makes with mode 0700 when it saves the first.
type DirStore string

// Load reads the file.
func (d DirStore) Load(name string, most int64) ([]byte, error) {
	return OnDisk(disk.OS{}, string(d)).Load(name, most)
}

// Save replaces the file durably.
func (d DirStore) Save(name string, b []byte) error {
	return OnDisk(disk.OS{}, string(d)).Save(name, b)
}

// OnDisk is a DirStore with a disk to write to.
func OnDisk(d disk.FS, dir string) Store { return diskStore{d, dir} }

type diskStore struct {
	disk disk.FS
	dir  string
}

func (d diskStore) Load(name string, most int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrTampered, most)
	}
	return b, err
}

func (d diskStore) Save(name string, b []byte) error {
	if err := disk.MkdirAll(d.disk, d.dir, 0o700); err != nil {
		return err
	}
	return disk.Write(d.disk, filepath.Join(d.dir, name), b, 0o600)
}
