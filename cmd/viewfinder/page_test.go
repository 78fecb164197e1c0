package viewfinder

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"greengate/cmd/control"
)

// serve serves a page until the test ends or stop is called.
func serve(t *testing.T) (p *Page, address string, stop func()) {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return p, "http://" + l.Addr().String(), stop
}

// get asks for a path, with a change to the request.
func get(t *testing.T, url string, change func(*http.Request)) (status int, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// TestWho: only who knows the path, on this device, from this page, sees anything.
func TestWho(t *testing.T) {
	p, address, _ := serve(t)
	p.Show(control.CameraLine{Reader: "eye", Picture: []byte("picture of a person")})
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		change     func(*http.Request)
		want       int
	}{
		{"the page", p.Path(), nil, 200},
		{"its picture", p.Path() + "picture", nil, 200},
		{"its style", p.Path() + "page.css", nil, 200},
		{"its script", p.Path() + "page.js", nil, 200},
		{"a guess", "/", nil, 404},
		{"a picture by a guess", "/picture", nil, 404},
		{"another page's path", other.Path() + "picture", nil, 404},
		{"half a path", p.Path()[:20] + "/picture", nil, 404},
		{"out of its folder", p.Path() + "../picture", nil, 404},
		{"nothing there", p.Path() + "nothing", nil, 404},
		{"another name", p.Path() + "picture", func(r *http.Request) { r.Host = "attacker.example" }, 421},
		{"localhost", p.Path() + "picture", func(r *http.Request) { r.Host = "localhost:80" }, 200},
		{"from another site", p.Path() + "picture", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"from the page", p.Path() + "picture", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 200},
		{"a post", p.Path() + "picture", func(r *http.Request) { r.Method = http.MethodPost }, 405},
	} {
		status, body, header := get(t, address+tt.path, tt.change)
		if status != tt.want || (status != 200) && strings.Contains(body, "person") {
			t.Errorf("%s: %d, want %d: %.100s", tt.name, status, tt.want, body)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Security-Policy": policy} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, got, want)
			}
		}
	}
}

func TestListenLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0"} {
		if l, err := Listen(addr); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v, %v", addr, l, err)
		}
	}
}

// TestEvents follows a page from its first line to its end; a fifth page finds
// no room.
func TestEvents(t *testing.T) {
	p, address, stop := serve(t)
	open := func() (*http.Response, *bufio.Scanner) {
		resp, err := http.Get(address + p.Path() + "events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp, bufio.NewScanner(resp.Body)
	}
	next := func(s *bufio.Scanner) string {
		var event string
		for s.Scan() && s.Text() != "" {
			event += s.Text() + "\n"
		}
		return event
	}
	p.Show(control.CameraLine{Reader: "eye", Rate: 29.5, Picture: []byte("secret")})
	var streams []*bufio.Scanner
	for range pages {
		_, s := open()
		if got := next(s); !strings.HasPrefix(got, "event: line\ndata: {\"reader\":\"eye\"") || !strings.Contains(got, `"count":1`) || strings.Contains(got, "picture") {
			t.Errorf("first line: %s", got)
		}
		streams = append(streams, s)
	}
	if resp, _ := open(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("page %d: %s", pages+1, resp.Status)
	}
	p.Show(control.CameraLine{Reader: "eye", Rate: 12})
	for _, s := range streams {
		if got := next(s); !strings.Contains(got, `"rate":12,`) {
			t.Errorf("second line: %s", got)
		}
	}
	if status, body, _ := get(t, address+p.Path()+"picture", nil); status != 200 || body != "secret" {
		t.Errorf("the picture stays until the next: %d %s", status, body)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	for _, s := range streams {
		if got := next(s); !strings.HasPrefix(got, "event: over\n") {
			t.Errorf("at the end: %s", got)
		}
	}
	<-ended
	if p.picture != nil {
		t.Error("the last picture is kept")
	}
}
