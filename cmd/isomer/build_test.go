package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler"
)

func TestProgress(t *testing.T) {
	var b strings.Builder
	p := newProgress(streams{err: &b, errTerminal: true})
	p.stage("read")
	p.stage("load")
	p.clear()
	p.clear() // once more is no error
	if got := b.String(); !regexp.MustCompile(`read [0-9.]+ s · load … [0-9.]+ s`).MatchString(got) || !strings.HasSuffix(got, eraseLine) {
		t.Errorf("a terminal shows %q", got)
	}

	b.Reset()
	p = newProgress(streams{err: &b})
	p.stage("read")
	p.clear()
	if b.Len() > 0 {
		t.Errorf("a pipe gets %q", b.String())
	}
}

func TestOperatorsFitALine(t *testing.T) {
	var o operators
	for range operatorsShown + 3 {
		o = append(o, compiler.OperatorCount{Op: "Conv", Count: 2})
	}
	if got := o.String(); !strings.HasPrefix(got, "20: 2 Conv, ") || !strings.HasSuffix(got, ", 3 others") {
		t.Errorf("%q", got)
	}
	if got := (operators{{Op: "Add", Count: 1}}).String(); got != "1: Add" {
		t.Errorf("%q, want the operator alone", got)
	}
}

func TestAbout(t *testing.T) {
	for ms, want := range map[float64]string{0.001: "10 µs", 0.0234: "23 µs", 0.28: "0.28 ms", 3.14159: "3.1 ms", 28.5: "28 ms", 1234: "1234 ms", 12345: "12 s"} {
		if got := about(ms); got != want {
			t.Errorf("%v ms is written %q, want %q", ms, got, want)
		}
	}
}
