package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// Fetcher reads one file of a repository. Errors wrap ErrNotFound,
// ErrTooLarge or ErrUnavailable.
type Fetcher interface {
	// Fetch returns the file at a slash-separated path below the repository,
	// whole, and never more than limit bytes of it.
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)
}

// timestampFile is the only file that changes under its name.
const timestampFile = "metadata/timestamp.json"

const (
	// answerWithin is how long a server may take for any file, and
	slowest = 8 << 10 // bytes a second it must at least deliver beyond that.

	answerWithin = 30 * time.Second
	// longest is the most that one file may take.
	longest = 15 * time.Minute
)

// HTTPS fetches from a web server. It never follows a redirect to another
// host, and remembers the timestamp with its ETag, so that an unchanged one
// costs no body.
type HTTPS struct {
	base   *url.URL
	client *http.Client

	mu   sync.Mutex
	etag string
	body []byte
}

// NewHTTPS returns a fetcher for the repository at base, an https URL. The
// client brings the TLS configuration and the proxy.
func NewHTTPS(base string, client *http.Client) (*HTTPS, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("repository URL %q: %w", base, err)
	}
	if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("repository URL %q: want https://HOST/PATH", base)
	}
	own := *client
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 || req.URL.Scheme != u.Scheme || req.URL.Host != u.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &HTTPS{base: u, client: &own}, nil
}

// Fetch implements [Fetcher].
func (h *HTTPS) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("file %.64q: %w: no path", path, ErrNotFound)
	}
	within := min(answerWithin+time.Duration(limit/slowest)*time.Second, longest)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	// JoinPath would clean the path; each part is escaped as it stands.
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	address := strings.TrimSuffix(h.base.String(), "/") + "/" + strings.Join(parts, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	// The bytes that are counted are the bytes that travel.
	req.Header.Set("Accept-Encoding", "identity")
	if path == timestampFile {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.etag != "" {
			req.Header.Set("If-None-Match", h.etag)
		}
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusNotModified && path == timestampFile && h.etag != "":
		return h.body, nil
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone, res.StatusCode == http.StatusForbidden:
		// Object stores answer 403 for a file that is not there.
		return nil, fmt.Errorf("file %s: %w: status %d", path, ErrNotFound, res.StatusCode)
	default:
		return nil, fmt.Errorf("file %s: %w: status %d", path, ErrUnavailable, res.StatusCode)
	}
	if res.ContentLength > limit {
		return nil, fmt.Errorf("file %s: %w: %d bytes, allowed are %d", path, ErrTooLarge, res.ContentLength, limit)
	}
	data, err := readAll(res.Body, path, limit)
	if err != nil {
		return nil, err
	}
	if path == timestampFile {
		h.etag, h.body = res.Header.Get("ETag"), data
		if len(h.etag) > 256 {
			h.etag = ""
		}
	}
	return data, nil
}

// Dir fetches from a folder, such as a USB stick's. No link leads out of it.
type Dir struct {
	root *os.Root
}

// OpenDir opens the repository in the folder; the caller closes it.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("repository folder: %w", err)
	}
	return &Dir{root}, nil
}

// Close closes the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Fetch implements [Fetcher].
func (d *Dir) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("file %.64q: %w: no path", path, ErrNotFound)
	}
	// A stick may hold a pipe under this name, and opening one would wait for ever.
	info, err := d.root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file %s: %w", path, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file %s: %w: not a regular file", path, ErrNotFound)
	}
	f, err := d.root.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	defer f.Close()
	return readAll(f, path, limit)
}

// readAll reads to the end, or one byte beyond limit.
func readAll(r io.Reader, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("file %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

var (
	_ Fetcher = (*HTTPS)(nil)
	_ Fetcher = (*Dir)(nil)
)
