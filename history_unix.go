//go:build unix

package isomer

import (
	"errors"
	"os"
	"syscall"
)

// syncNames puts the names in a directory on the disk. Some file systems have no such call and say EINVAL.
func syncNames(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
