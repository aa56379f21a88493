package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
)

// Names are a model's or a module's, which may be anyone's: no byte of them reaches a terminal that would
// clear it, colour it, or make two lines of one.
func TestNamesDoNotDriveTheTerminal(t *testing.T) {
	const name, want = "a\x1b[2J\r\n\tb\u202e\u009b\x00\xff“é”", `a\x1b[2J\r\n\tb\u202e\u009b\x00\xff“é”`
	if got := plain(name); got != want {
		t.Errorf("plain: %s", got)
	}
	var out bytes.Buffer
	tab := newTable(&out)
	tab.row(name, 1)
	if err := tab.flush(); err != nil || out.String() != want+"  1\n" {
		t.Errorf("a table: %q, %v", &out, err)
	}
	if got := logText(fleet.LogLine{Level: "\x1b[1m", Module: "m\n", Message: name}); !strings.HasSuffix(got, `\x1b[1m  m\n: `+strings.ReplaceAll(want, `\t`, "    ")) {
		t.Errorf("a line of a log: %q", got)
	}
	if got := transitionText(fleet.Transition{Reason: name}); !strings.HasSuffix(got, want) {
		t.Errorf("a transition: %q", got)
	}
	out.Reset()
	bad := hint(fmt.Errorf("first:\n\x1b[2J\x00"), "--dim \n\x1b=1")
	if report(&out, bad) != exitFailure || out.String() != "error: first:\n  \\x1b[2J\\x00\nhint: --dim \\n\\x1b=1\n" {
		t.Errorf("an error: %q", &out)
	}
}

func TestLongErrors(t *testing.T) {
	var out bytes.Buffer
	report(&out, errors.New(strings.Repeat("é", 1<<20)+"\nend"))
	if got := out.String(); len(got) > 5000 || !strings.Contains(got, "… and 2093152 bytes more\n  end\n") {
		t.Errorf("%d bytes: … %q", len(got), got[len(got)-60:])
	}
}
