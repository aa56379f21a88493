package meter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/isomer-iot/isomer"
)

// Meter is a meter as a camera sees it: where its drums are, and pictures of it.
type Meter struct {
	Width, Height int    // of each picture, pixels
	Decimals      int    // how many of the last drums are decimals
	Unit          string // "m³"
	Regions       []Region
	Frames        []Frame
}

// Frame is one picture with the reading that it truly shows.
type Frame struct {
	File    string
	Reading string // one digit a drum, "041794"; empty where nobody knows
	Picture isomer.Image
}

// layoutFile is meter.json.
type layoutFile struct {
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	Decimals int      `json:"decimals"`
	Unit     string   `json:"unit"`
	Regions  []Region `json:"regions"`
	Frames   []struct {
		File    string `json:"file"`
		Reading string `json:"reading"`
	} `json:"frames"`
}

// Load reads meter.json and the PNG files that it lists. The error lists everything that is wrong.
func Load(folder fs.FS) (*Meter, error) {
	data, err := fs.ReadFile(folder, "meter.json")
	if err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	var file layoutFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("meter: meter.json: %w", err)
	}
	if err := file.check(); err != nil {
		return nil, err
	}
	m := &Meter{Width: file.Width, Height: file.Height, Decimals: file.Decimals, Unit: file.Unit, Regions: file.Regions}
	var wrong []error
	for _, f := range file.Frames {
		data, err := fs.ReadFile(folder, f.File)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("meter: %w", err))
			continue
		}
		picture, err := decode(data, m.Width, m.Height)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", f.File, err))
			continue
		}
		m.Frames = append(m.Frames, Frame{File: f.File, Reading: f.Reading, Picture: picture})
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return m, nil
}

func (f layoutFile) check() error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("meter: meter.json: "+format, args...))
	}
	if f.Width <= 0 || f.Height <= 0 || f.Width > maxSide || f.Height > maxSide {
		bad("width and height are %d and %d, must be 1 to %d", f.Width, f.Height, maxSide)
	}
	if len(f.Regions) == 0 {
		bad("no regions")
	}
	for i, r := range f.Regions {
		if err := r.within(f.Width, f.Height); err != nil {
			bad("regions[%d]: %w", i, err)
		}
	}
	if f.Decimals < 0 || f.Decimals > len(f.Regions) {
		bad("decimals is %d with %d drums", f.Decimals, len(f.Regions))
	}
	if len(f.Frames) == 0 {
		bad("no frames")
	}
	for i, frame := range f.Frames {
		if frame.Reading == "" {
			continue
		}
		if len(frame.Reading) != len(f.Regions) || strings.Trim(frame.Reading, "0123456789") != "" {
			bad("frames[%d].reading is %q, want %d digits", i, frame.Reading, len(f.Regions))
		}
	}
	return errors.Join(wrong...)
}
