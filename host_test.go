package isomer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

func memStore(t testing.TB, opts ...isomer.StoreOption) isomer.Store {
	t.Helper()
	s, err := isomer.NewMemStore(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// broker keeps what is published.
type broker struct {
	mu   sync.Mutex
	got  []string
	fail error
}

func (b *broker) Publish(_ context.Context, subject string, payload []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, subject+" "+string(payload))
	return b.fail
}

func TestHostLog(t *testing.T) {
	onEngines(t, func(t *testing.T, engine ...isomer.Option) {
		var out bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		m := openBytes(t, hostGuest{imports: []string{"log.log"}, manifest: named("meter", "1.2.0", "log")}.build(), append(engine, isomer.AllowLog(log))...)
		line := func(level uint32, text string) map[string]any {
			t.Helper()
			out.Reset()
			mustLend(t, m, "log.log", level, text)
			if out.Len() == 0 {
				return nil
			}
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := line(2, "the meter is dark"); got["msg"] != "the meter is dark" || got["level"] != "WARN" || got["module"] != "meter" || got["version"] != "1.2.0" || got["trial"] != nil {
			t.Errorf("%v", got)
		}
		if got := line(0, "quiet"); got != nil {
			t.Errorf("a level that is off: %v", got)
		}
		if got := line(1, "a\xff\xfe\nb"); got["msg"] != "a\uFFFD\nb" {
			t.Errorf("%v", got)
		}
		long := line(3, strings.Repeat("x", 100_000))["msg"].(string)
		if len(long) > abi.MaxLogLine || !strings.HasSuffix(long, "x…") {
			t.Errorf("%d bytes", len(long))
		}
		var trap *isomer.TrapError
		if _, err := lend(m, "log.log", uint32(4), "x"); !errors.As(err, &trap) || !strings.Contains(err.Error(), "log level 4") {
			t.Errorf("level 4: %v", err)
		}
	})
}

func TestHostClockAndRandom(t *testing.T) {
	onEngines(t, func(t *testing.T, engine ...isomer.Option) {
		imports := []string{"clock.now", "clock.monotonic", "random.bytes"}
		m := openBytes(t, hostGuest{imports: imports}.build(), append(engine, isomer.AllowClock(), isomer.AllowRandom())...)
		before := time.Now()
		now := time.Unix(0, int64(mustLend(t, m, "clock.now").u64(hostRet)))
		if now.Before(before) || now.After(time.Now()) {
			t.Errorf("now is %v, it was %v", now, before)
		}
		first, second := mustLend(t, m, "clock.monotonic").u64(hostRet), mustLend(t, m, "clock.monotonic").u64(hostRet)
		if second < first {
			t.Errorf("time went from %d to %d", first, second)
		}
		a, b := mustLend(t, m, "random.bytes", uint32(64), uint32(hostRet)).text(hostRet), mustLend(t, m, "random.bytes", uint32(64), uint32(hostRet)).text(hostRet)
		if len(a) != 64 || a == b {
			t.Errorf("%x, %x", a, b)
		}
		if r := mustLend(t, m, "random.bytes", uint32(0), uint32(hostRet)); r.u32(hostRet) == 0 || r.u32(hostRet+4) != 0 {
			t.Error("no bytes have an address that is null")
		}
		var trap *isomer.TrapError
		if _, err := lend(m, "random.bytes", uint32(abi.MaxRandom+1), uint32(hostRet)); !errors.As(err, &trap) {
			t.Errorf("too many bytes: %v", err)
		}
	})
}

func TestHostKV(t *testing.T) {
	onEngines(t, func(t *testing.T, engine ...isomer.Option) {
		guest := hostGuest{imports: []string{"kv.get", "kv.set", "kv.delete", "kv.keys"}, manifest: named("meter", "1.0.0", "kv")}
		store := memStore(t)
		m := openBytes(t, guest.build(), append(engine, isomer.AllowKV(store))...)
		ret := uint32(hostRet)
		get := func(key string) (string, bool) {
			t.Helper()
			r := mustLend(t, m, "kv.get", key, ret)
			if err := r.err(); err != nil {
				t.Fatal(err)
			}
			return r.text(hostRet + 8), r.mem[hostRet+4] == 1
		}
		if v, ok := get("total"); ok {
			t.Errorf("%q before it was set", v)
		}
		for k, v := range map[string]string{"total": "42", "empty": "", "größe": "\x00\xff", "a": strings.Repeat("v", abi.MaxValue)} {
			if err := mustLend(t, m, "kv.set", k, v, ret).err(); err != nil {
				t.Fatal(err)
			}
			if got, ok := get(k); !ok || got != v {
				t.Errorf("%q: %d bytes, %v", k, len(got), ok)
			}
		}
		if got := mustLend(t, m, "kv.keys", "", ret).strings(); !slices.Equal(got, []string{"a", "empty", "größe", "total"}) {
			t.Errorf("keys: %q", got)
		}
		if got := mustLend(t, m, "kv.keys", "to", ret).strings(); !slices.Equal(got, []string{"total"}) {
			t.Errorf("keys with a prefix: %q", got)
		}
		for range 2 {
			if err := mustLend(t, m, "kv.delete", "empty", ret).err(); err != nil {
				t.Error(err)
			}
		}
		if _, ok := get("empty"); ok {
			t.Error("a deleted key is there")
		}

		wantRefusal(t, "empty key", mustLend(t, m, "kv.set", "", "v", ret), "empty")
		wantRefusal(t, "long key", mustLend(t, m, "kv.get", strings.Repeat("k", 513), ret), "key of 513 bytes")
		wantRefusal(t, "key that is no text", mustLend(t, m, "kv.delete", "\xff", ret), "UTF-8")
		wantRefusal(t, "long value", mustLend(t, m, "kv.set", "k", strings.Repeat("v", abi.MaxValue+1), ret), "value of 1048577 bytes")
		wantRefusal(t, "long prefix", mustLend(t, m, "kv.keys", strings.Repeat("k", 513), ret), "prefix of 513 bytes")

		// The next version of the module finds it, another module does not.
		guest.manifest = named("meter", "2.0.0", "kv")
		if err := m.Swap(t.Context(), guest.build()); err != nil {
			t.Fatal(err)
		}
		if v, ok := get("total"); !ok || v != "42" {
			t.Errorf("after the swap: %q, %v", v, ok)
		}
		guest.manifest = named("other", "1.0.0", "kv")
		m = openBytes(t, guest.build(), append(engine, isomer.AllowKV(store))...)
		if v, ok := get("total"); ok {
			t.Errorf("another module sees %q", v)
		}
	})
}

func TestHostKVFull(t *testing.T) {
	m := openBytes(t, hostGuest{imports: []string{"kv.set"}}.build(), isomer.AllowKV(memStore(t, isomer.WithStoreLimit(8192))))
	for k, want := range []string{"", "", "no room is left"} {
		err := mustLend(t, m, "kv.set", fmt.Sprint(k), "v", uint32(hostRet)).err()
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("set %d: %v", k, err)
		}
	}
	if s := m.Stats(); s.Failed != 0 {
		t.Errorf("the guest can handle it, and %d calls failed", s.Failed)
	}
}

func TestHostPublish(t *testing.T) {
	onEngines(t, func(t *testing.T, engine ...isomer.Option) {
		var meters, alarms broker
		alarms.fail = errors.New("the link is down")
		m := openBytes(t, hostGuest{imports: []string{"publish.publish"}, manifest: named("m", "1", "publish:meters.*.value", "publish:alarms.>")}.build(),
			append(engine, isomer.AllowPublish(&meters, "meters.>"), isomer.AllowPublish(&alarms, "alarms.>"))...)
		publish := func(subject, payload string) reply {
			return mustLend(t, m, "publish.publish", subject, payload, uint32(hostRet))
		}
		if err := publish("meters.7.value", "3").err(); err != nil || !slices.Equal(meters.got, []string{"meters.7.value 3"}) {
			t.Errorf("%v, %q", err, meters.got)
		}
		wantRefusal(t, "broker that fails", publish("alarms.7", "!"), "the link is down")
		wantRefusal(t, "granted and not declared", publish("meters.7.other", "3"), `"meters.7.other" is not allowed`)
		wantRefusal(t, "neither", publish("firmware.7", "3"), "not allowed")
		wantRefusal(t, "wildcard", publish("meters.*.value", "3"), "wildcard")
		wantRefusal(t, "line end", publish("meters.7\r\n.value", "3"), "control")
		wantRefusal(t, "no text", publish("meters.\xff.value", "3"), "UTF-8")
		wantRefusal(t, "long subject", publish("meters."+strings.Repeat("7", 2000)+".value", "3"), "want 1 to 255")
		wantRefusal(t, "long payload", publish("meters.7.value", strings.Repeat("3", abi.MaxPayload+1)), "payload of 1048577 bytes")
		if len(meters.got) != 1 {
			t.Errorf("published: %q", meters.got)
		}
	})
}

// What a host function is given decides whether the guest dies or is told. Whoever breaks the contract dies, with the
// function's name, and alone.
func TestHostBadPointers(t *testing.T) {
	onEngines(t, func(t *testing.T, engines ...isomer.Option) {
		var all []string
		for name := range hostImports {
			all = append(all, name)
		}
		slices.Sort(all)
		store := memStore(t)
		opts := append(engines, isomer.AllowLog(slog.New(slog.DiscardHandler)), isomer.AllowClock(), isomer.AllowRandom(), isomer.AllowKV(store),
			isomer.AllowHTTP("localhost"), isomer.AllowPublish(&broker{}, "a.>"))
		m := openBytes(t, hostGuest{imports: all}.build(), opts...)
		far, ret := uint32(0xffff_fff0), uint32(hostRet)
		for _, tt := range []struct {
			fn, want string
			params   []any
		}{
			{"log.log", "message at 0xfffffff0", []any{uint32(1), far, uint32(4)}},
			{"random.bytes", "result record", []any{uint32(1), far}},
			{"random.bytes", "aligned", []any{uint32(1), ret + 1}},
			{"kv.get", "key at 0xfffffff0", []any{far, uint32(4), ret}},
			{"kv.get", "result record", []any{"key", far}},
			{"kv.get", "aligned", []any{"key", ret + 2}},
			{"kv.set", "value at 0xfffffff0, 4294967295 bytes", []any{"key", far, uint32(0xffff_ffff), ret}},
			{"kv.set", "result record", []any{"never", "v", far}},
			{"kv.delete", "result record", []any{"key", far}},
			{"kv.keys", "prefix at", []any{far, uint32(17), ret}},
			{"http.fetch", "headers at 0xfffffff0", []any{"GET", "http://localhost", far, uint32(1), "", ret}},
			{"http.fetch", "aligned", []any{"GET", "http://localhost", ret + 1, uint32(1), "", ret}},
			{"http.fetch", "body at", []any{"GET", "http://localhost", pairs{}, far, uint32(99), ret}},
			{"http.fetch", "result record", []any{"GET", "http://localhost", pairs{}, "", far}},
			{"publish.publish", "payload at", []any{"a.b", far, uint32(99), ret}},
		} {
			_, err := lend(m, tt.fn, tt.params...)
			var trap *isomer.TrapError
			if !errors.As(err, &trap) || trap.Function != tt.fn || trap.Module == "" || !errors.Is(err, abi.ErrViolation) ||
				!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "isomer:host/"+tt.fn) {
				t.Errorf("%s %v: %v", tt.fn, tt.params, err)
			}
			if err := mustLend(t, m, "kv.set", "alive", "yes", ret).err(); err != nil {
				t.Fatalf("after %s: %v", tt.fn, err)
			}
		}
		if _, ok, _ := store.Get(t.Context(), "module", "never"); ok {
			t.Error("a call that died had an effect")
		}
	})
}

func TestHostEvilAllocator(t *testing.T) {
	onEngines(t, func(t *testing.T, engines ...isomer.Option) {
		opts := append(engines, isomer.AllowRandom())
		for evil, want := range map[string]string{
			"trap": "unreachable", "outside": "memory from cabi_realloc for list at 0xfffffff0",
		} {
			m := openBytes(t, hostGuest{imports: []string{"random.bytes"}, evil: evil}.build(), opts...)
			_, err := lend(m, "random.bytes", uint32(8), uint32(hostRet))
			var trap *isomer.TrapError
			if !errors.As(err, &trap) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", evil, err)
			}
		}
		m := openBytes(t, hostGuest{imports: []string{"random.bytes"}, evil: "again"}.build(), opts...)
		_, err := lend(m, "random.bytes", uint32(8), uint32(hostRet))
		var limit *isomer.LimitError
		if !errors.As(err, &limit) || limit.Limit != engine.StackSz || limit.Function != "random.bytes" {
			t.Errorf("without end: %v", err)
		}
	})
}

// slowStore waits until the call's context ends.
type slowStore struct{ isomer.Store }

func (slowStore) Get(ctx context.Context, _, _ string) ([]byte, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

// The three kinds of error stay what they are when a host function is in the middle.
func TestHostErrorsKeepTheirKind(t *testing.T) {
	onEngines(t, func(t *testing.T, engines ...isomer.Option) {
		guest := hostGuest{imports: []string{"kv.get"}, manifest: named("meter", "1.2.0", "kv")}
		m := openBytes(t, guest.build(), append(engines, isomer.AllowKV(slowStore{}), isomer.WithDeadline(100*time.Millisecond))...)
		_, err := lend(m, "kv.get", "key", uint32(hostRet))
		var limit *isomer.LimitError
		if !errors.As(err, &limit) || limit.Limit != engine.Deadline || limit.Function != "kv.get" || limit.Module != "meter@1.2.0" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline within a host function: %v", err)
		}
		m = openBytes(t, guest.build(), append(engines, isomer.AllowKV(slowStore{}))...)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err = m.Call(ctx, "kv.get", hostInput("key", uint32(hostRet)))
		if !errors.As(err, &limit) || limit.Limit != engine.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled within a host function: %v", err)
		}
		m = openBytes(t, guest.build(), append(engines, isomer.AllowKV(panicStore{}))...)
		_, err = lend(m, "kv.get", "key", uint32(hostRet))
		var trap *isomer.TrapError
		var inHost *engine.HostError
		if !errors.As(err, &trap) || trap.Function != "kv.get" || trap.Module != "meter@1.2.0" || !errors.As(err, &inHost) || inHost.Import != "isomer:host/kv.get" {
			t.Errorf("a store that panics: %v", err)
		}
	})
}

type panicStore struct{ isomer.Store }

// Before a module is published it leaves no traces, and its golden cases come out the same each time.
func TestHostRehearsal(t *testing.T) {
	var bus broker
	store := memStore(t)
	if err := store.Set(t.Context(), "m", "total", []byte("42")); err != nil {
		t.Fatal(err)
	}
	manifest := named("m", "1", "kv", "publish:a.b", "clock", "random", "http:localhost", "log")
	guest := hostGuest{imports: []string{"kv.get", "kv.set", "publish.publish", "clock.now", "random.bytes", "http.fetch", "log.log"}, manifest: manifest}
	grants := []isomer.Option{
		isomer.AllowKV(store), isomer.AllowPublish(&bus, "a.b"), isomer.AllowClock(), isomer.AllowRandom(), isomer.AllowHTTP("localhost"), isomer.AllowLog(slog.New(slog.DiscardHandler)),
	}
	golden := func(m *isomer.Module) {
		manifest.Golden = nil
		ret := uint32(hostRet)
		for _, c := range []struct {
			fn    string
			input []byte
		}{
			{"kv.get", hostInput("total", ret)}, {"kv.set", hostInput("total", "0", ret)}, {"kv.get", hostInput("total", ret)},
			{"publish.publish", hostInput("a.b", "trial", ret)}, {"clock.now", nil}, {"random.bytes", hostInput(uint32(8), ret)},
			{"http.fetch", hostInput("GET", "http://localhost/", pairs{}, "", ret)},
		} {
			out, err := m.Call(t.Context(), c.fn, c.input)
			if err != nil {
				t.Fatal(err)
			}
			manifest.Golden = append(manifest.Golden, abi.Golden{Function: c.fn, Input: c.input, Output: out})
		}
	}
	// What a rehearsal answers is what the gate wants to see, on each host.
	golden(openBytes(t, guest.build(), isomer.WithRehearsal()))
	if out := (reply{manifest.Golden[0].Output}); out.mem[hostRet+4] != 0 {
		t.Error("a rehearsal sees a value")
	}
	if out := (reply{manifest.Golden[2].Output}); out.text(hostRet+8) != "0" {
		t.Error("a rehearsal does not see its own value")
	}
	m := openBytes(t, guest.build(), grants...)
	if len(bus.got) != 0 {
		t.Errorf("golden cases published %q", bus.got)
	}
	if v, _, _ := store.Get(t.Context(), "m", "total"); string(v) != "42" {
		t.Errorf("golden cases left %q", v)
	}
	if r := mustLend(t, m, "kv.get", "total", uint32(hostRet)); r.text(hostRet+8) != "42" {
		t.Error("the module that serves does not see its value")
	}
}
