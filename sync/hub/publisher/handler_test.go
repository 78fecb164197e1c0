package publisher

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	s := httptest.NewServer(Handler(d.repo))
	defer s.Close()
	get := func(method, path, tag string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" {
			req.Header.Set("If-None-Match", tag)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res
	}
	for _, row := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/metadata/timestamp.json", 200},
		{"HEAD", "/metadata/1.root.json", 200},
		{"GET", "/metadata/2.root.json", 404},
		{"GET", "/metadata/", 404},
		{"GET", "/metadata", 404},
		{"GET", "/", 404},
		{"GET", "/.lock", 404},
		{"GET", "/targets/.tmp-1", 404},
		{"GET", "/targets/../../keys/online/timestamp-1.pem", 404},
		{"GET", "/targets/%2e%2e/%2e%2e/keys/online/timestamp-1.pem", 404},
		{"POST", "/metadata/timestamp.json", 405},
	} {
		if res := get(row.method, row.path, ""); res.StatusCode != row.want {
			t.Errorf("%s %s: status %d, want %d", row.method, row.path, res.StatusCode, row.want)
		}
	}
	tag := get("GET", "/metadata/timestamp.json", "").Header.Get("ETag")
	if res := get("GET", "/metadata/timestamp.json", tag); res.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged timestamp: status %d, want 304", res.StatusCode)
	}
	d.publish(Contents{})
	if res := get("GET", "/metadata/timestamp.json", tag); res.StatusCode != http.StatusOK {
		t.Errorf("new timestamp: status %d, want 200", res.StatusCode)
	}
}

// Metadata is compressed where that is accepted, and each form has its own
// ETag; the timestamp and targets are served as they lie, and so are parts.
func TestHandlerEncodings(t *testing.T) {
	d := newDesk(t, "33")
	d.publish(Contents{Lists: []List{list("https://h.example/3301/0", 0)}})
	s := httptest.NewServer(Handler(d.repo))
	defer s.Close()
	get := func(path string, header ...string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequest("GET", s.URL+"/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	file := func(path string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(d.repo, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const snapshot = "metadata/2.snapshot.json"
	plain, body := get(snapshot)
	if plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("Vary") != "Accept-Encoding" || !bytes.Equal(body, file(snapshot)) {
		t.Errorf("plain: %v", plain.Header)
	}
	for range 2 {
		res, body := get(snapshot, "Accept-Encoding", "br, GZIP;q=0.5")
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(unpacked, file(snapshot)) || len(body) >= len(unpacked) || res.ContentLength != int64(len(body)) {
			t.Errorf("compressed: %d bytes of %d, length %d, %v", len(body), len(unpacked), res.ContentLength, err)
		}
		if tag := res.Header.Get("ETag"); res.Header.Get("Vary") != "Accept-Encoding" || tag == "" || tag == plain.Header.Get("ETag") {
			t.Errorf("compressed: %v, plain has %s", res.Header, plain.Header.Get("ETag"))
		}
		if again, _ := get(snapshot, "Accept-Encoding", "gzip", "If-None-Match", res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("compressed and unchanged: status %d", again.StatusCode)
		}
	}
	for _, accept := range []string{"", "identity", "gzip;q=0", "gzip; q=0.0", "gzip;q=x", "br", "gzipped"} {
		if res, _ := get(snapshot, "Accept-Encoding", accept); res.Header.Get("Content-Encoding") != "" {
			t.Errorf("accepted is %q, encoded as %s", accept, res.Header.Get("Content-Encoding"))
		}
	}
	if res, _ := get("metadata/timestamp.json", "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Error("the timestamp is compressed")
	}
	targets, err := filepath.Glob(filepath.Join(d.repo, "targets", "status", "3301", "*.tsl"))
	if err != nil || len(targets) != 1 {
		t.Fatalf("targets: %v %v", targets, err)
	}
	target := "targets/status/3301/" + filepath.Base(targets[0])
	res, whole := get(target, "Accept-Encoding", "gzip")
	tag := res.Header.Get("ETag")
	if res.Header.Get("Content-Encoding") != "" || !strings.Contains(targets[0], strings.Trim(tag, `"`)) || !bytes.Equal(whole, file(target)) {
		t.Errorf("target: %v", res.Header)
	}
	for path, tag := range map[string]string{target: tag, snapshot: plain.Header.Get("ETag")} {
		data := file(path)
		res, body := get(path, "Accept-Encoding", "gzip", "Range", "bytes=7-", "If-Range", tag)
		if want := fmt.Sprintf("bytes 7-%d/%d", len(data)-1, len(data)); res.StatusCode != http.StatusPartialContent ||
			res.Header.Get("Content-Range") != want || !bytes.Equal(body, data[7:]) {
			t.Errorf("part of %s: status %d, %v", path, res.StatusCode, res.Header)
		}
		if res, body := get(path, "Range", "bytes=7-", "If-Range", `"another"`); res.StatusCode != http.StatusOK || !bytes.Equal(body, data) {
			t.Errorf("part of another %s: status %d", path, res.StatusCode)
		}
	}
}
