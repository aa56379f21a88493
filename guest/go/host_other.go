//go:build !wasip1

package guest

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"
)

// What works outside WebAssembly, so that the functions of a module can be tested with go test.

var began = time.Now()

func hostLog(level Level, message string) { fmt.Fprintln(os.Stderr, level, message) }
func hostNow() uint64                     { return uint64(time.Now().UnixNano()) }
func hostMonotonic() uint64               { return uint64(time.Since(began)) }

func hostRandom(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func hostGet(string) ([]byte, bool, error) { return nil, false, ErrNoHost }
func hostSet(string, []byte) error         { return ErrNoHost }
func hostDelete(string) error              { return ErrNoHost }
func hostKeys(string) ([]string, error)    { return nil, ErrNoHost }
func hostFetch(Request) (Response, error)  { return Response{}, ErrNoHost }
func hostPublish(string, []byte) error     { return ErrNoHost }
