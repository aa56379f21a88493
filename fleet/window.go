package fleet

import (
	"slices"
	"time"
)

// Window is when a node may change its modules: from From for For, on the given days, by the node's own clock, in UTC or in the
// time of Zone.
type Window struct {
	Days []time.Weekday `json:"days,omitempty"` // empty: every day
	From Duration       `json:"from"`           // after midnight, below 24h
	For  Duration       `json:"for"`            // above 0, at most 24h
	// Zone is a time zone of the IANA's, such as Europe/Berlin, in which Days and From are; empty: UTC. Where clocks go forward over
	// From, the window begins as much later; where they go back over it, once.
	Zone string `json:"zone,omitempty" maxLength:"64" example:"Europe/Berlin"`
	// Shifts are the zone's offsets from UTC, the oldest first, as the hub's data had them when the window was made. Nodes go by
	// these alone: most devices have no such data, or that of years ago, and all nodes must agree.
	Shifts []Shift `json:"shifts,omitempty" readOnly:"true"`
}

// Shift is an offset from UTC that begins at a time, and lasts until the next.
type Shift struct {
	At     time.Time `json:"at"`
	Offset int       `json:"offset"` // seconds east
}

const (
	// zoneYears is how long Shifts reach ahead; the last offset holds from then on. Deployments that are older are made anew.
	zoneYears = 10
	// maxShifts is twice what a zone with two changes a year needs; Morocco has four in some.
	maxShifts  = 4 * (zoneYears + 1)
	mostOffset = 26 * 3600 // seconds; zones have -12h to +14h
)

// Resolve checks Zone and fills Shifts, from a year before now on. It needs data of time zones: time/tzdata, or the machine's.
func (w *Window) Resolve(now time.Time) error {
	w.Shifts = nil
	if w.Zone == "" {
		return nil
	}
	loc, err := time.LoadLocation(w.Zone)
	if err != nil || w.Zone == "Local" { // which is the hub's
		return invalid("window: time zone %.70q is none of the IANA's: want such as Europe/Berlin or America/New_York", w.Zone)
	}
	from, until := now.AddDate(-1, 0, 0), now.AddDate(zoneYears, 0, 0)
	for t := from.In(loc); len(w.Shifts) < maxShifts; {
		_, offset := t.Zone()
		if n := len(w.Shifts); n == 0 || w.Shifts[n-1].Offset != offset { // names change too
			w.Shifts = append(w.Shifts, Shift{At: t.UTC().Truncate(time.Second), Offset: offset})
		}
		_, end := t.ZoneBounds()
		if end.IsZero() || end.After(until) {
			break
		}
		t = end
	}
	return nil
}

// Check says what is wrong with the window.
func (w Window) Check() error {
	if w.From < 0 || w.From >= Duration(24*time.Hour) {
		return invalid("window: from %v must be within a day", w.From)
	}
	if w.For <= 0 || w.For > Duration(24*time.Hour) {
		return invalid("window: for %v must be above 0 and at most 24h", w.For)
	}
	for _, d := range w.Days {
		if d < time.Sunday || d > time.Saturday {
			return invalid("window: day %d is none of 0 (Sunday) to 6", d)
		}
	}
	return w.checkZone()
}

func (w Window) checkZone() error {
	switch {
	case len(w.Zone) > 64:
		return invalid("window: time zone %.20q… has more than 64 bytes", w.Zone)
	case w.Zone == "" && len(w.Shifts) > 0:
		return invalid("window: it has shifts and no zone")
	case len(w.Shifts) > maxShifts:
		return invalid("window: %d shifts, at most %d are allowed", len(w.Shifts), maxShifts)
	}
	for i, s := range w.Shifts {
		if s.Offset < -mostOffset || s.Offset > mostOffset {
			return invalid("window: an offset of %d s is none that a time zone has", s.Offset)
		}
		if i > 0 && !s.At.After(w.Shifts[i-1].At) {
			return invalid("window: shift %d is not after the one before", i+1)
		}
	}
	return nil
}

// offset is the zone's at a time.
func (w Window) offset(t time.Time) time.Duration {
	i, found := slices.BinarySearchFunc(w.Shifts, t, func(s Shift, t time.Time) int { return s.At.Compare(t) })
	if !found && i > 0 {
		i--
	}
	if i >= len(w.Shifts) { // none at all
		return 0
	}
	return time.Duration(w.Shifts[i].Offset) * time.Second
}

// wall is what clocks of the zone show at t, as if they were of UTC.
func (w Window) wall(t time.Time) time.Time { return t.UTC().Add(w.offset(t)) }

// begin is when the window of a day begins; day is a midnight as wall writes it.
func (w Window) begin(day time.Time) time.Time {
	wall := day.Add(time.Duration(w.From))
	at := wall.Add(-w.offset(wall)) // near enough, but within some hours of a shift
	return wall.Add(-w.offset(at))
}

func midnight(t time.Time, days int) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, time.UTC)
}

// Open reports whether t is within the window, which may reach over midnight.
func (w Window) Open(t time.Time) bool {
	for _, days := range []int{0, -1} { // began today, began yesterday
		day := midnight(w.wall(t), days)
		begin := w.begin(day)
		if w.on(day.Weekday()) && !t.Before(begin) && t.Before(begin.Add(time.Duration(w.For))) {
			return true
		}
	}
	return false
}

// Between is how long the window is open between two times. Beyond a year back it does not look.
func (w Window) Between(from, to time.Time) time.Duration {
	from, to = from.UTC(), to.UTC()
	if year := to.AddDate(-1, 0, 0); from.Before(year) {
		from = year
	}
	var open time.Duration
	for day := midnight(w.wall(from), -1); ; day = midnight(day, 1) {
		begin := w.begin(day)
		if !begin.Before(to) {
			return open
		}
		if !w.on(day.Weekday()) {
			continue
		}
		end := begin.Add(time.Duration(w.For))
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if end.After(begin) {
			open += end.Sub(begin)
			from = end // a window of a day reaches into the next where that has 23 hours
		}
	}
}

func (w Window) on(day time.Weekday) bool {
	for _, d := range w.Days {
		if d == day {
			return true
		}
	}
	return len(w.Days) == 0
}
