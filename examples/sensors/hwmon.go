package sensors

import (
	"errors"
	"strings"
)

// hwmonUnits are the units of the kernel's ABI with the factor to those that people use.
var hwmonUnits = map[string]struct {
	unit   string
	factor float64
}{
	"temp": {"°C", 1e-3}, "fan": {"rpm", 1}, "in": {"V", 1e-3}, "curr": {"A", 1e-3},
	"power": {"W", 1e-6}, "energy": {"J", 1e-6}, "humidity": {"%", 1e-3}, "freq": {"Hz", 1},
}

var errFault = errors.New("the chip reports a fault of the sensor")

// readHwmon reads the inputs of a hardware monitor: temp1_input with temp1_label and temp1_fault.
func readHwmon(f folder) []Reading {
	var out []Reading
	for _, name := range f.files {
		ch, ok := strings.CutSuffix(name, "_input")
		u, known := hwmonUnits[typeOf(ch)]
		if !ok || !known {
			continue
		}
		v, err := f.number(name)
		if fault, ferr := f.number(ch + "_fault"); err == nil && ferr == nil && fault != 0 {
			err = errFault // a sensor that is cut off shows some temperature all the same
		}
		label, _ := f.text(ch + "_label")
		if r, ok := f.reading(Reading{Channel: ch, Label: label, Unit: u.unit}, v*u.factor, err); ok {
			out = append(out, r)
		}
	}
	return out
}
