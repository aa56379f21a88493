package homeassistant

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadFindsTheValueOfAnAnswer(t *testing.T) {
	tests := []struct {
		answer, state, unit string
		attributes          int
	}{
		{`1234.50`, "1234.50", "", 0},
		{`"dark"`, "dark", "", 0},
		{`true`, "on", "", 0},
		{`null`, "<nil>", "", 0},
		{`[1,2]`, "[1,2]", "", 0},
		{`{"value":7,"unit":"kWh","sure":0.9}`, "7", "kWh", 3},
		{`{"state":"open","since":3}`, "open", "", 2},
		{`{"label":"cat","p":0.9}`, "cat", "", 2},
		{`{"digits":"01234","boxes":[1]}`, "01234", "", 2},
		{`{"a":1,"b":2}`, `{"a":1,"b":2}`, "", 2},
		{`{"value":{"deep":1}}`, `{"value":{"deep":1}}`, "", 1},
		{`plain text`, "plain text", "", 0},
		{`7 8`, "7 8", "", 0},
		{"", "", "", 0},
		{"\xff\xfe", "?", "", 0},
		{`"` + strings.Repeat("é", 300) + `"`, strings.Repeat("é", 254) + "…", "", 0},
	}
	for _, tt := range tests {
		state, unit, attributes := read([]byte(tt.answer))
		if fmt.Sprint(state) != tt.state || unit != tt.unit || len(attributes) != tt.attributes {
			t.Errorf("%.40s: %v %q %v", tt.answer, state, unit, attributes)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"value":1e999,"unit":"kWh"}`, `"x"`, `[`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		state, unit, attributes := read(b)
		if s, ok := state.(string); ok && utf8.RuneCountInString(s) > maxState {
			t.Errorf("%d runes", utf8.RuneCountInString(s))
		}
		if _, err := json.Marshal([]any{state, unit, attributes}); err != nil {
			t.Error(err)
		}
	})
}

func TestOwn(t *testing.T) {
	for subject, want := range map[string]bool{
		"meters.dev1.value": true, "app.dev1.a.b": true, "meters.dev1": false, "meters.dev1.": false, "meters.dev2.value": false,
		"tele.dev1.x": false, "$SYS.dev1.x": false, "meters.dev1.*": false, "meters.dev1.>": false, "": false,
	} {
		if own("dev1", subject) != want {
			t.Errorf("%q: %v", subject, !want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{{Broker: "mqtt://h"}, {Broker: "mqtts://u:p@h:8884/"}, {Broker: "tcp://h:1", Prefix: "app/ha/x"}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{
		{}, {Broker: "http://h"}, {Broker: "mqtt://"}, {Broker: "mqtt://h/topic"}, {Broker: "://u:secret@h"}, {Broker: "http://u:secret@h"},
		{Broker: "mqtt://h", Prefix: "a/#"}, {Broker: "mqtt://h", Prefix: "/a"}, {Broker: "mqtt://h", Prefix: "a//b"},
	} {
		if err := c.Check(); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for prefix, want := range map[string]string{"": "isomer", "ha": "isomer", "app/ha/homeassistant": "app/ha/isomer"} {
		if got := (Config{Prefix: prefix}).base(); got != want {
			t.Errorf("prefix %q: states below %q", prefix, got)
		}
	}
}
