package trust

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// squeeze is data as gzip.
func squeeze(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hangUp sends the beginning of what was announced, and no more.
func hangUp(w http.ResponseWriter, data []byte, at int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if _, err := w.Write(data[:at]); err != nil {
		return // the client went before
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	panic(http.ErrAbortHandler)
}

// A cut at each byte of a file, of one that travels compressed and of the
// timestamp; the server has ETags, or has none.
func TestCutAtEveryByte(t *testing.T) {
	plain := []byte(strings.Repeat("the list of region 3301, ", 3))
	squeezed := squeeze(t, plain)
	for _, row := range []struct {
		name, path, etag string
		compress         bool
		resumes          bool
	}{
		{"target", "targets/status/3301/abc.0.tsl", `"one"`, false, true},
		{"target without ETag", "targets/status/3301/abc.0.tsl", "", false, true},
		{"target with a weak ETag", "targets/status/3301/abc.0.tsl", `W/"one"`, false, true},
		{"metadata", "metadata/7.snapshot.json", `"one"`, false, true},
		{"compressed metadata", "metadata/7.snapshot.json", `W/"one"`, true, true},
		{"timestamp", timestampFile, `"one"`, false, false},
		{"compressed timestamp", timestampFile, `W/"one"`, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			at, asked, parts := 0, 0, 0
			first := plain
			if row.compress {
				first = squeezed
			}
			h := web(t, func(w http.ResponseWriter, r *http.Request) {
				if row.etag != "" {
					w.Header().Set("ETag", row.etag)
				}
				asked++
				if asked > 1 {
					if r.Header.Get("Range") != "" {
						parts++
					}
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(plain))
					return
				}
				if row.compress {
					if r.Header.Get("Accept-Encoding") != "gzip" {
						t.Errorf("compression was not asked for: %v", r.Header)
					}
					w.Header().Set("Content-Encoding", "gzip")
				}
				hangUp(w, first, at)
			})
			h.pause = 0
			for at = range len(first) {
				asked = 0
				data, err := h.Fetch(t.Context(), row.path, int64(len(plain)))
				if err != nil || !bytes.Equal(data, plain) {
					t.Fatalf("cut at %d: %q, %v", at, data, err)
				}
				h.etag, h.body = "", nil
			}
			if got := parts > 0; got != row.resumes {
				t.Errorf("%d parts were asked for, want some: %t", parts, row.resumes)
			}
		})
	}
}

// What was cut in one run is gone on with in the next, and the server sends no
// byte twice.
func TestCutsInEveryRun(t *testing.T) {
	const path = "targets/status/3301/abc.0.tsl"
	data := noise(200 << 10)
	var sent int
	h := web(t, func(w http.ResponseWriter, r *http.Request) {
		var from int
		if s := r.Header.Get("Range"); s != "" {
			if _, err := fmt.Sscanf(s, "bytes=%d-", &from); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
			w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
			w.WriteHeader(http.StatusPartialContent)
		}
		if len(data)-from <= 3000 {
			sent += len(data) - from
			if _, err := w.Write(data[from:]); err != nil {
				t.Error(err)
			}
			return
		}
		sent += 3000
		hangUp(w, data[from:], 3000)
	})
	h.pause = 0
	runs := 0
	for {
		runs++
		got, err := h.Fetch(t.Context(), path, int64(len(data)))
		if err == nil {
			if !bytes.Equal(got, data) {
				t.Error("not the file")
			}
			break
		}
		if !errors.Is(err, ErrUnavailable) || runs > 100 {
			t.Fatalf("run %d: %v", runs, err)
		}
	}
	if sent != len(data) {
		t.Errorf("%d bytes were sent of a file of %d", sent, len(data))
	}
	if want := len(data)/3000/tries + 1; runs != want {
		t.Errorf("%d runs, want %d", runs, want)
	}
	if len(h.partials.kept) != 0 {
		t.Error("the complete file is still kept")
	}
}

// Servers whose parts do not fit. The path is asked for up to twice: what a
// liar left behind does not spoil the second Fetch.
func TestPartsThatDoNotFit(t *testing.T) {
	const path = "targets/status/3301/abc.0.tsl"
	good, other := bytes.Repeat([]byte("good"), 500), bytes.Repeat([]byte("evil"), 500)
	total := len(good)
	// part answers a Range with what the server says and what it sends.
	part := func(w http.ResponseWriter, says string, data []byte) {
		w.Header().Set("Content-Range", says)
		w.WriteHeader(http.StatusPartialContent)
		if _, err := w.Write(data); err != nil {
			return // the client hung up on a lie
		}
	}
	for _, row := range []struct {
		name string
		// rest answers the request for the bytes behind the first thousand.
		rest func(w http.ResponseWriter, r *http.Request)
		// first is the error of the first Fetch.
		first error
		wrong bool // the first Fetch returns what the caller's hash refuses
	}{
		{name: "another start", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 999-%d/%d", total-1, total), good[999:])
		}},
		{name: "from zero", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 0-%d/%d", total-1, total), good)
		}},
		{name: "another total", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 1000-%d/%d", total-2, total-1), good[1000:total-1])
		}},
		{name: "no range told", rest: func(w http.ResponseWriter, r *http.Request) { part(w, "", good[1000:]) }},
		{name: "no total told", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 1000-%d/*", total-1), good[1000:])
		}},
		{name: "no numbers", rest: func(w http.ResponseWriter, r *http.Request) { part(w, "bytes +1000--1/x", good[1000:]) }},
		{name: "backwards", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 1000-999/%d", total), nil)
		}},
		{name: "beyond the total", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 1000-%d/%d", total+5, total), append(slices.Clone(good[1000:]), "123456"...))
		}},
		{name: "a larger file", rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, "bytes 1000-999999999/1000000000", noise(1<<20))
		}},
		{name: "more than it says", rest: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", total-1, total))
			w.Header().Set("Transfer-Encoding", "chunked")
			w.WriteHeader(http.StatusPartialContent)
			for range 100 {
				if _, err := w.Write(good); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
			}
		}},
		{name: "compressed", rest: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			part(w, fmt.Sprintf("bytes 1000-%d/%d", total-1, total), good[1000:])
		}},
		{name: "no such part", rest: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes */500")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}},
		{name: "in small parts", rest: func(w http.ResponseWriter, r *http.Request) {
			var from int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil {
				return
			}
			part(w, fmt.Sprintf("bytes %d-%d/%d", from, from+499, total), good[from:from+500])
		}},
		{name: "another file by its ETag", rest: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"two"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(good))
		}},
		{name: "another file, whatever was asked", rest: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"two"`)
			part(w, fmt.Sprintf("bytes 1000-%d/%d", total-1, total), other[1000:])
		}},
		{name: "the whole file instead", rest: func(w http.ResponseWriter, r *http.Request) {
			if _, err := w.Write(good); err != nil {
				t.Error(err)
			}
		}},
		{name: "another file, and nothing says so", wrong: true, rest: func(w http.ResponseWriter, r *http.Request) {
			part(w, fmt.Sprintf("bytes 1000-%d/%d", total-1, total), other[1000:])
		}},
		{name: "nothing left", first: ErrNotFound, rest: func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }},
		{name: "endless", first: ErrTooLarge, rest: func(w http.ResponseWriter, r *http.Request) {
			for range 1000 {
				if _, err := w.Write(good); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := 0
			h := web(t, func(w http.ResponseWriter, r *http.Request) {
				n++
				switch {
				case r.Header.Get("Range") != "":
					row.rest(w, r)
				case n == 1:
					w.Header().Set("ETag", `"one"`)
					hangUp(w, good, 1000)
				default:
					if _, err := w.Write(good); err != nil {
						t.Error(err)
					}
				}
			})
			h.pause = 0
			data, err := h.Fetch(t.Context(), path, int64(total))
			if !errors.Is(err, row.first) {
				t.Errorf("first: %v, want %v", err, row.first)
			}
			if row.wrong == bytes.Equal(data, good) && row.first == nil {
				t.Errorf("first: wrong is not %t", row.wrong)
			}
			if data, err := h.Fetch(t.Context(), path, int64(total)); err != nil || !bytes.Equal(data, good) {
				t.Errorf("second: %d bytes, %v", len(data), err)
			}
		})
	}
}

// Compressed metadata is taken strictly and within the bounds of the file, and
// what cannot be read compressed is read uncompressed.
func TestCompressedMetadata(t *testing.T) {
	const path = "metadata/7.targets.json"
	plain := bytes.Repeat([]byte("target "), 100)
	squeezed := squeeze(t, plain)
	for _, row := range []struct {
		name     string
		encoding string
		body     []byte
		want     error
		asked    int
	}{
		{"good", "gzip", squeezed, nil, 1},
		{"in capitals", "GZIP", squeezed, nil, 1},
		{"uncompressed after all", "", plain, nil, 1},
		{"bytes behind the end", "gzip", append(slices.Clone(squeezed), 0), nil, 2},
		{"two members", "gzip", append(slices.Clone(squeezed), squeeze(t, nil)...), nil, 2},
		{"wrong checksum", "gzip", append(slices.Clone(squeezed[:len(squeezed)-8]), 1, 2, 3, 4, 5, 6, 7, 8), nil, 2},
		{"half", "gzip", squeezed[:len(squeezed)/2], nil, 2},
		{"not compressed", "gzip", plain, nil, 2},
		{"nothing", "gzip", nil, nil, 2},
		{"unpacks to more", "gzip", squeeze(t, make([]byte, 64<<20)), ErrTooLarge, 1},
		{"more than it unpacks to", "gzip", noGain(t, 64<<10), ErrTooLarge, 1},
		{"another encoding", "br", squeezed, ErrUnavailable, 1},
	} {
		asked := 0
		h := web(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			body := plain
			if r.Header.Get("Accept-Encoding") == "gzip" {
				body = row.body
				if row.encoding != "" {
					w.Header().Set("Content-Encoding", row.encoding)
				}
			}
			if _, err := w.Write(body); err != nil {
				return // too much
			}
		})
		h.pause = 0
		data, err := h.Fetch(t.Context(), path, int64(len(plain)))
		if !errors.Is(err, row.want) || row.want == nil && !bytes.Equal(data, plain) || asked != row.asked {
			t.Errorf("%s: %d bytes, %v after %d requests; want %v after %d", row.name, len(data), err, asked, row.want, row.asked)
		}
	}
	// A list is compressed by itself.
	h := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if _, err := w.Write(squeezed); err != nil {
			t.Error(err)
		}
	})
	if _, err := h.Fetch(t.Context(), "targets/status/3301/abc.0.tsl", 1000); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a compressed list that was not asked for: %v", err)
	}
}

// noGain is much gzip of nothing: flushes, one after the other.
func noGain(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for b.Len() < n {
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The timestamp's ETag is given back as it came, compressed or not.
func TestTimestampETags(t *testing.T) {
	for _, tag := range []string{`"one"`, `W/"one"`, `"` + strings.Repeat("x", 300) + `"`} {
		full := 0
		h := web(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			full++
			w.Header().Set("ETag", tag)
			w.Header().Set("Content-Encoding", "gzip")
			if _, err := w.Write(squeeze(t, []byte("now"))); err != nil {
				t.Error(err)
			}
		})
		for range 3 {
			if data, err := h.Fetch(t.Context(), timestampFile, 100); err != nil || string(data) != "now" {
				t.Errorf("tag %.10s: %q, %v", tag, data, err)
			}
		}
		want := 1
		if len(tag) > 256 {
			want = 3 // it is too long to be remembered
		}
		if full != want {
			t.Errorf("tag %.10s: %d bodies, want %d", tag, full, want)
		}
	}
}

// Certificates that do not hold are not tried again.
func TestWrongCertificate(t *testing.T) {
	asked := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++ }))
	handshakes := 0
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { handshakes++; return nil, nil }}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	h, err := NewHTTPS(s.URL, &http.Client{Transport: &http.Transport{}})
	if err != nil {
		t.Fatal(err)
	}
	h.pause = 0
	if _, err := h.Fetch(t.Context(), "metadata/2.root.json", 100); !errors.Is(err, ErrUnavailable) || handshakes != 1 || asked != 0 {
		t.Errorf("%v after %d handshakes and %d requests, want one handshake", err, handshakes, asked)
	}
}

// transport plays a server inside the bubble.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func reply(r *http.Request, status int, body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)), Request: r}
	for i := 0; i < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

// still is a body that never comes, until the request is given up.
type still struct{ ctx context.Context }

func (s still) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }
func (s still) Close() error             { return nil }

// How often and how long a server in trouble is asked.
func TestRetries(t *testing.T) {
	const path = "targets/status/3301/abc.0.tsl"
	for _, row := range []struct {
		name   string
		answer func(n int, r *http.Request) (*http.Response, error)
		want   error
		asked  int
		// least and most that it takes.
		least, most time.Duration
	}{
		{"well after two refused connections", func(n int, r *http.Request) (*http.Response, error) {
			if n <= 2 {
				return nil, errors.New("connection refused")
			}
			return reply(r, 200, "list"), nil
		}, nil, 3, 0, 3 * time.Second},
		{"never", func(n int, r *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
			ErrUnavailable, tries, 0, 7 * time.Second},
		{"asked to wait in seconds", func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(r, 429, "", "Retry-After", "7"), nil
			}
			return reply(r, 200, "list"), nil
		}, nil, 2, 7 * time.Second, 8 * time.Second},
		{"asked to wait until", func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(r, 503, "", "Retry-After", time.Now().Add(9*time.Second).UTC().Format(http.TimeFormat)), nil
			}
			return reply(r, 200, "list"), nil
		}, nil, 2, 8 * time.Second, 10 * time.Second},
		{"asked to wait for long", func(n int, r *http.Request) (*http.Response, error) {
			return reply(r, 503, "", "Retry-After", "86400"), nil
		}, ErrUnavailable, 1, 0, 0},
		{"asked nonsense", func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				return reply(r, 502, "", "Retry-After", "-5"), nil
			}
			return reply(r, 200, "list"), nil
		}, nil, 2, 0, time.Second},
		{"asked to wait again and again", func(n int, r *http.Request) (*http.Response, error) {
			return reply(r, 429, "", "Retry-After", "14"), nil
		}, ErrUnavailable, 3, 28 * time.Second, 28 * time.Second},
		{"gateway", func(n int, r *http.Request) (*http.Response, error) { return reply(r, 504, ""), nil },
			ErrUnavailable, tries, 0, 7 * time.Second},
		{"not there", func(n int, r *http.Request) (*http.Response, error) { return reply(r, 404, ""), nil }, ErrNotFound, 1, 0, 0},
		{"forbidden", func(n int, r *http.Request) (*http.Response, error) { return reply(r, 403, ""), nil }, ErrNotFound, 1, 0, 0},
		{"broken", func(n int, r *http.Request) (*http.Response, error) { return reply(r, 500, ""), nil }, ErrUnavailable, 1, 0, 0},
		{"no answer", func(n int, r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, ErrUnavailable, 2, 2 * silence, answerWithin + time.Second},
		{"silent in the middle", func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				res := reply(r, 200, "li")
				res.ContentLength = 4
				res.Body = struct {
					io.Reader
					io.Closer
				}{io.MultiReader(strings.NewReader("li"), still{r.Context()}), still{}}
				return res, nil
			}
			if r.Header.Get("Range") != "bytes=2-" {
				return nil, fmt.Errorf("range %q", r.Header.Get("Range"))
			}
			return reply(r, 206, "st", "Content-Range", "bytes 2-3/4"), nil
		}, nil, 2, silence, silence + time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			h, err := NewHTTPS("https://h.example/lists", &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				n++
				return row.answer(n, r)
			})})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			data, err := h.Fetch(t.Context(), path, 100)
			took := time.Since(begin)
			if !errors.Is(err, row.want) || row.want == nil && string(data) != "list" || n != row.asked || took < row.least || took > row.most {
				t.Errorf("%s: %q, %v after %d requests and %s; want %v after %d and %s to %s", row.name, data, err, n, took, row.want, row.asked, row.least, row.most)
			}
		})
	}
}

// A timestamp that is cut each time, however late, is given up like anything else.
func TestTimestampCutForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h, err := NewHTTPS("https://h.example/lists", &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			n++
			res := reply(r, 200, strings.Repeat("x", 16<<10))
			res.ContentLength = -1
			res.Body = io.NopCloser(io.MultiReader(res.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
			return res, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Fetch(t.Context(), timestampFile, 16<<10); !errors.Is(err, ErrUnavailable) || n != tries {
			t.Errorf("%v after %d requests, want %d", err, n, tries)
		}
	})
}

// A server that falls over in the middle of a run does not hold a thousand
// lists up, and the next run finds it with all its patience again.
func TestWeary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, up := 0, false
		h, err := NewHTTPS("https://h.example/lists", &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if n++; up {
				return reply(r, 200, "list"), nil
			}
			return reply(r, 503, "", "Retry-After", "10"), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for i := range 1000 {
			if _, err := h.Fetch(t.Context(), fmt.Sprintf("targets/status/3301/abc.%d.tsl", i), 100); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > weary*answerWithin || n > 1000+weary*(tries-1) {
			t.Errorf("a thousand lists: %s, %d requests", took, n)
		}
		n = 0
		if _, err := h.Fetch(t.Context(), timestampFile, 100); !errors.Is(err, ErrUnavailable) || n != 3 {
			t.Errorf("the next run: %v after %d requests, want 3", err, n)
		}
		up = true
		if data, err := h.Fetch(t.Context(), "targets/status/3301/abc.0.tsl", 100); err != nil || string(data) != "list" || h.givenUp != 0 {
			t.Errorf("up again: %q, %v", data, err)
		}
	})
}

// The context ends a pause and a wait for an answer alike.
func TestContextEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := NewHTTPS("https://h.example/lists", &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			return reply(r, 503, "", "Retry-After", "15"), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begin := time.Now()
		if _, err := h.Fetch(ctx, "metadata/2.root.json", 100); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) || time.Since(begin) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

func TestPartials(t *testing.T) {
	now := start
	var p partials
	size := func() (n int) {
		for _, k := range p.kept {
			n += len(k.data)
		}
		return n
	}
	p.keep("empty", partial{}, now)
	if len(p.kept) != 0 {
		t.Error("a partial without a byte is kept")
	}
	p.keep("large", partial{data: make([]byte, maxPartials+1), total: 1 << 30}, now)
	if size() != maxPartials {
		t.Errorf("%d bytes of a large file are kept", size())
	}
	p.keep("new", partial{data: []byte("abc"), total: 5}, now)
	if len(p.kept) != 1 || size() != 3 {
		t.Errorf("%d files with %d bytes, want the newest alone", len(p.kept), size())
	}
	for i := range 2 * maxPartialFiles {
		p.keep(fmt.Sprint(i), partial{data: []byte{byte(i)}, total: 2}, now)
	}
	if len(p.kept) != maxPartialFiles || p.kept[0].path != fmt.Sprint(maxPartialFiles) {
		t.Errorf("%d files, the oldest %s", len(p.kept), p.kept[0].path)
	}
	if got := p.take("100", 2, now); string(got.data) != "d" || got.total != 2 {
		t.Errorf("took %+v", got)
	}
	if got := p.take("100", 2, now); len(got.data) != 0 || got.total != -1 {
		t.Errorf("took it twice: %+v", got)
	}
	if got := p.take("101", 1, now); len(got.data) != 0 {
		t.Errorf("took what is longer than the file: %+v", got)
	}
	if p.take("102", 2, now.Add(partialLife+1)); len(p.kept) != 0 {
		t.Errorf("%d are kept for ever", len(p.kept))
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-1/2", "bytes */7", "bytes 5-4/9", "", "bytes 1-99999999999999999999/2", "bytes 1-2/3 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := contentRange(s)
		if ok && (first < 0 || last < first || total <= last) {
			t.Errorf("%q: %d-%d/%d", s, first, last, total)
		}
	})
}
