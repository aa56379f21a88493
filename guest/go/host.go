package guest

import (
	"errors"
	"time"
)

// ErrNoHost is what functions of the host answer outside WebAssembly, in go test for example.
var ErrNoHost = errors.New("no host: this works inside a module alone")

// Level is the weight of a line for Log.
type Level uint32

// The levels, as the host knows them.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// Log gives the host's log a line. Permission "log".
func Log(level Level, message string) { hostLog(level, message) }

// Now is the host's clock. Permission "clock"; without it time.Now works, and stands still at a fixed time.
func Now() time.Time { return time.Unix(0, int64(hostNow())).UTC() }

// Monotonic is the time since some moment that stays the same while the instance lives. Permission "clock".
func Monotonic() time.Duration { return time.Duration(hostMonotonic()) }

// Random is n bytes that nobody can foretell. Permission "random"; without it crypto/rand works, and gives
// every instance the same bytes.
func Random(n int) []byte { return hostRandom(max(n, 0)) }

// KVGet is the value that the module, this version or one before, has set; false where there is none.
// Permission "kv", as for all of KV.
func KVGet(key string) (value []byte, ok bool, err error) { return hostGet(key) }

// KVSet keeps a value beyond the instance's life.
func KVSet(key string, value []byte) error { return hostSet(key, value) }

// KVDelete forgets a key; one that is not there is no error.
func KVDelete(key string) error { return hostDelete(key) }

// KVKeys are the keys that begin with prefix.
func KVKeys(prefix string) ([]string, error) { return hostKeys(prefix) }

// Header is one line of a request or a response.
type Header struct{ Name, Value string }

// Request is what Fetch sends. No method means GET.
type Request struct {
	Method, URL string
	Headers     []Header
	Body        []byte
}

// Response is what came back, whatever its status.
type Response struct {
	Status  int
	Headers []Header
	Body    []byte
}

// Fetch asks an HTTP server. Permission "http:HOST" of each host.
func Fetch(r Request) (Response, error) {
	if r.Method == "" {
		r.Method = "GET"
	}
	return hostFetch(r)
}

// Publish sends a message to whoever listens to the subject. Permission "publish:SUBJECT".
func Publish(subject string, payload []byte) error { return hostPublish(subject, payload) }

// String is the level's name.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "error"
}

var levelNames = [...]string{"debug", "info", "warn", "error"}
