//go:build !unix

package isomer

// syncNames does nothing where a directory cannot be synced; the file system's own journal has to do.
func syncNames(string) error { return nil }
