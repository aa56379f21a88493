// A module that adds up the energy of a meter's pulses.
package main

import (
	"errors"

	guest "github.com/isomer-iot/isomer/guest/go"
)

const pulsesPerKWh = 1000

type energy struct {
	KWh float64 `json:"kWh"`
}

//go:wasmexport total
func total(ptr, n uint32) uint32 { return guest.AnswerJSON(ptr, n, sum) }

func sum(pulses []int64) (energy, error) {
	var all int64
	for _, p := range pulses {
		if p < 0 {
			return energy{}, errors.New("a pulse count is below 0")
		}
		all += p
	}
	return energy{KWh: float64(all) / pulsesPerKWh}, nil
}

func main() {}
