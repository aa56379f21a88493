package trust_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// memory is a store without a disk.
type memory map[string][]byte

func (m memory) Load(name string, _ int64) ([]byte, error) {
	b, ok := m[name]
	if !ok {
		return nil, trust.ErrNotFound
	}
	return b, nil
}

func (m memory) Save(name string, b []byte) error {
	m[name] = b
	return nil
}

// scene is what fuzzers start from: a fleet with two roots and a release, and a second one on its way.
type scene struct {
	*world
	store memory      // of a node that has the present files
	next  trust.Files // the upload with the second release
	after trust.Files // the files after it
}

func newScene(f *testing.F) *scene {
	f.Helper()
	s := &scene{world: fixedWorld(f), store: memory{}}
	s.change(must(s.keys.Renew(true, false))(f))
	s.release("digits@1", "01", 0)
	if err := s.client(f, s.store, s.files).Refresh(context.Background()); err != nil {
		f.Fatal(err)
	}
	s.next = must(s.keys.AddTarget(ref(f, "digits@2"), digest("02"), 1000, 0))(f).Files
	s.after = must(s.online.Accept(s.files, s.next))(f)
	return s
}

// fixedWorld has the same keys in each process: a fuzzer's workers must find the signatures of its corpus good.
func fixedWorld(f *testing.F) *world {
	f.Helper()
	w := &world{t: f, clock: &clock{t: day0}, dir: f.TempDir()}
	seed := func(c byte) []byte { return bytes.Repeat([]byte{c}, ed25519.SeedSize) }
	pairs := must(json.Marshal([]map[string][]byte{{"snapshot": seed(1), "timestamp": seed(2)}}))(f)
	w.online = must(trust.ParseOnline(pairs))(f)
	w.online.Now = w.clock.now
	for role, c := range map[string]byte{metadata.ROOT: 3, metadata.TARGETS: 4} {
		key := ed25519.NewKeyFromSeed(seed(c))
		b := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key.Public()))(f)})
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))(f)})...)
		if err := os.WriteFile(filepath.Join(w.dir, role+"-fixed.key"), b, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	w.keys = must(trust.OpenKeys(w.dir, trust.KeysOptions{Now: w.clock.now}))(f)
	w.change(must(w.keys.Init(trust.Setup{Online: w.online.Public()}))(f))
	return w
}

func (s *scene) client(t testing.TB, store trust.Store, files trust.Files) *trust.Client {
	t.Helper()
	return must(trust.OpenClient(trust.ClientOptions{Store: store, Root: s.files["1.root.json"], Now: s.clock.now,
		Fetch: from(func() trust.Files { return files })}))(t)
}

// signed fails where a list has anything that the developer did not sign.
func signed(t *testing.T, list []trust.Target) {
	t.Helper()
	for _, r := range list {
		if s := r.Ref.String(); s != "digits@1" && s != "digits@2" || r.Digest != digest("0"+r.Ref.Version) || r.Size != 1000 {
			t.Errorf("nobody signed %+v", r)
		}
	}
}

// What a developer's token uploads.
func FuzzAccept(f *testing.F) {
	s := newScene(f)
	for _, files := range []trust.Files{s.next, s.files} {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			f.Add(name, files[name], true)
		}
	}
	f.Add("3.root.json", []byte(`{"signed":{"_type":"root","version":3,"keys":{"a":null},"roles":{"root":null}},"signatures":[]}`), false)
	f.Add("4.targets.json", []byte(`{"signed":{"_type":"targets","targets":{"a/1.wasm":null}},"signatures":[]}`), false)
	f.Fuzz(func(t *testing.T, name string, b []byte, withList bool) {
		upload := trust.Files{}
		if withList {
			upload = maps.Clone(s.next)
		}
		upload[name] = b
		for _, current := range []trust.Files{nil, s.files} {
			got, err := s.online.Accept(current, upload)
			if err != nil {
				continue
			}
			info, err := got.Inspect()
			if err != nil {
				t.Fatalf("what was accepted does not verify: %v", err)
			}
			signed(t, info.Releases)
		}
	})
}

// What a hub, an edge or a network gives to a node.
func FuzzClientFetch(f *testing.F) {
	s := newScene(f)
	for _, name := range slices.Sorted(maps.Keys(s.after)) {
		f.Add(name, s.after[name])
	}
	f.Add("3.root.json", s.after["2.root.json"])
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		files := maps.Clone(s.after)
		files[name] = b
		c := s.client(t, maps.Clone(s.store), files)
		_ = c.Refresh(context.Background())
		signed(t, c.List())
		if c.Status().Targets < 2 {
			t.Error("the node went back")
		}
	})
}

// What a thief of the hub's keys signs.
func FuzzClientSigned(f *testing.F) {
	s := newScene(f)
	th := s.robHub()
	for _, name := range slices.Sorted(maps.Keys(s.after)) {
		var doc struct{ Signed json.RawMessage }
		if err := json.Unmarshal(s.after[name], &doc); err != nil {
			f.Fatal(err)
		}
		for i := range 2 {
			f.Add(i == 0, []byte(doc.Signed))
		}
	}
	f.Add(true, []byte(`{"_type":"timestamp","version":9999999999,"expires":"2027-01-01T00:00:00Z","spec_version":"1.0.31","meta":{}}`))
	id := func(public string) string {
		id, err := trust.KeyID(public)
		if err != nil {
			f.Fatal(err)
		}
		return id
	}
	public := s.online.Public()
	i := must(s.after.Inspect())(f)
	f.Fuzz(func(t *testing.T, timestamp bool, b []byte) {
		th := &thief{t, th.seeds}
		var body any
		if json.Unmarshal(b, &body) != nil {
			return
		}
		payload, err := cjson.EncodeCanonical(body)
		if err != nil {
			return
		}
		role, key := metadata.SNAPSHOT, id(public.Snapshot)
		if timestamp {
			role, key = metadata.TIMESTAMP, id(public.Timestamp)
		}
		sig := ed25519.Sign(ed25519.NewKeyFromSeed(th.seeds[role]), payload)
		doc := must(json.Marshal(map[string]any{"signed": body,
			"signatures": []any{map[string]any{"keyid": key, "sig": metadata.HexBytes(sig)}}}))(t)
		files := maps.Clone(s.after)
		if timestamp {
			files[trust.TimestampFile] = doc
		} else {
			ts := metadata.Timestamp(i.Timestamp.Expires)
			ts.Signed.Version = i.Timestamp.Version + 1
			ts.Signed.Meta["snapshot.json"] = metaOf(i.Snapshot.Version+1, doc)
			files[trust.TimestampFile] = signedBy(th, metadata.TIMESTAMP, ts)
			files[fmt.Sprintf("%d.snapshot.json", i.Snapshot.Version+1)] = doc
		}
		c := s.client(t, maps.Clone(s.store), files)
		_ = c.Refresh(context.Background())
		signed(t, c.List())
		if c.Status().Targets < 2 {
			t.Error("the node went back")
		}
	})
}

// What is left on a disk.
func FuzzClientStore(f *testing.F) {
	s := newScene(f)
	for _, name := range slices.Sorted(maps.Keys(s.store)) {
		f.Add(name == "floor.json", s.store[name])
	}
	f.Add(false, []byte(`{"roots":["e30="],"at":1,"targets":"e30="}`))
	f.Add(true, []byte(`{"floor":null,"sha256":""}`))
	f.Fuzz(func(t *testing.T, floor bool, b []byte) {
		store := maps.Clone(s.store)
		name := "metadata.json"
		if floor {
			name = "floor.json"
		}
		store[name] = b
		c := s.client(t, store, s.after)
		signed(t, c.List())
		// A floor that somebody wrote by hand can block, a torn one cannot: then its checksum is wrong.
		if err := c.Refresh(context.Background()); err != nil && !floor {
			t.Error(err)
		}
		signed(t, c.List())
	})
}

// What people send each other, and what a hub keeps.
func FuzzFiles(f *testing.F) {
	s := newScene(f)
	f.Add(must(s.files.Pack())(f))
	c := trust.Change{Files: s.next}
	f.Add(must(c.Encode())(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if files, err := trust.Unpack(b); err == nil {
			_, _ = files.Inspect()
			_ = files.Order()
			_, _ = s.online.Resign(files)
		}
		if c, err := trust.DecodeChange(b); err == nil {
			_, _ = s.keys.Missing(c)
			_, _ = s.keys.Explain(c)
			_, _ = s.keys.Sign(c)
		}
	})
}
