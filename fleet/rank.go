package fleet

import (
	"crypto/sha256"
	"encoding/binary"
)

// Rank is a node's place in the order in which a deployment reaches its nodes: the first eight bytes of
// SHA-256(deployment "/" node), big-endian. It differs from one deployment to the next, so that the same
// nodes are not always the canaries, and needs no list of nodes to be kept.
func Rank(deployment, node string) uint64 {
	sum := sha256.Sum256([]byte(deployment + "/" + node))
	return binary.BigEndian.Uint64(sum[:8])
}

// Admits reports whether the rollout has reached the node, which its deployment's selector chooses.
func (r Rollout) Admits(node string) bool {
	return r.Admitting && Rank(r.Deployment, node) <= r.Threshold
}
