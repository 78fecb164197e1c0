package publisher

import (
	"io"
	"net/http"
	"net/http/httptest"
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
