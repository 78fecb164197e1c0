package publisher

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// A file of metadata in this range of sizes travels compressed where that is
	// accepted: below, the headers weigh more than what is saved; above, it is
	// none that a gate takes.
	leastGzip, mostGzip = 512, 8 << 20
	// maxSqueezed bounds the compressed metadata kept in memory.
	maxSqueezed = 16 << 20
)

// Handler serves the repository in repoDir as any static web server would:
// metadata/ and targets/, nothing else, no listings, parts of files too. The
// timestamp has an ETag and is asked again each time; the rest never changes
// under its name. Metadata is compressed where that is accepted, except the
// timestamp, which is small; targets are compressed by themselves.
func Handler(repoDir string) http.Handler {
	squeezed := &squeezer{files: map[string][]byte{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		// What is not there may be there soon: no cache keeps that.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		name := strings.TrimPrefix(r.URL.Path, "/")
		base := path.Base(name)
		metadata := strings.HasPrefix(name, "metadata/")
		if !fs.ValidPath(name) || !metadata && !strings.HasPrefix(name, "targets/") || strings.HasPrefix(base, ".") {
			http.NotFound(w, r)
			return
		}
		// A root of the folder: no name and no link leads out of it.
		root, err := os.OpenRoot(repoDir)
		if err != nil {
			http.Error(w, "lists are not there", http.StatusInternalServerError)
			return
		}
		defer root.Close()
		f, err := root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			http.NotFound(w, r)
			return
		}
		if err != nil {
			http.Error(w, "not readable", http.StatusInternalServerError)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			http.NotFound(w, r)
			return
		}
		if name == "metadata/timestamp.json" {
			data, err := io.ReadAll(f)
			if err != nil {
				http.Error(w, "not readable", http.StatusInternalServerError)
				return
			}
			sum := sha256.Sum256(data)
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum[:16]))
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("Content-Type", "application/json")
			http.ServeContent(w, r, base, time.Time{}, bytes.NewReader(data))
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		tag := tagOf(base, info)
		if !metadata {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("ETag", `"`+tag+`"`)
			http.ServeContent(w, r, base, time.Time{}, f)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Vary", "Accept-Encoding")
		// Who asks for a part has the beginning, and that is of the plain file.
		if info.Size() >= leastGzip && info.Size() <= mostGzip && r.Header.Get("Range") == "" &&
			acceptsGzip(r.Header.Values("Accept-Encoding")) {
			data, err := squeezed.file(name, tag, f)
			if err != nil {
				http.Error(w, "not readable", http.StatusInternalServerError)
				return
			}
			// Another ETag: these are other bytes.
			w.Header().Set("ETag", `"`+tag+`-gz"`)
			w.Header().Set("Content-Encoding", "gzip")
			if r.Header.Get("If-None-Match") == "" {
				w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			}
			http.ServeContent(w, r, base, time.Time{}, bytes.NewReader(data))
			return
		}
		w.Header().Set("ETag", `"`+tag+`"`)
		http.ServeContent(w, r, base, time.Time{}, f)
	})
}

var hashedName = regexp.MustCompile(`^([0-9a-f]{64})\.`)

// tagOf names the bytes of a file that does not change under its name: by its
// hash where that is in the name, else as other servers of files do.
func tagOf(base string, info fs.FileInfo) string {
	if m := hashedName.FindStringSubmatch(base); m != nil {
		return m[1]
	}
	return fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size())
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3).
func acceptsGzip(values []string) bool {
	for _, part := range strings.Split(strings.Join(values, ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "gzip" && coding != "x-gzip" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(weight, " ", "")), "q=")
		if !ok {
			return strings.TrimSpace(weight) == ""
		}
		value, err := strconv.ParseFloat(q, 64)
		return err == nil && value > 0
	}
	return false
}

// squeezer keeps metadata compressed: a publish is fetched by every gate.
type squeezer struct {
	mu    sync.Mutex
	files map[string][]byte // by name and tag
	size  int
}

// file returns the file compressed.
func (s *squeezer) file(name, tag string, f io.Reader) ([]byte, error) {
	key := name + " " + tag
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.files[key]; ok {
		return data, nil
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(z, io.LimitReader(f, mostGzip)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if s.size+b.Len() > maxSqueezed {
		// What is old is asked for no more; what is not comes back with one request.
		clear(s.files)
		s.size = 0
	}
	s.files[key] = b.Bytes()
	s.size += b.Len()
	return b.Bytes(), nil
}
