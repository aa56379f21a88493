//go:build !unix

package descriptors

// Limit is unknown.
func Limit() int { return Unknown }
