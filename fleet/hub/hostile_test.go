package hub_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// What answers a request has more rights than who asks: a device that names a subject of JetStream, or another
// node's, as the place for its answer must not get it published there.
func TestAnswersGoToInboxesAlone(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dev, other := join(r, "dev1", fleet.Device), join(r, "dev2", fleet.Device)
	elsewhere, err := r.Hub.Conn().SubscribeSync("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Hub.Conn().FlushTimeout(hubtest.Patience); err != nil {
		t.Fatal(err)
	}
	// A consumer would be created, a stream deleted or emptied, by a message that the device may not send.
	for _, reply := range []string{
		"$JS.API.STREAM.DELETE.KV_members", "$JS.API.STREAM.PURGE.KV_members", "$JS.hub.API.STREAM.DELETE.KV_members", "$JS.hub.API.STREAM.PURGE.KV_members",
		"$KV.members.dev1", "$KV.account.fleet", fleet.DesiredSubject("dev2"), fleet.AccountSubject(), "audit.forged", "tele.dev2.state", "elsewhere",
	} {
		for _, subject := range []string{
			fleet.TelemetrySubject("dev1", "state"), fleet.TelemetrySubject("dev1", "metric"),
			fleet.FetchSubject("hub", "desired", "dev1"), fleet.FetchSubject("hub", "module", "none"), fleet.FetchSubject("hub", "trust", "root_json"),
		} {
			if err := dev.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tele, err := r.Hub.Store().JetStream().Stream(r.Ctx, fleet.TelemetryStream)
	if err != nil {
		t.Fatal(err)
	}
	hubtest.Wait(t, "the telemetry", func() bool {
		info, err := tele.Info(r.Ctx)
		return err == nil && info.State.Msgs >= 22
	})
	// An answered request says that those before it were seen.
	if _, err := dev.nc.Request(fleet.FetchSubject("hub", "desired", "dev1"), nil, hubtest.Patience); err != nil {
		t.Fatal(err)
	}
	if err := dev.nc.FlushTimeout(hubtest.Patience); err != nil {
		t.Fatal(err)
	}
	dev.nc.Close()
	if err := r.Admin.Revoke(r.Ctx, "dev1"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Admin.Node(r.Ctx, "dev2"); err != nil || n.Key == "" {
		t.Errorf("after a device's attack the other node is %+v (%v)", n, err)
	}
	for _, stream := range []string{"KV_members", "KV_account"} {
		s, err := r.Hub.Store().JetStream().Stream(r.Ctx, stream)
		if err != nil {
			t.Errorf("stream %s: %v", stream, err)
			continue
		}
		if st := s.CachedInfo().State; st.FirstSeq == 0 || st.Msgs == 0 {
			t.Errorf("stream %s was emptied: %+v", stream, st)
		}
	}
	if n, _, err := elsewhere.Pending(); n > 0 || err != nil {
		m, _ := elsewhere.NextMsg(hubtest.Patience)
		t.Errorf("%d messages went where a device wanted them, such as %q (%v)", n, m.Data, err)
	}
	// What the hub itself asks of a node that has just joined may be on its way still.
	var asked state.Entry[fleet.Desired]
	hubtest.Wait(t, "what dev2 should run", func() bool {
		asked, err = r.Hub.Store().Desired.Get(r.Ctx, "dev2")
		return err == nil
	})
	for len(other.desired) > 0 {
		if d := <-other.desired; !d.At.Equal(asked.Value.At) {
			t.Errorf("another node was told %+v", d)
		}
	}
}
