package kernel

// Block is how much a kernel computes at once, where it is not left to the compiler. A field that is 0 stays as
// it was. Steps change the order of additions, and so the last bits of results.
type Block struct {
	Rows   int // of C that a product with constants holds
	Steps  int // of depth in the body of its loop
	Pixels int // of a row that a depthwise convolution computes
}

// With returns k with the block b, or k itself where it has none of b's fields.
func With(k Kernel, b Block) Kernel {
	switch k := k.(type) {
	case Gemm:
		if !k.Tile.Skew {
			return k
		}
		if b.Rows > 0 {
			k.Tile.MR = b.Rows
		}
		if b.Steps > 0 {
			k.Tile.Unroll = b.Steps
		}
		return k
	case Depthwise:
		if b.Pixels > 0 {
			k.Tile = b.Pixels
		}
		return k
	}
	return k
}
