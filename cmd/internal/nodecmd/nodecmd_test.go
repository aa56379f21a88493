package nodecmd

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
)

func TestBindingsInYAML(t *testing.T) {
	list, err := decodeBindings([]byte(`
- module: digits
  name: poll
  every: 10s
  input: {unit: kWh, scale: [1, 2.5]}
  call: read
  publish: tele.{node}.metric.energy
- {module: digits, name: camera, folder: /var/frames, done: move, call: read, at: []}
`))
	if err != nil {
		t.Fatal(err)
	}
	var input map[string]any
	if len(list) != 2 || list[1].Folder != "/var/frames" || json.Unmarshal(list[0].Input, &input) != nil || input["unit"] != "kWh" {
		t.Errorf("%+v", list)
	}
	if list, err := decodeBindings([]byte("# none yet\n")); err != nil || len(list) != 0 {
		t.Errorf("an empty file: %v %v", list, err)
	}
	for text, want := range map[string]string{
		"- {module: m, name: b, call: f, evry: 1s}":                 "evry",
		"- {name: b, call: f, every: 1s}":                           "module",
		"- {module: m, name: b, call: f}":                           "exactly one",
		"{module: m}":                                               "object",
		"- {module: m, name: b, call: f, subject: {a: b}}":          "subject",
		"- {module: m, name: b, call: f, every: 1s, input: {1: 2}}": "type",
	} {
		if _, err := decodeBindings([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		} else if want == "exactly one" && !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzBindingsInYAML(f *testing.F) {
	f.Add([]byte("- {module: m, name: b, call: f, every: 1s, input: {a: [1]}}"))
	f.Add([]byte("- &a {module: m, name: b, call: f, path: /x}\n- *a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeBindings(b)
		if err != nil {
			return
		}
		for _, l := range list {
			if err := l.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
