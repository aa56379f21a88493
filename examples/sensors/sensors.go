// Package sensors reads the sensors that Linux shows under /sys, for the core application beside it.
//
// Use sensors to see how a core application takes real data to a module, and as a beginning of your own;
// never as a library: it may change with each commit.
//
// Two of the kernel's interfaces are read, as Documentation/ABI/testing/sysfs-bus-iio and
// Documentation/hwmon/sysfs-interface describe them: Industrial I/O (converters, climate, motion) and
// hardware monitoring (temperatures, fans and voltages of the machine itself).
package sensors

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Reading is one value of one sensor. Value is in Unit; where Error is set there is none.
type Reading struct {
	Source  string  `json:"source"`          // the kernel's name, such as iio:device0 or hwmon1
	Device  string  `json:"device"`          // the driver's name, such as bme280
	Channel string  `json:"channel"`         // such as temp or voltage0
	Label   string  `json:"label,omitempty"` // what the board's maker calls it
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Error   string  `json:"error,omitempty"`
}

// Scan reads every sensor below sys, which is /sys on a device. Devices that come and go between two scans
// are normal: a sensor that fails is a Reading with Error, one that is gone is in no Reading. The error is
// for a tree that cannot be read at all.
func Scan(sys string) ([]Reading, error) {
	if _, err := os.Stat(sys); err != nil {
		return nil, fmt.Errorf("sensors: %w", err)
	}
	var out []Reading
	for _, bus := range []struct {
		dir, prefix string
		read        func(folder) []Reading
	}{
		{"bus/iio/devices", "iio:device", readIIO},
		{"class/hwmon", "hwmon", readHwmon},
	} {
		dir := filepath.Join(sys, filepath.FromSlash(bus.dir))
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without that interface
		}
		if err != nil {
			return nil, fmt.Errorf("sensors: %w", err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), bus.prefix) {
				continue // triggers and the like
			}
			f, err := open(filepath.Join(dir, e.Name()))
			if err != nil {
				continue // gone since it was listed
			}
			out = append(out, bus.read(f)...)
		}
	}
	return out, nil
}

// folder is one device's attributes.
type folder struct {
	path, device string
	files        []string
}

func open(path string) (folder, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return folder{}, err
	}
	f := folder{path: path}
	for _, e := range entries {
		f.files = append(f.files, e.Name())
	}
	f.device, _ = f.text("name") // some old drivers have none
	return f, nil
}

func (f folder) source() string { return filepath.Base(f.path) }

// maxAttribute is the page that sysfs gives a driver to write into.
const maxAttribute = 4096

// text is the content of an attribute.
func (f folder) text(name string) (string, error) {
	file, err := os.Open(filepath.Join(f.path, name))
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxAttribute))
	return strings.TrimSpace(string(b)), err
}

func (f folder) number(name string) (float64, error) {
	s, err := f.text(name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s: %.40q is no number", name, s)
	}
	return v, nil
}

// first is the number in the first of the attributes that exists, and otherwise fallback.
func (f folder) first(fallback float64, names ...string) (float64, error) {
	for _, name := range names {
		v, err := f.number(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		return v, err
	}
	return fallback, nil
}

// reading completes r with a value or with why there is none; ok is false where the sensor went away.
func (f folder) reading(r Reading, value float64, err error) (_ Reading, ok bool) {
	if errors.Is(err, os.ErrNotExist) {
		return r, false
	}
	r.Source, r.Device = f.source(), f.device
	if err == nil && (math.IsNaN(value) || math.IsInf(value, 0)) { // scale and offset multiply
		err = fmt.Errorf("%v is no value", value)
	}
	if err != nil {
		// The path says what source and channel say already.
		if p, ok := errors.AsType[*os.PathError](err); ok {
			err = p.Err
		}
		r.Error = err.Error()
		return r, true
	}
	r.Value = value
	return r, true
}
