package sensors

import "strings"

// iioUnits are the units of the kernel's ABI with the factor to those that people use.
var iioUnits = map[string]struct {
	unit   string
	factor float64
}{
	"temp": {"°C", 1e-3}, "humidityrelative": {"%", 1e-3}, "pressure": {"kPa", 1},
	"voltage": {"V", 1e-3}, "current": {"A", 1e-3}, "power": {"W", 1e-3}, "resistance": {"Ω", 1}, "energy": {"J", 1},
	"illuminance": {"lx", 1}, "concentration": {"%", 1}, "distance": {"m", 1}, "capacitance": {"nF", 1},
	"accel": {"m/s²", 1}, "anglvel": {"rad/s", 1}, "magn": {"G", 1}, "angl": {"rad", 1},
}

// readIIO reads the inputs of an Industrial I/O device: in_CHANNEL_input is the value, or else it is
// (in_CHANNEL_raw + offset) × scale, where both may belong to the channel or to all of its type.
func readIIO(f folder) []Reading {
	var out []Reading
	processed := map[string]bool{}
	for _, name := range f.files {
		if ch, ok := channel(name, "_input"); ok {
			processed[ch] = true
		}
	}
	for _, name := range f.files {
		ch, raw := channel(name, "_raw")
		if raw && processed[ch] {
			continue
		}
		if !raw {
			var ok bool
			if ch, ok = channel(name, "_input"); !ok {
				continue
			}
		}
		u, known := iioUnits[typeOf(ch)]
		if !known {
			u.factor = 1 // a type that is newer than this table: the number as it is
		}
		v, err := f.number(name)
		if raw && err == nil {
			v, err = f.scaled(ch, v)
		}
		label, _ := f.text("in_" + ch + "_label")
		if r, ok := f.reading(Reading{Channel: ch, Label: label, Unit: u.unit}, v*u.factor, err); ok {
			out = append(out, r)
		}
	}
	return out
}

func (f folder) scaled(ch string, raw float64) (float64, error) {
	offset, err := f.first(0, shared(ch, "_offset")...)
	if err != nil {
		return 0, err
	}
	scale, err := f.first(1, shared(ch, "_scale")...)
	return (raw + offset) * scale, err
}

// shared are the attributes that may hold a channel's scale or offset: its own, then that of channels of
// its kind: in_voltage0-voltage1, in_voltage-voltage, in_voltage.
func shared(ch, suffix string) []string {
	kind := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, ch)
	return []string{"in_" + ch + suffix, "in_" + kind + suffix, "in_" + typeOf(ch) + suffix}
}

// channel is CHANNEL of in_CHANNEL_suffix.
func channel(name, suffix string) (string, bool) {
	ch, in := strings.CutPrefix(name, "in_")
	ch, ok := strings.CutSuffix(ch, suffix)
	return ch, in && ok && ch != ""
}

// typeOf is what a channel measures: voltage of voltage0, accel of accel_x.
func typeOf(ch string) string {
	if end := strings.IndexFunc(ch, func(r rune) bool { return r < 'a' || r > 'z' }); end >= 0 {
		return ch[:end]
	}
	return ch
}
