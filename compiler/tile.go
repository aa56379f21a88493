package compiler

import (
	"fmt"
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/emit"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
)

// Tile is how much one kernel computes at once. A field that is 0 is left to the compiler. Which is fastest
// depends on the engine and the processor. Steps are added in another order, which may change the last bits of
// results; rows and pixels change none.
type Tile struct {
	// Rows and Steps are for products with constants: rows of the result held in registers, 1 to 4, and
	// steps of depth in the body of the innermost loop, a multiple of 4 up to 64.
	Rows  int `json:"rows,omitempty"`
	Steps int `json:"steps,omitempty"`
	// Pixels are for depthwise convolutions: pixels of a row computed side by side, 1 to 16.
	Pixels int `json:"pixels,omitempty"`
}

// EveryKernel is the key of [Options.Tiles] for kernels that have none of their own.
const EveryKernel = emit.EveryKernel

// The largest tiles: beyond, accumulators are far more than registers and only the code grows.
const (
	maxTileRows   = 4
	maxTileSteps  = 64
	maxTilePixels = 16
)

func (t Tile) check(kernel string) error {
	wrong := func(value int, what string, most int, by string) error {
		return fmt.Errorf("%w: tile of %q: %d %s; want 0 to %d%s", ErrOptions, kernel, value, what, most, by)
	}
	switch {
	case t.Rows < 0 || t.Rows > maxTileRows:
		return wrong(t.Rows, "rows", maxTileRows, "")
	case t.Steps < 0 || t.Steps > maxTileSteps || t.Steps%4 != 0:
		return wrong(t.Steps, "steps", maxTileSteps, " by fours")
	case t.Pixels < 0 || t.Pixels > maxTilePixels:
		return wrong(t.Pixels, "pixels", maxTilePixels, "")
	}
	return nil
}

// checkTiles reports the first tile, by name, that is wrong.
func checkTiles(tiles map[string]Tile) error {
	for _, name := range slices.Sorted(maps.Keys(tiles)) {
		if err := tiles[name].check(name); err != nil {
			return err
		}
	}
	return nil
}

// blocks are the tiles in the words of kernels.
func blocks(tiles map[string]Tile) map[string]kernel.Block {
	b := make(map[string]kernel.Block, len(tiles))
	for name, t := range tiles {
		b[name] = kernel.Block(t)
	}
	return b
}
