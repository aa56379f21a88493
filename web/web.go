// Package web has the pages that a hub serves to browsers: the dashboard at / and the browser node at /node/. Use
// Handler; the pages speak the hub's HTTP API like every other client, and nothing in them is secret.
//
// What is served is in dist, built from src by build.js and committed, so that neither users nor Go need npm.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// policy lets a page load what the hub serves and nothing else, compile WebAssembly, and not be framed. There is no
// inline script or style.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; " +
	"connect-src 'self'; worker-src 'self'; manifest-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// file is one that is served.
type file struct {
	body, zipped []byte // zipped is nil where it would not be smaller
	kind, tag    string
}

var files = sync.OnceValue(func() map[string]file {
	all := map[string]file{}
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		f := file{body: body, kind: kindOf(name), tag: base64.RawURLEncoding.EncodeToString(sum[:12])}
		var zipped bytes.Buffer
		w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level is valid, and a buffer takes all
		_, _ = w.Write(body)
		_ = w.Close()
		if zipped.Len() < len(body)*9/10 {
			f.zipped = zipped.Bytes()
		}
		at := strings.TrimPrefix(name, "dist")
		all[at] = f
		if path.Base(at) == "index.html" {
			all[strings.TrimSuffix(at, "index.html")] = f
		}
		return nil
	})
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return all
})

// kindOf is the media type by the name's end. Systems differ in what they say of some.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	case ".wasm":
		return "application/wasm"
	case ".woff2":
		return "font/woff2"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// Handler serves the pages. Each file has an entity tag by its content: a browser asks every time, and is sent only
// what changed, so that a new hub's pages are not mixed with an old one's.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(), geolocation=()")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the pages can only be read", http.StatusMethodNotAllowed)
			return
		}
		f, ok := files()[r.URL.Path]
		if !ok {
			if _, folder := files()[r.URL.Path+"/"]; folder {
				http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
				return
			}
			http.Error(w, "the hub has no such page; the dashboard is at /, the API is described at /openapi.json", http.StatusNotFound)
			return
		}
		send(w, r, f)
	})
}

func send(w http.ResponseWriter, r *http.Request, f file) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body, tag := f.body, f.tag
	if f.zipped != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.zipped, tag+"-gzip"
	}
	tag = `"` + tag + `"`
	h.Set("ETag", tag)
	for _, known := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(known), "W/") == tag {
			h.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // a browser that went away
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
