package fleet

import (
	"strings"
	"time"
)

// Daily is a time of the day in UTC, on some days or on every.
type Daily struct {
	Days []time.Weekday // empty: every day
	At   time.Duration  // after midnight
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// ParseDaily reads "06:30", "06:30:15" or "mon,tue@06:30".
func ParseDaily(s string) (Daily, error) {
	var d Daily
	days, clock, ok := strings.Cut(s, "@")
	if !ok {
		days, clock = "", s
	} else if len(days) > 60 {
		return d, invalid("time %.40q…: too many days", s)
	}
	if ok {
		for name := range strings.SplitSeq(days, ",") {
			day, known := weekdays[strings.ToLower(strings.TrimSpace(name))]
			if !known {
				return d, invalid("time %.40q: day %.10q is none of mon, tue, wed, thu, fri, sat, sun", s, name)
			}
			d.Days = append(d.Days, day)
		}
	}
	t, err := time.Parse("15:04:05", clock)
	if err != nil {
		if t, err = time.Parse("15:04", clock); err != nil {
			return d, invalid("time %.40q: want such as 06:30 or mon,tue@06:30", s)
		}
	}
	d.At = t.Sub(t.Truncate(24 * time.Hour))
	return d, nil
}

// Next is the first such time after t.
func (d Daily) Next(t time.Time) time.Time {
	t = t.UTC()
	for i := 0; ; i++ { // within a week
		at := time.Date(t.Year(), t.Month(), t.Day()+i, 0, 0, 0, 0, time.UTC).Add(d.At)
		if at.After(t) && (Window{Days: d.Days}).on(at.Weekday()) {
			return at
		}
	}
}
