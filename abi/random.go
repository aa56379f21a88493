package abi

// FixedRandom is the bytes that a module gets where real randomness is not granted, the same in each instance and on
// each host (docs/abi.md section 9). The zero value begins the sequence.
//
// SplitMix64 (Steele, Lea, Flood 2014): every host can have it in ten lines, and nobody takes it for a secret.
type FixedRandom struct {
	drawn uint64 // words so far
	word  uint64
	left  int // bytes of word that were not handed out
}

const (
	fixedSeed = 42
	golden    = 0x9e3779b97f4a7c15 // 2⁶⁴ / φ
)

// Read fills p, always.
func (r *FixedRandom) Read(p []byte) (int, error) {
	for i := range p {
		if r.left == 0 {
			r.drawn++
			z := fixedSeed + r.drawn*golden
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			r.word, r.left = z^z>>31, 8
		}
		p[i] = byte(r.word)
		r.word >>= 8
		r.left--
	}
	return len(p), nil
}
