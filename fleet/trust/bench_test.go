package trust_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// many is a fleet whose list is nearly full: 3,000 releases.
func many(b *testing.B) (*world, *node) {
	b.Helper()
	w := newWorld(b)
	th := w.robHub()
	th.robDeveloper(w.dir, "targets", w.info().Targets.Keys[0])
	w.files = must(w.online.Accept(w.files, trust.Files{"2.targets.json": th.longList(2, 3000)}))(b)
	n := w.node()
	n.refresh(b)
	return w, n
}

// What a node does each time it looks for news and there are none.
func BenchmarkRefreshNothingNew(b *testing.B) {
	w, n := many(b)
	b.ReportMetric(float64(len(w.files["2.targets.json"])), "bytes/list")
	for b.Loop() {
		if err := n.Refresh(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// What a new node does.
func BenchmarkRefreshAll(b *testing.B) {
	_, n := many(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		o := n.o
		i++
		o.Store = trust.DirStore(filepath.Join(b.TempDir(), fmt.Sprint(i)))
		if err := must(trust.OpenClient(o))(b).Refresh(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// What a node does when it starts.
func BenchmarkOpen(b *testing.B) {
	_, n := many(b)
	b.ReportAllocs()
	for b.Loop() {
		n.reopen(b)
	}
}

func BenchmarkTarget(b *testing.B) {
	_, n := many(b)
	ref := fleet.Ref{Name: "module-0042", Version: "1.4.2"}
	for b.Loop() {
		if _, _, err := n.Target(ref); err != nil {
			b.Fatal(err)
		}
	}
}
