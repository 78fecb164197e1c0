package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// web serves the authority's files over real TLS.
func web(t *testing.T, handler http.HandlerFunc) *HTTPS {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	h, err := NewHTTPS(s.URL+"/lists", s.Client())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHTTPSAnswers(t *testing.T) {
	var other atomic.Int64
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { other.Add(1) }))
	defer elsewhere.Close()
	h := web(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/lists/metadata/1.root.json":
			fmt.Fprint(w, "root")
		case "/lists/targets/a%20b/%3Fc%23d.tsl":
			fmt.Fprint(w, "escaped")
		case "/lists/moved":
			http.Redirect(w, r, "/lists/metadata/1.root.json", http.StatusFound)
		case "/lists/away":
			http.Redirect(w, r, elsewhere.URL+"/x", http.StatusFound)
		case "/lists/plain":
			http.Redirect(w, r, "http://"+r.Host+"/x", http.StatusFound)
		case "/lists/circle":
			http.Redirect(w, r, "/lists/circle", http.StatusFound)
		case "/lists/forbidden":
			w.WriteHeader(http.StatusForbidden)
		case "/lists/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/lists/big":
			w.Header().Set("Content-Length", "1000000")
			w.WriteHeader(http.StatusOK)
		case "/lists/endless":
			for range 100 {
				fmt.Fprint(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/lists/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		default:
			http.NotFound(w, r)
		}
	})
	for _, row := range []struct {
		path, data string
		want       error
	}{
		{"metadata/1.root.json", "root", nil},
		{"targets/a b/?c#d.tsl", "escaped", nil},
		{"moved", "root", nil},
		{"away", "", ErrUnavailable},
		{"plain", "", ErrUnavailable},
		{"circle", "", ErrUnavailable},
		{"missing", "", ErrNotFound},
		{"forbidden", "", ErrNotFound},
		{"broken", "", ErrUnavailable},
		{"big", "", ErrTooLarge},
		{"endless", "", ErrTooLarge},
		{"cut", "", ErrUnavailable},
		{"../secret", "", ErrNotFound},
		{"", "", ErrNotFound},
	} {
		data, err := h.Fetch(context.Background(), row.path, 1000)
		if !errors.Is(err, row.want) || string(data) != row.data {
			t.Errorf("%q: got %q, %v, want %q, %v", row.path, data, err, row.data, row.want)
		}
	}
	if other.Load() != 0 {
		t.Error("a redirect to another host was followed")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Fetch(ctx, "metadata/1.root.json", 10); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestHTTPSRemembersTheTimestamp(t *testing.T) {
	body, full := "one", 0
	h := web(t, func(w http.ResponseWriter, r *http.Request) {
		tag := `"` + body + `"`
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full++
		w.Header().Set("ETag", tag)
		fmt.Fprint(w, body)
	})
	for i, want := range []struct {
		body string
		full int
	}{{"one", 1}, {"one", 1}, {"two", 2}, {"two", 2}} {
		body = want.body
		data, err := h.Fetch(context.Background(), timestampFile, 100)
		if err != nil || string(data) != want.body || full != want.full {
			t.Errorf("fetch %d: %q, %v after %d bodies, want %q after %d", i, data, err, full, want.body, want.full)
		}
	}
}

func TestHTTPSRefusesOtherURLs(t *testing.T) {
	for _, base := range []string{"http://h.example/", "file:///etc", "https://", "https://h.example/?x=1", "://"} {
		if _, err := NewHTTPS(base, http.DefaultClient); err == nil {
			t.Errorf("base %q was taken", base)
		}
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	stick := filepath.Join(dir, "stick")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(stick, "metadata"), 0o755))
	must(os.WriteFile(filepath.Join(stick, "metadata", "timestamp.json"), []byte("now"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o644))
	must(os.Symlink(filepath.Join(dir, "secret"), filepath.Join(stick, "link")))
	must(syscall.Mkfifo(filepath.Join(stick, "pipe"), 0o644))
	d, err := OpenDir(stick)
	must(err)
	defer d.Close()
	for _, row := range []struct {
		path, data string
		limit      int64
		want       error
	}{
		{"metadata/timestamp.json", "now", 3, nil},
		{"metadata/timestamp.json", "", 2, ErrTooLarge},
		{"metadata/1.root.json", "", 10, ErrNotFound},
		{"metadata", "", 10, ErrNotFound},
		{"../secret", "", 10, ErrNotFound},
		{"link", "", 10, ErrUnavailable},
		{"pipe", "", 10, ErrNotFound},
	} {
		data, err := d.Fetch(context.Background(), row.path, row.limit)
		if !errors.Is(err, row.want) || string(data) != row.data {
			t.Errorf("%q: got %q, %v, want %q, %v", row.path, data, err, row.data, row.want)
		}
	}
	if _, err := OpenDir(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was opened")
	}
}

// The whole way over real TLS, with a server that turns hostile and back.
func TestOverHTTPS(t *testing.T) {
	a := nation(t)
	var hostile atomic.Bool
	h := web(t, func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/lists/")
		data, ok := a.files[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if hostile.Load() && strings.HasPrefix(path, "targets/") {
			data = noise(1 << 20)
		}
		if _, err := w.Write(data); err != nil {
			return // the client hangs up on what is too long
		}
	})
	d := newDevice(t, a, "33", "44")
	d.config.Fetcher = h
	d.mustOnce()
	d.mustBeCurrent()
	a.list(hangzhou, 3)
	a.publish("status-33")
	hostile.Store(true)
	if _, err := d.once(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("endless list: got %v, want ErrTooLarge", err)
	}
	if d.store.colours()[hangzhou] != 0 {
		t.Error("the old list does not answer")
	}
	hostile.Store(false)
	d.mustOnce()
	d.mustBeCurrent()
}

// The same from a folder.
func TestFromAFolder(t *testing.T) {
	a := nation(t)
	dir := t.TempDir()
	for path, data := range a.files {
		name := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	d := newDevice(t, a, "33", "44")
	d.config.Fetcher = folder
	d.mustOnce()
	d.mustBeCurrent()
}
