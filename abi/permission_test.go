package abi

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePermission(t *testing.T) {
	for in, want := range map[string]Permission{
		"log": {PermLog, ""}, "clock": {PermClock, ""}, "random": {PermRandom, ""}, "kv": {PermKV, ""},
		"http:api.example.com":      {PermHTTP, "api.example.com"},
		"http:API.Example.com:8443": {PermHTTP, "api.example.com:8443"},
		"http:10.0.0.1:80":          {PermHTTP, "10.0.0.1:80"},
		"http:[0:0::1]:8080":        {PermHTTP, "[::1]:8080"},
		"publish:meters.*.value":    {PermPublish, "meters.*.value"},
		"publish:meters.>":          {PermPublish, "meters.>"},
		"read:/models/small":        {PermRead, "/models/small"},
	} {
		p, err := ParsePermission(in)
		if err != nil || p != want {
			t.Errorf("%q: %+v, %v", in, p, err)
		}
		if again, err := ParsePermission(p.String()); err != nil || again != p {
			t.Errorf("%q does not survive: %+v, %v", p, again, err)
		}
		if p.Words() == "" {
			t.Errorf("%q has no words", p)
		}
	}
	for in, want := range map[string]string{
		"": "none of", "logs": "none of", "Log": "none of", "log:": "nothing can stand", "kv:x": "nothing can stand",
		"http": "want http:HOST", "http:": "want http:HOST", "publish:": "want publish:SUBJECT", "read": "want read:/PATH",
		"http:*": "no wildcards", "http:*.example.com": "no wildcards", "http:https://a.b": "no port", "http:a.b/c": `'/' is in no host name`,
		"http:a.b.": "dot at its end", "http:a..b": "empty between", "http:a b": "is in no host name", "http:user@a.b": "is in no host name",
		"http:a.b:": "no port", "http:a.b:0": "no port", "http:a.b:65536": "no port", "http:a.b:080": "no port", "http:a:1:2": "no port",
		"http:::1": "want 1 to", "http:[::1": "bracket", "http:[1.2.3.4]": "IPv6", "http:[fe80::1%25eth0]": "IPv6", "http:bücher.example": "xn--",
		"http:a\x00b": "is in no host name", "http:" + strings.Repeat("a", 254): "want 1 to 253",
		"publish:a..b": "empty token", "publish:.": "empty token", "publish:a b": "white space", "publish:a.>.b": "last token",
		"publish:a.b*": "token of its own", "publish:a\n": "white space", "publish:" + strings.Repeat("a", 256): "want 1 to 255", "publish:\xff": "UTF-8",
		"read:data": "absolute", "read:/a/../b": `as "/b"`, "read:/a/": `as "/a"`, "read://a": `as "/a"`, "read:/a\x00": "control",
	} {
		if _, err := ParsePermission(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestMatchSubject(t *testing.T) {
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a.b.c", false}, {"a.b.c", "a.b", false},
		{"a.*", "a.b", true}, {"a.*", "a.b.c", false}, {"a.*", "a", false}, {"*.b", "a.b", true}, {"*", "a.b", false},
		{"a.>", "a.b.c", true}, {"a.>", "a.b", true}, {"a.>", "a", false}, {"a.>", "ab.c", false}, {">", "a.b", true},
		{">", "$SYS.x", false}, {"*.x", "$SYS.x", false}, {"$SYS.>", "$SYS.x", true},
		{"a.*", "a.*", false}, {"a.>", "a.>", false}, {">", "a..b", false}, {">", "", false}, {"a.*", "A.b", false},
	} {
		if got := MatchSubject(tt.pattern, tt.subject); got != tt.want {
			t.Errorf("%q under %q: %v", tt.subject, tt.pattern, got)
		}
	}
}

// What a host grants may be wider than what a manifest asks for, and never the other way round.
func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		have, ask string
		want      bool
	}{
		{"log", "log", true}, {"log", "kv", false},
		{"http:a.example", "http:a.example", true}, {"http:a.example", "http:b.a.example", false}, {"http:a.example", "http:a.example:8080", false},
		{"http:a.example:443", "http:a.example", false}, {"http:example", "http:a.example", false},
		{"publish:a.>", "publish:a.*.c", true}, {"publish:a.>", "publish:a.>", true}, {"publish:a.*", "publish:a.>", false},
		{"publish:a.*", "publish:a.*", true}, {"publish:a.b", "publish:a.*", false}, {"publish:>", "publish:$JS.>", false},
		{"read:/a", "read:/a", true}, {"read:/a", "read:/a/b", false}, {"read:/a/b", "read:/a", false},
	} {
		have, err1 := ParsePermission(tt.have)
		ask, err2 := ParsePermission(tt.ask)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if got := have.Covers(ask); got != tt.want {
			t.Errorf("%q covers %q: %v", have, ask, got)
		}
	}
}

func TestHostPermission(t *testing.T) {
	if p, ok := HostPermission("isomer:host/kv"); !ok || p.Kind != PermKV || p.Arg != "" {
		t.Errorf("%v, %v", p, ok)
	}
	for _, module := range []string{"env", "isomer:host", "isomer:host/", "isomer:host/read", "isomer:host/kv@1.0.0", "wasi_snapshot_preview1"} {
		if p, ok := HostPermission(module); ok {
			t.Errorf("%s is %v", module, p)
		}
	}
}

func TestManifestPermissions(t *testing.T) {
	m := fullManifest()
	m.Permissions = []string{"log", "telepathy", "http:A.example", "http:a.example", "publish:a.*b"}
	err := m.Validate()
	for _, want := range []string{`permissions[1]: permission "telepathy"`, `permissions[3]: "http:a.example" is there twice`, "permissions[4]: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func FuzzParsePermission(f *testing.F) {
	seeds := []string{"log", "http:[::1]:80", "http:a.example:8443", "publish:a.*.>", "read:/a/b", "http:*", "publish:$JS.API.>"}
	for _, s := range seeds {
		f.Add(s, "a.b.c")
	}
	f.Fuzz(func(t *testing.T, s, subject string) {
		p, err := ParsePermission(s)
		if err != nil {
			return
		}
		again, err := ParsePermission(p.String())
		if err != nil || again != p {
			t.Fatalf("%q: %+v, then %+v, %v", s, p, again, err)
		}
		if !p.Covers(p) {
			t.Fatalf("%q does not cover itself", s)
		}
		if p.Kind == PermPublish && MatchSubject(p.Arg, subject) && CheckSubject(subject) != nil {
			t.Fatalf("%q is let through by %q", subject, s)
		}
	})
}
