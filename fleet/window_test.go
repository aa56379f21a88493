package fleet_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as the hub has it: the machine's may be missing

	"github.com/isomer-iot/isomer/fleet"
)

// resolved is a window of each day that begins at a time of the zone.
func resolved(t *testing.T, zone string, from, long time.Duration) fleet.Window {
	t.Helper()
	w := fleet.Window{From: fleet.Duration(from), For: fleet.Duration(long), Zone: zone}
	if err := w.Resolve(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	// As a node gets it, which has no data of zones.
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var out fleet.Window
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if len(b) > 3000 {
		t.Errorf("a desired state grows by %d bytes", len(b))
	}
	return out
}

// TestAWindowFollowsTheClocksOfItsZone checks each quarter of an hour of two years against what time.Location says of the clocks
// there: a window is open where they show a time in it, and begins once a day at the right time, whatever the season.
func TestAWindowFollowsTheClocksOfItsZone(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Tokyo", "America/St_Johns", "UTC"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		w := resolved(t, zone, 22*time.Hour, 4*time.Hour) // no clocks change then
		first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		for at := first; at.Before(first.AddDate(2, 0, 0)); at = at.Add(15 * time.Minute) {
			hour := at.In(loc).Hour()
			if want := hour >= 22 || hour < 2; w.Open(at) != want {
				// On the night of a change clocks may show 1:30 twice; four hours are four hours.
				_, before := at.Add(-4 * time.Hour).In(loc).Zone()
				if _, now := at.In(loc).Zone(); before == now {
					t.Fatalf("%s, %v: open %v", zone, at.In(loc), !want)
				}
			}
		}
	}
}

func TestAWindowAtAChangeOfTheClocks(t *testing.T) {
	berlin := func(month time.Month, day, hour, minute int) time.Time { // UTC
		return time.Date(2027, month, day, hour, minute, 0, 0, time.UTC)
	}
	w := resolved(t, "Europe/Berlin", 3*time.Hour, time.Hour)
	night := resolved(t, "Europe/Berlin", 2*time.Hour+30*time.Minute, time.Hour)
	for _, c := range []struct {
		what string
		w    fleet.Window
		at   time.Time
		open bool
	}{
		{"winter, 3:00", w, berlin(3, 27, 2, 0), true}, {"winter, 2:59", w, berlin(3, 27, 1, 59), false},
		{"the clocks go forward, 3:00", w, berlin(3, 28, 1, 0), true}, {"1:59", w, berlin(3, 28, 0, 59), false}, {"4:00", w, berlin(3, 28, 2, 0), false},
		{"summer, 3:00", w, berlin(3, 29, 1, 0), true}, {"summer, 4:00", w, berlin(3, 29, 2, 0), false},
		{"they go back, 3:00", w, berlin(10, 31, 2, 0), true}, {"2:59 the second time", w, berlin(10, 31, 1, 59), false},
		{"2:30 is not there, 3:30 is it", night, berlin(3, 28, 1, 30), true}, {"3:29", night, berlin(3, 28, 1, 29), false},
	} {
		if got := c.w.Open(c.at); got != c.open {
			t.Errorf("%s: open %v", c.what, got)
		}
	}
	for _, day := range []time.Time{berlin(3, 27, 12, 0), berlin(10, 30, 12, 0)} { // over the night of each change
		for _, w := range []fleet.Window{w, night} {
			if got := w.Between(day, day.Add(24*time.Hour)); got != time.Hour {
				t.Errorf("from %v a day: open for %v", day, got)
			}
		}
	}
	whole := resolved(t, "Europe/Berlin", 0, 24*time.Hour)
	if got := whole.Between(berlin(3, 20, 0, 0), berlin(4, 5, 0, 0)); got != 16*24*time.Hour {
		t.Errorf("a window of whole days is open for %v in 16 days", got)
	}
	minutes := 0
	for at := berlin(10, 30, 12, 0); at.Before(berlin(10, 31, 12, 0)); at = at.Add(time.Minute) {
		if night.Open(at) {
			minutes++
		}
	}
	if minutes != 60 {
		t.Errorf("where 2:30 comes twice the window is open for %d minutes", minutes)
	}
}

// Days are those of the zone: Sunday in Tokyo begins on Saturday in UTC.
func TestDaysOfAWindowAreThoseOfItsZone(t *testing.T) {
	w := resolved(t, "Asia/Tokyo", time.Hour, time.Hour)
	w.Days = []time.Weekday{time.Sunday}
	if sat := time.Date(2026, 11, 28, 16, 30, 0, 0, time.UTC); !w.Open(sat) || w.Open(sat.AddDate(0, 0, 1)) {
		t.Errorf("open on Sunday %v, on Monday %v", w.Open(sat), w.Open(sat.AddDate(0, 0, 1)))
	}
}

func TestZonesOfWindowsAreChecked(t *testing.T) {
	for _, zone := range []string{"Europe/Atlantis", "Local", "../../etc/passwd", "/etc/localtime", "CEST+2", strings.Repeat("x", 100)} {
		w := fleet.Window{For: fleet.Duration(time.Hour), Zone: zone}
		if err := w.Resolve(time.Now()); !errors.Is(err, fleet.ErrInvalid) || !strings.Contains(err.Error(), "Europe/Berlin") {
			t.Errorf("%s: %v", zone, err)
		}
	}
	at := time.Now()
	for what, w := range map[string]fleet.Window{
		"no zone": {Shifts: []fleet.Shift{{At: at}}}, "order": {Zone: "X", Shifts: []fleet.Shift{{At: at}, {At: at}}},
		"offset": {Zone: "X", Shifts: []fleet.Shift{{At: at, Offset: 100 * 3600}}}, "many": {Zone: "X", Shifts: make([]fleet.Shift, 1000)},
	} {
		w.For = fleet.Duration(time.Hour)
		if err := w.Check(); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
