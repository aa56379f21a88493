package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, path string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestPages(t *testing.T) {
	page := get(t, "/", http.Header{})
	body, _ := io.ReadAll(page.Body)
	if page.StatusCode != 200 || page.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(string(body), "<title>Isomer") {
		t.Fatalf("status %d, %s: %.100s", page.StatusCode, page.Header.Get("Content-Type"), body)
	}
	if p := page.Header.Get("Content-Security-Policy"); strings.Contains(p, "unsafe-inline") || !strings.Contains(p, "default-src 'none'") {
		t.Errorf("policy %s", p)
	}
	for _, inline := range []string{"<script>", "<style", " style=", " onload=", "http://", "https://"} {
		if strings.Contains(string(body), inline) {
			t.Errorf("the page has %s", inline)
		}
	}

	again := get(t, "/index.html", http.Header{"If-None-Match": {`"other", W/` + page.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("a page that is known already: status %d", again.StatusCode)
	}
	zipped := get(t, "/app.js", http.Header{"Accept-Encoding": {"br, gzip"}})
	if zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("it is not zipped")
	}
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(r)
	plain, _ := io.ReadAll(get(t, "/app.js", http.Header{"Accept-Encoding": {"gzip;q=0"}}).Body)
	if err != nil || string(unzipped) != string(plain) {
		t.Errorf("zipped and plain differ (%v)", err)
	}

	for path, status := range map[string]int{"/nothing": 404, "/../web.go": 404, "/node": 301, "/node/": 200} {
		if got := get(t, path, http.Header{}).StatusCode; got != status {
			t.Errorf("%s: status %d, want %d", path, got, status)
		}
	}
	post := httptest.NewRecorder()
	Handler().ServeHTTP(post, httptest.NewRequest(http.MethodPost, "/", nil))
	if post.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", post.Code)
	}
}
