package node_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// A hub whose disk was lost comes back from an old copy. Its nodes have seen newer lists than it has: they go on with what they run,
// believe nothing that is older, and follow again as soon as the developer's next upload brings what the copy lacked.
func TestAHubIsRestoredFromAnOldBackup(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	r.Publish("meter@1.0.0", guest("1", "1"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	data, backup := filepath.Join(r.Dir, "hub"), filepath.Join(r.Dir, "backup")
	r.Hub.Stop()
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	r.Start()
	r.Publish("meter@2.0.0", guest("2", "2"))
	if ro := r.Ended(r.Deploy("meter@2.0.0", "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}

	r.Hub.Stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, data); err != nil {
		t.Fatal(err)
	}
	r.Start()
	hubtest.Wait(t, "the node at the hub that is back", func() bool {
		n, err := r.Admin.Node(r.Ctx, "dev1")
		return err == nil && n.Online
	})
	if got := a.version(); got != "2" {
		t.Errorf("beside the old hub the node answers %s", got)
	}
	old, err := r.Admin.Trust(r.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Keys.Adopt(old); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("the developer's copy takes the hub's old list: %v", err)
	}
	// What "isomer keys restore" does: the module first, then the developer's list.
	two := guest("2", "2")
	if _, err := r.Admin.PutTrust(r.Ctx, r.Keys.Files()); err == nil || !strings.Contains(err.Error(), "was not uploaded") {
		t.Errorf("a list with a module that the hub has not: %v", err)
	}
	if err := r.Admin.PutModule(r.Ctx, hubtest.Digest(two), int64(len(two)), bytes.NewReader(two)); err != nil {
		t.Fatal(err)
	}
	if made, err := r.Admin.PutTrust(r.Ctx, r.Keys.Files()); err != nil || len(made) != 1 || made[0].Ref.String() != "meter@2.0.0" {
		t.Errorf("the hub knows again %+v (%v)", made, err)
	}
	r.Publish("meter@3.0.0", guest("3", "3"))
	for _, known := range []string{"meter@2.0.0", "meter@3.0.0"} {
		if ro := r.Ended(r.Deploy(known, "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
			t.Fatalf("the rollout of %s is %s: %+v", known, ro.Phase, ro.History)
		}
		if got := a.version(); got != known[6:7] {
			t.Errorf("%s answers %s", known, got)
		}
	}
}
