package binding_test

import (
	"testing"

	"github.com/isomer-iot/isomer/fleet"
)

// FuzzBindings runs whatever a hub may have written: it works or it says why not, and never touches what is outside the
// node's folder.
func FuzzBindings(f *testing.F) {
	f.Add([]byte(`[{"name":"b","call":"f","subject":"sensors.{node}.*","publish":"meters.{node}.{3}"}]`), "/x")
	f.Add([]byte(`[{"name":"b","call":"f","path":"/{node}/x","file":"out/{name}-{time}.json"}]`), "/dev1/x")
	f.Add([]byte(`[{"name":"b","call":"f","at":["mon@06:30"],"input":[1]}]`), "/")
	f.Fuzz(func(t *testing.T, doc []byte, at string) {
		list, err := fleet.DecodeBindings(doc)
		if err != nil {
			return
		}
		for i := range list { // no goroutine for each input that inotify would know
			if list[i].Folder != "" {
				return
			}
		}
		r := &rig{TB: t, dir: t.TempDir()}
		r.open()
		r.Set("meter", list)
		_, _ = r.Serve(t.Context(), at, "", []byte("x"))
		if got := len(r.Report("meter")); got != len(list) {
			t.Fatalf("%d of %d bindings are reported", got, len(list))
		}
		r.Close()
	})
}
