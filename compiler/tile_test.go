package compiler

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// Every tile computes what Eval does, with rows and pixels that no tile divides.
func TestTiles(t *testing.T) {
	bin, err := os.ReadFile(meterModel)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tile := range []Tile{
		{Rows: 1, Steps: 4, Pixels: 1}, {Rows: 2, Steps: 12, Pixels: 3}, {Rows: 3, Steps: 16, Pixels: 5}, {Rows: 4, Steps: 64, Pixels: 16},
	} {
		t.Run(fmt.Sprint(tile), func(t *testing.T) {
			opt := Options{Tiles: map[string]Tile{EveryKernel: tile}}
			checkModel(t, m, opt, 1e-4)
			tuned, err := Compile(bin, opt)
			if err != nil {
				t.Fatal(err)
			}
			if own, err := Compile(bin, Options{}); err != nil || bytes.Equal(own.Bytes, tuned.Bytes) {
				t.Errorf("the tile changes nothing, %v", err)
			}
		})
	}
}

func TestTileOfOneKernel(t *testing.T) {
	own, err := CompileFile(meterModel, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var kernel string
	for _, l := range own.Stats.Layers {
		if l.Kind == Depthwise {
			kernel = l.Kernel
		}
	}
	for name, changes := range map[string]bool{kernel: true, "nosuch": false} {
		m, err := CompileFile(meterModel, Options{Tiles: map[string]Tile{name: {Pixels: 2}}})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(m.Bytes, own.Bytes) == changes {
			t.Errorf("a tile for %q changes the module: %v", name, !changes)
		}
	}
}

func TestTilesAreChecked(t *testing.T) {
	for want, tile := range map[string]Tile{
		`tile of "gemm": 5 rows; want 0 to 4`:             {Rows: 5},
		`tile of "gemm": -1 rows; want 0 to 4`:            {Rows: -1},
		`tile of "gemm": 6 steps; want 0 to 64 by fours`:  {Steps: 6},
		`tile of "gemm": 17 pixels; want 0 to 16`:         {Pixels: 17},
		`tile of "gemm": 2147483647 pixels; want 0 to 16`: {Pixels: math.MaxInt32},
	} {
		_, err := CompileFile(meterModel, Options{Tiles: map[string]Tile{"gemm": tile}})
		if !errors.Is(err, ErrOptions) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
