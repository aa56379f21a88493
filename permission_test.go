package isomer_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// denied is the list of a refusal for missing permissions, each as "permission" or "permission!" if no grant helps.
func denied(t testing.TB, err error) (list []string, text string) {
	t.Helper()
	var refused *isomer.RefusedError
	var denied *isomer.PermissionError
	if !errors.As(err, &refused) || refused.Step != isomer.StepPermissions || !errors.Is(err, isomer.ErrRefused) || !errors.Is(err, isomer.ErrPermission) || !errors.As(err, &denied) {
		t.Fatalf("err = %v", err)
	}
	for _, m := range denied.Missing {
		s := m.Permission.String()
		if m.Undeclared {
			s += "!"
		}
		if m.Hint() == "" {
			t.Errorf("%s: nothing to do about it", s)
		}
		list = append(list, s)
	}
	return list, err.Error()
}

func TestDeniedByDefault(t *testing.T) {
	bin := hostGuest{
		imports:  []string{"kv.get", "kv.set", "log.log", "http.fetch"},
		manifest: named("m", "1", "log", "kv", "http:api.example.com", "http:b.example:8443", "publish:a.>", "read:/data"),
	}.build()
	_, err := isomer.New(t.Context(), bin, append(onEngine, isomer.AllowHTTP("api.example.com"))...)
	list, text := denied(t, err)
	if got := strings.Join(list, " "); got != "log kv http:b.example:8443 publish:a.> read:/data" {
		t.Errorf("missing: %s", got)
	}
	for _, want := range []string{
		"5 not granted", `log (imports isomer:host/log.log): allow it with AllowLog(logger) / --allow log`, "(imports isomer:host/kv.get)", "AllowKV(store) / --allow kv=DIR",
		`AllowHTTP("b.example:8443") / --allow http=b.example:8443`, `AllowPublish(publisher, "a.>") / --allow publish=a.>`, `AllowRead("/data", dir) / --allow read=/data=DIR`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	openBytes(t, bin, isomer.AllowHTTP("api.example.com", "B.example:8443"), isomer.AllowLog(slog.Default()), isomer.AllowKV(memStore(t)),
		isomer.AllowPublish(&broker{}, "a.>"), isomer.AllowRead("/data", t.TempDir()))
}

func TestDeniedWithoutManifest(t *testing.T) {
	bin := hostGuest{imports: []string{"kv.set", "kv.get", "publish.publish", "clock.now"}}.build()
	_, err := isomer.New(t.Context(), bin, append(onEngine, isomer.AllowClock())...)
	list, text := denied(t, err)
	if got := strings.Join(list, " "); got != "kv publish" || !strings.Contains(text, "--allow publish=SUBJECT") {
		t.Errorf("missing: %s in %s", got, text)
	}
}

// A manifest is what people look at before they grant: a module that does more than it says is refused
// whatever is granted.
func TestManifestThatLies(t *testing.T) {
	everything := []isomer.Option{isomer.AllowKV(memStore(t)), isomer.AllowClock(), isomer.AllowLog(slog.Default())}
	bin := hostGuest{imports: []string{"kv.set", "clock.now"}, manifest: named("m", "1", "clock")}.build()
	_, err := isomer.New(t.Context(), bin, append(onEngine, everything...)...)
	list, text := denied(t, err)
	if got := strings.Join(list, " "); got != "kv!" || !strings.Contains(text, `list "kv" in the permissions of the module's manifest`) || strings.Contains(text, "AllowKV") {
		t.Errorf("missing: %s in %s", got, text)
	}
	_, err = isomer.New(t.Context(), bin, append(onEngine, isomer.WithRehearsal())...)
	if list, _ = denied(t, err); strings.Join(list, " ") != "kv!" {
		t.Errorf("a rehearsal: %v", list)
	}
}

func TestDeniedAtSwap(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, hostGuest{imports: []string{"clock.now"}, manifest: named("m", "1.0.0", "clock")}.build(), isomer.AllowClock(), events.option())
	more := hostGuest{imports: []string{"clock.now", "kv.get"}, manifest: named("m", "2.0.0", "clock", "kv")}.build()
	if list, _ := denied(t, m.Swap(t.Context(), more)); strings.Join(list, " ") != "kv" {
		t.Errorf("missing: %v", list)
	}
	if e := events.wait(t, isomer.Refused); e.Step != isomer.StepPermissions || e.Version != "2.0.0" {
		t.Errorf("event %+v", e)
	}
	mustLend(t, m, "clock.now")
	if m.Version() != "1.0.0" {
		t.Errorf("%s serves", m.Version())
	}
	// From a file as well.
	path := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(path, hostGuest{imports: []string{"clock.now"}, manifest: named("m", "1.0.0", "clock")}.build(), 0o644); err != nil {
		t.Fatal(err)
	}
	events = newRecorder()
	m, err := isomer.Open(t.Context(), path, append(onEngine, isomer.AllowClock(), events.option())...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	next := filepath.Join(filepath.Dir(path), "next")
	if err := os.WriteFile(next, more, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	if e := events.wait(t, isomer.Refused); e.Step != isomer.StepPermissions || !errors.Is(e.Err, isomer.ErrPermission) {
		t.Errorf("event %+v", e)
	}
	mustLend(t, m, "clock.now")
}

func TestUnknownImportsAreLinkErrors(t *testing.T) {
	_, err := isomer.New(t.Context(), hostGuest{imports: []string{"kv.get"}, unknown: true}.build(), append(onEngine, isomer.AllowKV(memStore(t)))...)
	var link *engine.LinkError
	if !errors.As(err, &link) || len(link.Missing) != 2 || !strings.Contains(err.Error(), "isomer:host/kv.format") || !strings.Contains(err.Error(), "env.abort") {
		t.Errorf("err = %v", err)
	}
}

// Without their permission the clock and the random source of WASI are the same in each instance, whatever is granted to
// others; with it they are real.
func TestWASIClockNeedsPermission(t *testing.T) {
	sample := func(opts ...isomer.Option) (clock, random uint64) {
		t.Helper()
		m := openBytes(t, enginetest.WASIGuest(), opts...)
		for fn, to := range map[string]*uint64{"clock": &clock, "random": &random} {
			out, err := m.CallScalar(t.Context(), fn)
			if err != nil {
				t.Fatal(err)
			}
			*to = out[0].Bits()
		}
		return clock, random
	}
	c1, r1 := sample()
	c2, r2 := sample()
	if c1 != c2 || r1 != r2 {
		t.Errorf("without permission: clock %d and %d, random %d and %d", c1, c2, r1, r2)
	}
	c1, r1 = sample(isomer.AllowClock(), isomer.AllowRandom())
	c2, r2 = sample(isomer.AllowClock(), isomer.AllowRandom())
	if c1 == c2 || r1 == r2 {
		t.Errorf("with permission: clock %d and %d, random %d and %d", c1, c2, r1, r2)
	}
}

func TestGrantsThatAreWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]isomer.Option{
		"no logger": isomer.AllowLog(nil), "no store": isomer.AllowKV(nil), "no host": isomer.AllowHTTP(), "wildcard": isomer.AllowHTTP("*.example.com"),
		"url": isomer.AllowHTTP("https://example.com"), "empty host": isomer.AllowHTTP(""), "no publisher": isomer.AllowPublish(nil, "a"),
		"no subject": isomer.AllowPublish(&broker{}), "bad subject": isomer.AllowPublish(&broker{}, "a..b"), "relative": isomer.AllowRead("data", "."),
		"no directory": isomer.AllowRead("/data", filepath.Join(file, "none")), "a file": isomer.AllowRead("/data", file), "empty directory": isomer.AllowRead("/data", ""),
		"twice": isomer.AllowHTTP("a.example", "A.example"), "timeout": isomer.WithHTTP(isomer.HTTPConfig{Timeout: -1}), "body": isomer.WithHTTP(isomer.HTTPConfig{MaxBody: -1}),
	} {
		if _, err := isomer.New(t.Context(), enginetest.Guest{}.Build(), opt); !errors.Is(err, isomer.ErrOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A module that imports nothing pays nothing for what is granted to others.
func BenchmarkCallWithGrants(b *testing.B) {
	for _, bench := range []struct {
		name string
		opts []isomer.Option
	}{
		{"none", nil},
		{"all", []isomer.Option{isomer.AllowKV(memStore(b)), isomer.AllowClock(), isomer.AllowRandom(), isomer.AllowLog(slog.New(slog.DiscardHandler)),
			isomer.AllowHTTP("a.example"), isomer.AllowPublish(&broker{}, "a.>")}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := openBytes(b, enginetest.Guest{}.Build(), bench.opts...)
			in, dst := make([]byte, 100), make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = m.CallInto(b.Context(), dst, "echo", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostCall is what a call costs that asks its host once.
func BenchmarkHostCall(b *testing.B) {
	m := openBytes(b, hostGuest{imports: []string{"clock.now", "kv.get"}, silent: true}.build(), isomer.AllowClock(), isomer.AllowKV(memStore(b)))
	for fn, in := range map[string][]byte{"clock.now": hostInput(uint32(0)), "kv.get": hostInput("key", uint32(hostRet))} {
		b.Run(fn, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Call(b.Context(), fn, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
