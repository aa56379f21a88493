package trust_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// thief signs whatever it likes with stolen keys, without any of this package's checks.
type thief struct {
	t     testing.TB
	seeds map[string][]byte // by role
}

// steal copies the keys of a developer, without his copy of the metadata.
func steal(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, p := range must(filepath.Glob(filepath.Join(dir, "*.key")))(t) {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(p)), must(os.ReadFile(p))(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// robHub has the hub's keys.
func (w *world) robHub() *thief {
	w.t.Helper()
	var pairs []struct{ Snapshot, Timestamp []byte }
	if err := json.Unmarshal(must(w.online.Encode())(w.t), &pairs); err != nil {
		w.t.Fatal(err)
	}
	p := pairs[len(pairs)-1]
	return &thief{w.t, map[string][]byte{metadata.SNAPSHOT: p.Snapshot, metadata.TIMESTAMP: p.Timestamp}}
}

// robDeveloper adds the key of a role out of the folder of the developer, the newest of them.
func (th *thief) robDeveloper(dir, role, id string) {
	th.t.Helper()
	b := must(os.ReadFile(filepath.Join(dir, role+"-"+id[:8]+".key")))(th.t)
	_, rest := pem.Decode(b)
	block, _ := pem.Decode(rest)
	key := must(x509.ParsePKCS8PrivateKey(block.Bytes))(th.t)
	th.seeds[role] = key.(ed25519.PrivateKey).Seed()
}

func signedBy[T metadata.Roles](th *thief, role string, m *metadata.Metadata[T]) []byte {
	th.t.Helper()
	s := must(signature.LoadSigner(ed25519.NewKeyFromSeed(th.seeds[role]), crypto.Hash(0)))(th.t)
	m.Signatures = nil
	must(m.Sign(s))(th.t)
	return must(m.ToBytes(false))(th.t)
}

func metaOf(version int64, b []byte) *metadata.MetaFiles {
	h := sha256.Sum256(b)
	return &metadata.MetaFiles{Version: version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": h[:]}}
}

// forge are files whose timestamp and snapshot, signed by the thief, name these targets.
func (th *thief) forge(files trust.Files, tsVersion, snVersion, tgVersion int64, targets []byte, expires time.Time) trust.Files {
	th.t.Helper()
	out := maps.Clone(files)
	sn := metadata.Snapshot(expires)
	sn.Signed.Version = snVersion
	sn.Signed.Meta["targets.json"] = metaOf(tgVersion, targets)
	snapshot := signedBy(th, metadata.SNAPSHOT, sn)
	ts := metadata.Timestamp(expires)
	ts.Signed.Version = tsVersion
	ts.Signed.Meta["snapshot.json"] = metaOf(snVersion, snapshot)
	out[trust.TimestampFile] = signedBy(th, metadata.TIMESTAMP, ts)
	out[fmt.Sprintf("%d.snapshot.json", snVersion)] = snapshot
	out[fmt.Sprintf("%d.targets.json", tgVersion)] = targets
	return out
}

// list is a targets document with one release, signed by whatever key the thief has for role.
func (th *thief) list(role string, version int64, name, d string, expires time.Time) []byte {
	th.t.Helper()
	m := metadata.Targets(expires)
	m.Signed.Version = version
	h := must(hex.DecodeString(digest(d)))(th.t)
	m.Signed.Targets[name] = &metadata.TargetFiles{Length: 1000, Hashes: metadata.Hashes{"sha256": h}}
	return signedBy(th, role, m)
}

func (w *world) info() trust.Info {
	w.t.Helper()
	return must(w.files.Inspect())(w.t)
}

// longList is a list with n releases.
func (th *thief) longList(version int64, n int) []byte {
	th.t.Helper()
	m := metadata.Targets(day0.AddDate(1, 0, 0))
	m.Signed.Version = version
	for i := range n {
		name, h := fmt.Sprintf("module-%04d", i), sha256.Sum256(fmt.Append(nil, i))
		raw := json.RawMessage(fmt.Sprintf(`{"name":%q,"version":"1.4.2","since":2}`, name))
		m.Signed.Targets[name+"/1.4.2.wasm"] = &metadata.TargetFiles{Length: 14_000_000, Hashes: metadata.Hashes{"sha256": h[:]}, Custom: &raw}
	}
	return signedBy(th, metadata.TARGETS, m)
}
