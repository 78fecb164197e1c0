package publisher

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Handler serves the repository in repoDir as any static web server would:
// metadata/ and targets/, nothing else, no listings. The timestamp has an ETag
// and is asked again each time; the rest never changes under its name.
func Handler(repoDir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		base := path.Base(name)
		if !strings.HasPrefix(name, "metadata/") && !strings.HasPrefix(name, "targets/") || strings.HasPrefix(base, ".") {
			http.NotFound(w, r)
			return
		}
		f, err := os.Open(filepath.Join(repoDir, filepath.FromSlash(name)))
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
		if base == "timestamp.json" {
			data, err := os.ReadFile(f.Name())
			if err != nil {
				http.Error(w, "not readable", http.StatusInternalServerError)
				return
			}
			w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sha256.Sum256(data)))
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("Content-Type", "application/json")
			http.ServeContent(w, r, base, info.ModTime(), strings.NewReader(string(data)))
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, base, info.ModTime(), f)
	})
}
