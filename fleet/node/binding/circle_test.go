package binding_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
)

func parsed(t *testing.T, name, text string) fleet.Binding {
	t.Helper()
	b, err := fleet.ParseBinding(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Two deployments' bindings may make a circle that neither has: one message would be called for without end.
func TestCirclesOverSeveralDeploymentsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	problem := func(module, name string) string {
		t.Helper()
		for _, b := range r.Report(module) {
			if b.Name == name {
				return b.Problem
			}
		}
		t.Fatalf("no binding %s of %s", name, module)
		return ""
	}
	there := parsed(t, "there", "app.{node}.a -> f -> app.{node}.b")
	back := parsed(t, "back", "app.{node}.b -> f -> app.{node}.a")
	on := parsed(t, "on", "app.{node}.b -> f -> meters.{node}.c")
	last := parsed(t, "last", "meters.{node}.> -> f -> app.{node}.a")
	r.Set("x", []fleet.Binding{there})
	r.Set("y", []fleet.Binding{back})
	if got := problem("y", "back"); !strings.Contains(got, "through binding x.there") {
		t.Errorf("a circle of two: %q", got)
	}
	if got := problem("x", "there"); got != "" {
		t.Errorf("the one that was there before: %q", got)
	}
	nc, heard := r.hear("app.dev1.>")
	publish(t, nc, "app.dev1.a", "1")
	for range 2 { // a and b, and no more
		next(t, heard)
	}
	if got := len(r.called()); got != 1 {
		t.Errorf("%d calls for one message", got)
	}
	r.Set("y", []fleet.Binding{on})
	r.Set("z", []fleet.Binding{last})
	if got := problem("z", "last"); !strings.Contains(got, "through binding y.on") {
		t.Errorf("a circle of three: %q", got)
	}
	r.Set("x", nil)
	if got := problem("z", "last"); got != "" {
		t.Errorf("the circle is gone: %q", got)
	}
	// A change of several at once is seen as a whole: the two change places.
	r.Set("x", []fleet.Binding{there, parsed(t, "more", "every:1h -> f")})
	r.Set("y", nil)
	r.Set("z", nil)
	other := parsed(t, "there", "app.{node}.b -> f -> app.{node}.a")
	r.Set("x", []fleet.Binding{other, parsed(t, "more", "every:1h -> f -> app.{node}.b")})
	for _, name := range []string{"there", "more"} {
		if got := problem("x", name); got != "" {
			t.Errorf("%s after the change: %q", name, got)
		}
	}
	// The owner's files beside the hub's.
	r.Set("x", []fleet.Binding{parsed(t, "in", "folder:in -> f -> file:out/{name}")})
	r.SetLocal([]fleet.LocalBinding{{Module: "y", Binding: fleet.Binding{Name: "own", Folder: filepath.Join(r.dir, "files", "out"), Call: "f", File: filepath.Join(r.dir, "files", "in", "{name}")}}})
	if got := problem("y", "own"); !strings.Contains(got, "through binding x.in") {
		t.Errorf("a circle of folders: %q", got)
	}
}
