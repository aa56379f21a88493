//go:build !unix

package isomer

// syncDir does nothing where a directory cannot be synced; the file system's own journal has to do.
func syncDir(string) error { return nil }
