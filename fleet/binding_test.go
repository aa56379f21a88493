package fleet_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

func TestBindingsThatAreRefused(t *testing.T) {
	for what, b := range map[string]fleet.Binding{
		"no name":             {Call: "f", Every: fleet.Duration(time.Second)},
		"no function":         {Name: "b", Every: fleet.Duration(time.Second)},
		"no source":           {Name: "b", Call: "f"},
		"two sources":         {Name: "b", Call: "f", Every: fleet.Duration(time.Second), Path: "/x"},
		"two timers":          {Name: "b", Call: "f", Every: fleet.Duration(time.Second), At: []string{"06:30"}},
		"a fast timer":        {Name: "b", Call: "f", Every: fleet.Duration(time.Millisecond)},
		"no time":             {Name: "b", Call: "f", At: []string{"25:00"}},
		"no day":              {Name: "b", Call: "f", At: []string{"someday@06:00"}},
		"a folder above":      {Name: "b", Call: "f", Folder: "../x"},
		"an absolute folder":  {Name: "b", Call: "f", Folder: "/etc"},
		"a folder's loop":     {Name: "b", Call: "f", Folder: "in", File: "in/{name}.json"},
		"an unknown word":     {Name: "b", Call: "f", Folder: "in", File: "out/{secret}"},
		"done without folder": {Name: "b", Call: "f", Path: "/x", Done: "move"},
		"the API's path":      {Name: "b", Call: "f", Path: "/v1/status"},
		"a path above":        {Name: "b", Call: "f", Path: "/x/../y"},
		"a path's wildcard":   {Name: "b", Call: "f", Path: "/{x}"},
		"a loop":              {Name: "b", Call: "f", Subject: "sensors.{node}.>", Publish: "sensors.{node}.x"},
		"a part of nothing":   {Name: "b", Call: "f", Path: "/x", Publish: "meters.{node}.{2}"},
		"input of a subject":  {Name: "b", Call: "f", Subject: "sensors.{node}.x", Input: json.RawMessage("1")},
		"retries":             {Name: "b", Call: "f", Path: "/x", Retries: 11},
		"queue":               {Name: "b", Call: "f", Path: "/x", Queue: 5000},
		"full":                {Name: "b", Call: "f", Path: "/x", Full: "grow"},
	} {
		if err := b.Check(); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestABindingHasItsNodesSubjectsAlone(t *testing.T) {
	const subject, publish = 1, 2
	for _, c := range []struct {
		text  string
		which int
		layer fleet.Layer
		ok    bool
	}{
		{"sensors.{node}.frame", subject, fleet.Device, true},
		{"sensors.dev1.>", subject, fleet.Device, true},
		{"sensors.dev2.frame", subject, fleet.Device, false},
		{"sensors.*.frame", subject, fleet.Device, false},
		{"sensors.*.frame", subject, fleet.Edge, true},
		{"sensors.>", subject, fleet.Edge, false},
		{"tele.dev1.state", subject, fleet.Device, false},
		{"call.dev1.x.y", subject, fleet.Edge, false},
		{">", subject, fleet.Edge, false},
		{"_INBOX_dev1.>", subject, fleet.Device, false},
		{"meters.{node}.value", publish, fleet.Device, true},
		{"tele.{node}.metric.temperature", publish, fleet.Device, true},
		{"tele.{node}.state", publish, fleet.Device, false},
		{"meters.dev2.value", publish, fleet.Device, false},
		{"actuators.dev2.valve", publish, fleet.Edge, true},
		{"fetch.hub.desired.dev1", publish, fleet.Edge, false},
	} {
		b := fleet.Binding{Name: "b", Call: "f", Path: "/x", Publish: c.text}
		if c.which == subject {
			b = fleet.Binding{Name: "b", Call: "f", Subject: c.text}
		}
		if _, err := b.For("dev1", c.layer); (err == nil) != c.ok {
			t.Errorf("%s on a %s: %v", c.text, c.layer, err)
		}
	}
}

func TestAnAnswerHasPartsOfItsSubject(t *testing.T) {
	b, err := fleet.Binding{Name: "b", Call: "f", Subject: "sensors.*.>", Publish: "meters.gw1.{2}.{3}"}.For("gw1", fleet.Edge)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Answer("gw1", fleet.Edge, "sensors.mcu7.heat"); err != nil || got != "meters.gw1.mcu7.heat" {
		t.Errorf("%s (%v)", got, err)
	}
	if got, err := b.Answer("gw1", fleet.Edge, "sensors.mcu7"); err == nil {
		t.Errorf("a part that is not there: %s", got)
	}
	// Whoever publishes chooses the parts: they lead nowhere else.
	wide, err := fleet.Binding{Name: "b", Call: "f", Subject: "sensors.*.*", Publish: "{3}.{node}.x"}.For("gw1", fleet.Device)
	if err == nil {
		t.Errorf("it publishes to any first part: %+v", wide)
	}
}

func TestABindingInOneLine(t *testing.T) {
	for text, want := range map[string]fleet.Binding{
		"sensors.{node}.frame -> read -> meters.{node}.value": {Subject: "sensors.{node}.frame", Call: "read", Publish: "meters.{node}.value"},
		"every:10s→poll":                   {Every: fleet.Duration(10 * time.Second), Call: "poll"},
		"at:mon@06:30 -> poll":             {At: []string{"mon@06:30"}, Call: "poll"},
		"folder:in->read->file:out/{name}": {Folder: "in", Call: "read", File: "out/{name}"},
		"path:/read -> read":               {Path: "/read", Call: "read"},
	} {
		want.Name = "b"
		if got, err := fleet.ParseBinding("b", text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "->", "a.b.c", "a.b.c -> f -> x -> y", "mail:me -> f", "every:soon -> f", "folder:../x -> f"} {
		if _, err := fleet.ParseBinding("b", text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestDailyTimes(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ daily, now, next string }{
		{"06:30", "2026-01-02T06:29:59Z", "2026-01-02T06:30:00Z"},
		{"06:30", "2026-01-02T06:30:00Z", "2026-01-03T06:30:00Z"},
		{"06:30:15", "2026-12-31T23:00:00Z", "2027-01-01T06:30:15Z"},
		{"mon,tue@00:00", "2026-01-02T12:00:00Z", "2026-01-05T00:00:00Z"}, // a Friday
		{"fri@12:00", "2026-01-02T12:00:00Z", "2026-01-09T12:00:00Z"},
	} {
		d, err := fleet.ParseDaily(c.daily)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Next(at(c.now)); !got.Equal(at(c.next)) {
			t.Errorf("%s after %s: %s", c.daily, c.now, got)
		}
	}
}

func FuzzBindings(f *testing.F) {
	f.Add([]byte(`[{"name":"b","call":"f","subject":"sensors.{node}.*","publish":"meters.{node}.{3}"}]`))
	f.Add([]byte(`[{"name":"b","call":"f","every":"1s","input":{"a":1}},{"name":"c","call":"f","at":["mon,tue@06:30"]}]`))
	f.Add([]byte(`[{"module":"m","name":"b","call":"f","folder":"/var/frames","file":"out/{name}.json","done":"mark"}]`))
	f.Add([]byte(`[{"name":"b","call":"f","path":"/x","full":"block","queue":9}]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, _ = fleet.DecodeLocalBindings(doc)
		list, err := fleet.DecodeBindings(doc)
		if err != nil {
			return
		}
		again, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.DecodeBindings(again); err != nil {
			t.Fatalf("what was read is not taken again: %v\n%s", err, again)
		}
		for _, b := range list {
			own, err := b.For("dev1", fleet.Device)
			if err != nil {
				continue
			}
			if own.Subject != "" && (strings.Count(own.Subject, ".") < 2 || strings.Split(own.Subject, ".")[1] != "dev1") {
				t.Fatalf("it listens to %s", own.Subject)
			}
			if out, err := own.Answer("dev1", fleet.Device, "sensors.dev1.a.b"); err == nil && out != "" && strings.Split(out, ".")[1] != "dev1" {
				t.Fatalf("it publishes to %s", out)
			}
		}
	})
}

func TestBindingsInACircleAreRefused(t *testing.T) {
	bind := func(lines ...string) (list []fleet.Binding) {
		for i, s := range lines {
			b, err := fleet.ParseBinding("b"+strconv.Itoa(i), s)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, b)
		}
		return list
	}
	for _, circle := range [][]fleet.Binding{
		bind("app.{node}.a -> f -> app.{node}.b", "app.{node}.b -> f -> app.{node}.a"),
		bind("app.{node}.a -> f -> app.{node}.b", "every:1s -> f -> app.{node}.a", "app.{node}.* -> f -> meters.{node}.c", "meters.{node}.> -> f -> app.{node}.a"),
		bind("sensors.*.frame -> f -> actuators.{2}.valve", "actuators.*.valve -> f -> sensors.{2}.frame"),
		bind("folder:in -> f -> file:out/{name}", "folder:out -> f -> file:in/{name}"),
	} {
		if err := fleet.CheckBindings(circle); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%+v: %v", circle, err)
		}
	}
	chain := bind("app.{node}.a -> f -> app.{node}.b", "app.{node}.a -> f -> app.{node}.c", "app.{node}.b -> f -> app.{node}.d", "app.{node}.c -> f -> app.{node}.d", "app.{node}.d -> f")
	if err := fleet.CheckBindings(chain); err != nil {
		t.Errorf("a diamond: %v", err)
	}
}
