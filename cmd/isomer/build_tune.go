package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/bench"
	"github.com/isomer-iot/isomer/compiler"
)

// tuneFlags say which tiles kernels get.
type tuneFlags struct {
	on      bool
	engine  string
	profile string
}

// valid refuses what would be ignored.
func (f *tuneFlags) valid(c *cobra.Command) error {
	if c.Flags().Changed("tune-engine") && !f.on {
		return usage(c, "--tune-engine measures with --tune alone")
	}
	return nil
}

func (f *tuneFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.on, "tune", false, "measure tiles for each kernel that the profile lacks, keep the fastest, and add them to the profile; the last bits of results may change. Products of bytes have one tile")
	flags.StringVar(&f.engine, "tune-engine", engineWazero, "measure on this `ENGINE`: wazero, wasmtime or v8; the module runs everywhere, and is fastest there")
	flags.StringVar(&f.profile, "profile", "", "take the tiles of kernels from this `FILE`, which makes a build repeatable (default with --tune: the module's name, .profile.json)")
}

// profile is a file of measured tiles.
type profile struct {
	// Engine and Machine say where they were measured. They are for people: nothing is decided by them.
	Engine  string                   `json:"engine"`
	Machine string                   `json:"machine"`
	Tiles   map[string]compiler.Tile `json:"tiles"`
}

// readProfile reads a profile. One that is not there is empty if it is about to be measured.
func readProfile(path string, mayLack bool) (profile, error) {
	b, err := readRegular(path, maxText)
	if mayLack && errors.Is(err, fs.ErrNotExist) {
		return profile{}, nil
	}
	if err != nil {
		return profile{}, err
	}
	var p profile
	if err := strictJSON(b, &p); err != nil {
		return profile{}, hint(fmt.Errorf("%s is no profile: %w", path, err), "--tune writes profiles")
	}
	return p, nil
}

// candidates are the tiles that are tried against what the compiler chooses. Four rows spill in every engine, and
// each candidate costs a build and a twentieth of the time.
var candidates = []compiler.Tile{
	{Rows: 2, Steps: 8, Pixels: 4},
	{Rows: 2, Steps: 16, Pixels: 5},
	{Rows: 2, Steps: 32, Pixels: 7},
	{Rows: 3, Steps: 8, Pixels: 8},
	{Rows: 3, Steps: 16, Pixels: 6},
	{Rows: 1, Steps: 32, Pixels: 3},
}

const (
	// tuneRounds of tuneRuns runs each are spread over the time that tuning takes, so that other work on
	// the machine meets all candidates alike; the least time counts.
	tuneRounds = 3
	tuneRuns   = 7
	// tuneGain is what a tile has to gain over the compiler's choice: less is noise.
	tuneGain = 0.97
)

// path is the profile's, empty if there is none.
func (f *tuneFlags) path(output string) string {
	if f.profile == "" && f.on {
		return trimExt(output) + ".profile.json"
	}
	return f.profile
}

// read gives the tiles of the profile.
func (f *tuneFlags) read(output string) (profile, error) {
	path := f.path(output)
	if path == "" {
		return profile{}, nil
	}
	return readProfile(path, f.on)
}

// extend measures the tiles that p lacks, and writes it.
func (f *tuneFlags) extend(c *cobra.Command, show *progress, p *profile, output string, build compileFunc) error {
	best, err := f.measure(c, show, *p, build)
	if err != nil || len(best) == 0 {
		return err
	}
	if p.Tiles == nil {
		p.Tiles = map[string]compiler.Tile{}
	}
	maps.Copy(p.Tiles, best)
	p.Engine, p.Machine = f.engine, runtime.GOOS+"/"+runtime.GOARCH
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(c.Context(), f.path(output), append(b, '\n'))
}

// compileFunc compiles the model with tiles.
type compileFunc func(tiles map[string]compiler.Tile, progress func(stage string)) (*compiler.Module, error)

// measure finds the fastest tile of each kernel that p lacks; the zero tile is the compiler's choice.
func (f *tuneFlags) measure(c *cobra.Command, show *progress, p profile, build compileFunc) (map[string]compiler.Tile, error) {
	show.stage("tune")
	tried := append([]compiler.Tile{{}}, candidates...)
	nets := make([]*bench.Network, len(tried))
	for i, t := range tried {
		m, err := build(map[string]compiler.Tile{compiler.EveryKernel: t}, nil)
		if err != nil {
			return nil, err
		}
		if nets[i], err = bench.New(m.Bytes, 1); err != nil {
			return nil, err
		}
		if i == 0 && !slices.ContainsFunc(nets[0].Layers, func(l abi.Layer) bool { return lacks(p, l) }) {
			return nil, nil
		}
	}
	least := make([]map[string]time.Duration, len(tried))
	for i := range least {
		least[i] = map[string]time.Duration{}
	}
	for round := range tuneRounds {
		for i, n := range nets {
			show.far(fmt.Sprintf("%d of %d ", round*len(nets)+i+1, tuneRounds*len(nets)))
			m, err := measureOn(c, f.engine, n, tuneRuns, nil)
			if err != nil {
				return nil, fmt.Errorf("tune on %s: %w", f.engine, err)
			}
			for k, l := range n.Layers {
				if lacks(p, l) {
					name := tuned(l)
					if t, ok := least[i][name]; !ok || m.Layers[k].Least() < t {
						least[i][name] = m.Layers[k].Least()
					}
				}
			}
		}
	}
	best := map[string]compiler.Tile{}
	for name, own := range least[0] {
		best[name] = tried[0]
		limit := time.Duration(tuneGain * float64(own))
		for i := 1; i < len(tried); i++ {
			if t := least[i][name]; t < limit {
				best[name], limit = tried[i], t
			}
		}
	}
	return best, nil
}

// tuned is the kernel of a layer that tiles are for: the last, which does the work.
func tuned(l abi.Layer) string { return l.Kernels[len(l.Kernels)-1] }

// lacks reports whether the profile has no tile yet for a layer that multiplies.
func lacks(p profile, l abi.Layer) bool {
	if l.MACs == 0 {
		return false
	}
	_, known := p.Tiles[tuned(l)]
	return !known
}
