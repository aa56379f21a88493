package broker

import "testing"

func TestWhoWasRefused(t *testing.T) {
	t.Parallel()
	for line, from := range map[string]string{
		`127.0.0.1:4711 - cid:7 - Publish Violation - Subject "cfg.dev2"`:                "127.0.0.1",
		`[::1]:4711 - cid:7 - Publish Violation - Subject "cfg.dev2"`:                    "[::1]",
		`192.0.2.7/127.0.0.1:4711 - wid:8 - Publish Violation - Subject "cfg.dev2"`:      "192.0.2.7",
		`[2001:db8::7]/127.0.0.1:4711 - wid:8 - Publish Violation - Subject "cfg.dev2"`:  "2001:db8::7",
		`127.0.0.1/192.0.2.66:4711 - wid:8 - Publish Violation - Subject "cfg.dev2"`:     "192.0.2.66", // who is not our proxy names anybody
		`127.0.0.1/[2001:db8::66]:4711 - wid:8 - Publish Violation - Subject "cfg.dev2"`: "[2001:db8::66]",
	} {
		if r, ok := refusal(line); !ok || r.From != from {
			t.Errorf("%s: from %q, want %q", line, r.From, from)
		}
	}
	if id, ok := connection(`192.0.2.7/127.0.0.1:4711 - wid:8 - x`, " - wid:"); !ok || id != 8 {
		t.Errorf("connection %d %v", id, ok)
	}
}
