package fleet_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

func TestSelectorChooses(t *testing.T) {
	labels := fleet.Labels{"site": "a", "line": "3"}
	for _, c := range []struct {
		sel  string
		want bool
	}{
		{"all", true},
		{"layer=device", true},
		{"layer=edge", false},
		{"layer=device,site=a|b", true},
		{"site=b", false},
		{"name=dev7,line=3", true},
		{"zone=1", false},
	} {
		sel, err := fleet.ParseSelector(c.sel)
		if err != nil {
			t.Fatalf("%s: %v", c.sel, err)
		}
		if got := sel.Matches("dev7", fleet.Device, labels); got != c.want {
			t.Errorf("%s chooses: %v, want %v", c.sel, got, c.want)
		}
		if sel.String() != c.sel {
			t.Errorf("%s prints as %s", c.sel, sel)
		}
	}
	for _, bad := range []string{"", "site", "layer=cellar", "site=", "site=a,site=b", "SITE=a", "name=hub"} {
		if _, err := fleet.ParseSelector(bad); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("selector %q: error %v", bad, err)
		}
	}
}

func TestSharesRoundUp(t *testing.T) {
	for _, c := range []struct {
		share string
		n     int
		want  int
	}{{"10%", 3, 1}, {"10%", 10, 1}, {"30%", 10, 3}, {"100%", 7, 7}, {"5", 3, 3}, {"2", 10, 2}, {"10%", 0, 0}, {"1e-9%", 10, 1}} {
		s, err := fleet.ParseShare(c.share)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Of(c.n); got != c.want {
			t.Errorf("%s of %d is %d, want %d", c.share, c.n, got, c.want)
		}
	}
	for _, bad := range []string{"", "0%", "101%", "NaN%", "-1", "0", "x"} {
		if _, err := fleet.ParseShare(bad); err == nil {
			t.Errorf("share %q is taken", bad)
		}
	}
}

func TestWindowReachesOverMidnight(t *testing.T) {
	w := fleet.Window{Days: []time.Weekday{time.Saturday}, From: fleet.Duration(23 * time.Hour), For: fleet.Duration(2 * time.Hour)}
	sat := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Duration]bool{
		22*time.Hour + 59*time.Minute: false,
		23 * time.Hour:                true,
		24*time.Hour + 59*time.Minute: true,
		25 * time.Hour:                false,
		47*time.Hour + 30*time.Minute: false, // Sunday night
	} {
		if got := w.Open(sat.Add(at)); got != want {
			t.Errorf("%v: open %v, want %v", sat.Add(at), got, want)
		}
	}
}

func TestJoinTokenSurvivesCopying(t *testing.T) {
	want := fleet.JoinToken{Hubs: []string{"https://hub:8443"}, Secret: strings.Repeat("ab", 32), CA: strings.Repeat("01", 32)}
	got, err := fleet.ParseJoinToken(" " + want.String() + "\n")
	if err != nil || got.Secret != want.Secret || got.CA != want.CA || got.Hubs[0] != want.Hubs[0] {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "isomer-join-", "isomer-join-!!", want.String()[:40], fleet.JoinToken{Secret: want.Secret}.String()} {
		if _, err := fleet.ParseJoinToken(bad); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("token %q: error %v", bad, err)
		}
	}
}

func TestRefsAreTextInJSON(t *testing.T) {
	in := fleet.Desired{Node: "dev1", Modules: []fleet.DesiredModule{{
		Release: fleet.Ref{Name: "digits", Version: "1.2.0"}, Digest: strings.Repeat("0a", 32), Size: 9,
		Bindings: []fleet.Binding{{Name: "frames", Call: "read", Subject: "sensors.{node}.frame", Publish: "meters.{node}.value"}},
	}}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"release":"digits@1.2.0"`) {
		t.Errorf("encoded as %s", b)
	}
	out, err := fleet.DecodeDesired(b)
	if err != nil || out.Modules[0].Release != in.Modules[0].Release {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestDesiredStateIsChecked(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	for name, doc := range map[string]string{
		"no JSON":     `{`,
		"no node":     `{}`,
		"digest":      `{"node":"a","modules":[{"release":"m@1","digest":"xx","size":1}]}`,
		"size":        `{"node":"a","modules":[{"release":"m@1","digest":"` + digest + `","size":-1}]}`,
		"twice":       `{"node":"a","modules":[{"release":"m@1","digest":"` + digest + `","size":1},{"release":"m@2","digest":"` + digest + `","size":1}]}`,
		"name":        `{"node":"a","modules":[{"release":"../m@1","digest":"` + digest + `","size":1}]}`,
		"two sources": `{"node":"a","modules":[{"release":"m@1","digest":"` + digest + `","size":1,"bindings":[{"name":"b","call":"f","every":"1s","path":"/x"}]}]}`,
		"zone":        `{"node":"a","modules":[{"release":"m@1","digest":"` + digest + `","size":1,"window":{"from":"1h","for":"1h","zone":"Europe/Berlin"}}]}`,
		"wildcard":    `{"node":"a","modules":[{"release":"m@1","digest":"` + digest + `","size":1,"bindings":[{"name":"b","call":"f","every":"1s","publish":"x.>"}]}]}`,
	} {
		if _, err := fleet.DecodeDesired([]byte(doc)); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestThresholdAdmitsOnlyMore(t *testing.T) {
	r := fleet.Rollout{Deployment: "d1"}
	if r.Admits("a") {
		t.Error("a rollout that has not begun admits a node")
	}
	r.Admitting, r.Threshold = true, fleet.Rank("d1", "a")
	if !r.Admits("a") {
		t.Error("the node at the threshold is not admitted")
	}
	r.Threshold--
	if r.Admits("a") {
		t.Error("a node above the threshold is admitted")
	}
}

func FuzzDesired(f *testing.F) {
	f.Add([]byte(`{"node":"a","modules":[{"release":"m@1","digest":"` + strings.Repeat("0a", 32) + `","size":1,"bindings":[{"name":"b","call":"f","every":"1s"}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := fleet.DecodeDesired(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.DecodeDesired(again); err != nil {
			t.Fatalf("what was read is not taken again: %v\n%s", err, again)
		}
	})
}

func FuzzJoinToken(f *testing.F) {
	f.Add(fleet.JoinToken{Hubs: []string{"https://hub:8443"}, Secret: strings.Repeat("ab", 32)}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if tok, err := fleet.ParseJoinToken(s); err == nil {
			if _, err := fleet.ParseJoinToken(tok.String()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
