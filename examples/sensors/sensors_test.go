package sensors_test

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/examples/sensors"
)

func tree(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no colon in a file's name")
	}
	dir := t.TempDir()
	if err := sensors.Unpack(sensors.Recorded(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func scan(t *testing.T, dir string) map[string]sensors.Reading {
	t.Helper()
	readings, err := sensors.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]sensors.Reading{}
	for _, r := range readings {
		key := r.Source + " " + r.Channel
		if _, twice := out[key]; twice {
			t.Errorf("%s twice", key)
		}
		out[key] = r
	}
	return out
}

func TestScan(t *testing.T) {
	got := scan(t, tree(t))
	want := map[string]struct {
		device, label string
		value         float64
		unit, err     string
	}{
		"iio:device0 temp":              {"bme280", "", 23.46, "°C", ""},
		"iio:device0 pressure":          {"bme280", "", 98.5249375, "kPa", ""},
		"iio:device0 humidityrelative":  {"bme280", "", 44.873, "%", ""},
		"iio:device1 voltage0":          {"mcp3208", "", 1.649999999, "V", ""},
		"iio:device1 voltage1":          {"mcp3208", "supply", 3.299194334, "V", ""},
		"iio:device1 voltage2":          {"mcp3208", "", 0, "V", ""},
		"iio:device1 voltage0-voltage1": {"mcp3208", "", -1.649194335, "V", ""},
		"iio:device1 temp":              {"mcp3208", "", 36.5, "°C", ""}, // (412 - 120) × 125 m°C
		"hwmon0 temp1":                  {"cpu_thermal", "", 48.312, "°C", ""},
		"hwmon1 fan1":                   {"emc2305", "case fan", 2914, "rpm", ""},
		"hwmon1 fan2":                   {"emc2305", "", 0, "rpm", "the chip reports a fault of the sensor"},
		"hwmon1 in0":                    {"emc2305", "3V3", 3.288, "V", ""},
	}
	for key, w := range want {
		r, ok := got[key]
		if !ok || r.Device != w.device || r.Label != w.label || math.Abs(r.Value-w.value) > 1e-6 || r.Unit != w.unit || r.Error != w.err {
			t.Errorf("%s: %+v, want %+v", key, r, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d readings, want %d", len(got), len(want))
	}
}

// Sensors fail, vanish and appear between two scans.
func TestScanOfSensorsThatComeAndGo(t *testing.T) {
	dir := tree(t)
	iio := filepath.Join(dir, "bus", "iio", "devices")
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A read that fails with an error of the system, as EIO of a sensor whose bus hangs: a folder gives EISDIR.
	change(os.Remove(filepath.Join(iio, "iio:device0", "in_temp_input")))
	change(os.Mkdir(filepath.Join(iio, "iio:device0", "in_temp_input"), 0o755))
	change(os.WriteFile(filepath.Join(iio, "iio:device0", "in_pressure_input"), []byte("nan\n"), 0o644))
	change(os.WriteFile(filepath.Join(iio, "iio:device0", "in_humidityrelative_input"), nil, 0o644))
	change(os.WriteFile(filepath.Join(iio, "iio:device1", "in_voltage_scale"), []byte("1e308\n"), 0o644))
	change(os.RemoveAll(filepath.Join(dir, "class", "hwmon", "hwmon0")))
	change(os.MkdirAll(filepath.Join(dir, "class", "hwmon", "hwmon7"), 0o755))
	change(os.WriteFile(filepath.Join(dir, "class", "hwmon", "hwmon7", "temp3_input"), []byte("-4000\n"), 0o644))

	got := scan(t, dir)
	for key, part := range map[string]string{
		"iio:device0 temp":             "is a directory",
		"iio:device0 pressure":         `"nan" is no number`,
		"iio:device0 humidityrelative": `"" is no number`,
		"iio:device1 voltage1":         "no value",
	} {
		if r := got[key]; !strings.Contains(r.Error, part) || r.Value != 0 || r.Device == "" {
			t.Errorf("%s: %+v", key, r)
		}
	}
	if _, there := got["hwmon0 temp1"]; there {
		t.Error("a device that was removed")
	}
	if r := got["hwmon7 temp3"]; r.Value != -4 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	if r := got["hwmon1 fan1"]; r.Value != 2914 {
		t.Errorf("the others: %+v", r)
	}

	if _, err := sensors.Scan(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("no tree, no error")
	}
	if r, err := sensors.Scan(t.TempDir()); err != nil || len(r) != 0 {
		t.Errorf("a machine without sensors: %v %v", r, err)
	}
}

func TestUnpackStaysInside(t *testing.T) {
	for _, recording := range []string{`{"../x": ""}`, `{"/etc/x": ""}`, `[]`, `{"a": 1}`, ``} {
		if err := sensors.Unpack([]byte(recording), t.TempDir()); err == nil {
			t.Errorf("%s: no error", recording)
		}
	}
}

func TestOutbox(t *testing.T) {
	o := sensors.NewOutbox(4)
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		o.Put([]byte(s))
	}
	text := func(lines [][]byte) string {
		var s strings.Builder
		for _, l := range lines {
			s.Write(l)
		}
		return s.String()
	}
	if got := text(o.Take(3)); got != "bcd" || o.Dropped() != 1 {
		t.Errorf("%q, %d dropped", got, o.Dropped())
	}
	o.Done(1, 3) // c and d did not arrive
	if got := text(o.Take(9)); got != "cde" {
		t.Errorf("%q", got)
	}
	// Two more while those are on their way push c out, which arrives all the same.
	o.Put([]byte("f"))
	o.Put([]byte("g"))
	o.Done(2, 3)
	if got := text(o.Take(9)); got != "efg" || o.Waiting() != 3 || o.Dropped() != 2 {
		t.Errorf("%q, %d waiting, %d dropped", got, o.Waiting(), o.Dropped())
	}
	o.Done(3, 3)
	if o.Waiting() != 0 {
		t.Error("not empty")
	}
}
