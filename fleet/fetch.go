package fleet

import (
	"encoding/binary"
	"strings"
)

// Nodes fetch modules in chunks over the connection that they have: a request holds the offset, the answer
// the bytes from there. Nothing is kept between chunks, so a transfer goes on wherever it was interrupted, and over whichever
// connection there is; the digest of the whole is checked at the end.

// MaxChunk is how many bytes an answer has at most: it fits NATS's default payload of 1 MiB.
const MaxChunk = 512 << 10

// ChunkRequest is the payload of a request to FetchSubject(from, "module", digest).
type ChunkRequest struct {
	Offset int64
	Length int // wanted; at most MaxChunk is given
}

// Encode is the request's 12 bytes: offset and length, big-endian.
func (r ChunkRequest) Encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Offset))
	return binary.BigEndian.AppendUint32(b, uint32(r.Length))
}

// DecodeChunkRequest reads what Encode writes.
func DecodeChunkRequest(b []byte) (ChunkRequest, error) {
	if len(b) != 12 {
		return ChunkRequest{}, invalid("chunk request has %d bytes, want 12", len(b))
	}
	off := binary.BigEndian.Uint64(b)
	if off > uint64(MaxModule) {
		return ChunkRequest{}, invalid("chunk request: offset %d is beyond the largest module", off)
	}
	n := binary.BigEndian.Uint32(b[8:])
	if n == 0 || n > MaxChunk {
		return ChunkRequest{}, invalid("chunk request: length %d, want 1 to %d", n, MaxChunk)
	}
	return ChunkRequest{Offset: int64(off), Length: int(n)}, nil
}

// Headers of answers to fetch requests.
const (
	// SizeHeader is the size of the whole in bytes, decimal.
	SizeHeader = "Isomer-Size"
	// RevisionHeader is the revision of a desired state: the same that republished messages have.
	RevisionHeader = "Nats-Sequence"
	// ErrorHeader says why there is no answer; its first word is one of the codes below.
	ErrorHeader = "Isomer-Error"
)

// Codes that an ErrorHeader begins with.
const (
	CodeNotFound = "not-found" // asking again later may help
	CodeGone     = "gone"      // it will not come back: the node was revoked
	CodeInvalid  = "invalid"   // the request itself is wrong
	CodeInternal = "internal"
)

// TrustKey is the name of a TUF file as a token of a subject and a key of TrustBucket.
func TrustKey(file string) string { return strings.ReplaceAll(file, ".", "_") }
