// A module that decides what a reading means: limits.json has the thresholds, and a new build of the
// module over the old file changes them while the core application runs.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	guest "github.com/isomer-iot/isomer/guest/go"
)

//go:embed limits.json
var limitsFile []byte

// limit is for the channels that it names; what is empty fits any. The first limit that fits counts.
type limit struct {
	Device  string   `json:"device"`
	Channel string   `json:"channel"`
	Low     *float64 `json:"low"`
	High    *float64 `json:"high"`
}

type reading struct {
	Source  string  `json:"source"`
	Device  string  `json:"device"`
	Channel string  `json:"channel"`
	Label   string  `json:"label,omitempty"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Error   string  `json:"error,omitempty"`
}

// report is a reading with what to think of it: ok, low, high or fault.
type report struct {
	reading
	State string   `json:"state"`
	Limit *float64 `json:"limit,omitempty"` // the one that is broken
}

var limits, limitsErr = parse(limitsFile)

func parse(file []byte) ([]limit, error) {
	var l []limit
	if err := json.Unmarshal(file, &l); err != nil {
		return nil, fmt.Errorf("limits.json: %w", err)
	}
	if len(l) == 0 {
		return nil, errors.New("limits.json has no limits")
	}
	return l, nil
}

//go:wasmexport decide
func decide(ptr, n uint32) uint32 { return guest.AnswerJSON(ptr, n, judge) }

func judge(in []reading) ([]report, error) {
	if limitsErr != nil {
		return nil, limitsErr
	}
	out := make([]report, len(in))
	for k, r := range in {
		out[k] = assess(r)
	}
	return out, nil
}

func assess(r reading) report {
	if r.Error != "" {
		return report{reading: r, State: "fault"}
	}
	for _, l := range limits {
		if (l.Device != "" && l.Device != r.Device) || (l.Channel != "" && l.Channel != r.Channel) {
			continue
		}
		switch {
		case l.High != nil && r.Value > *l.High:
			return report{reading: r, State: "high", Limit: l.High}
		case l.Low != nil && r.Value < *l.Low:
			return report{reading: r, State: "low", Limit: l.Low}
		}
		break
	}
	return report{reading: r, State: "ok"}
}

func main() {}
