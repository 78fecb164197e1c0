package wire

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pack makes a tar of headers with their bodies, as "name", "body".
func pack(t testing.TB, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h, ok := entries[i].(*tar.Header)
		if !ok {
			h = &tar.Header{Typeflag: tar.TypeReg, Name: entries[i].(string), Mode: 0o644}
		}
		body := entries[i+1].(string)
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func roomy() error { return nil }

// What is taken apart, and what is refused with which words.
func TestUnpack(t *testing.T) {
	good := pack(t, "targets/status/3301/abc.0.tsl", "list", "metadata/1.root.json", strings.Repeat("root", 300), "metadata/timestamp.json", "now")
	entry := func(kind byte, name, link string) []byte {
		return pack(t, &tar.Header{Typeflag: kind, Name: name, Linkname: link}, "")
	}
	for _, row := range []struct {
		name   string
		bundle []byte
		room   func() error
		want   error
		words  string
	}{
		{"good", good, roomy, nil, ""},
		{"padded to a record", append(bytes.Clone(good), make([]byte, 8192)...), roomy, nil, ""},
		{"with folders", pack(t, &tar.Header{Typeflag: tar.TypeDir, Name: "./"}, "", &tar.Header{Typeflag: tar.TypeDir, Name: "./metadata/"}, "", "./metadata/timestamp.json", "now"), roomy, nil, ""},
		{"nothing", nil, roomy, errBundle, "nothing came"},
		{"empty", pack(t), roomy, errBundle, "empty"},
		{"no tar", bytes.Repeat([]byte("text"), 500), roomy, errBundle, "not a tar"},
		{"packed", append([]byte{0x1f, 0x8b, 8}, make([]byte, 1024)...), roomy, errBundle, "not a tar"},
		{"something behind the end", append(bytes.Clone(good), "more"...), roomy, errBundle, "follows its end"},
		{"twice", pack(t, "metadata/timestamp.json", "a", "metadata/timestamp.json", "b"), roomy, errBundle, "twice"},
		{"link", entry(tar.TypeSymlink, "metadata/timestamp.json", "/etc/passwd"), roomy, errBundle, "no regular file"},
		{"hard link", entry(tar.TypeLink, "metadata/timestamp.json", "metadata/x"), roomy, errBundle, "no regular file"},
		{"pipe", entry(tar.TypeFifo, "metadata/timestamp.json", ""), roomy, errBundle, "no regular file"},
		{"device", entry(tar.TypeChar, "metadata/timestamp.json", ""), roomy, errBundle, "no regular file"},
		{"out of the folder", pack(t, "../identity.json", "x"), roomy, errBundle, "not only"},
		{"out by a detour", pack(t, "metadata/../../identity.json", "x"), roomy, errBundle, "not only"},
		{"absolute", pack(t, "/etc/passwd", "x"), roomy, errBundle, "not only"},
		{"hidden", pack(t, "metadata/.lock", "x"), roomy, errBundle, "not only"},
		{"other folder", pack(t, "keys/root.pem", "x"), roomy, errBundle, "not only"},
		{"deep", pack(t, "targets/a/b/c/d/e/f", "x"), roomy, errBundle, "not only"},
		{"name of a folder", pack(t, "metadata", "x"), roomy, errBundle, "not only"},
		{"backslash", pack(t, `metadata\x`, "x"), roomy, errBundle, "not only"},
		{"no room", good, func() error { return errRoom }, errRoom, ""},
	} {
		dir := t.TempDir()
		u := unpacker{dir: dir, room: row.room}
		err := u.unpack(bytes.NewReader(row.bundle))
		if !errors.Is(err, row.want) || err != nil && !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v, want %v with %q", row.name, err, row.want, row.words)
		}
	}
	dir := t.TempDir()
	u := unpacker{dir: dir, room: roomy}
	if err := u.unpack(bytes.NewReader(good)); err != nil || u.files != 3 || u.size != 1207 {
		t.Errorf("%d files, %d bytes, %v", u.files, u.size, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "targets", "status", "3301", "abc.0.tsl")); err != nil || string(data) != "list" {
		t.Errorf("list: %q, %v", data, err)
	}
}

// A bundle that ends anywhere but at its end is refused, between two files too.
func TestUnpackHalf(t *testing.T) {
	whole := pack(t, "metadata/1.root.json", "root", "targets/status/3301/abc.0.tsl", strings.Repeat("list", 400), "metadata/timestamp.json", "now")
	for at := range len(whole) {
		if at%512 > 1 && at%61 > 0 {
			continue // each block's edges, and some places inside
		}
		u := unpacker{dir: t.TempDir(), room: roomy}
		if err := u.unpack(bytes.NewReader(whole[:at])); !errors.Is(err, errBundle) {
			t.Errorf("cut at %d of %d: %v", at, len(whole), err)
		}
	}
}

// Whatever comes, nothing lies outside the folder, and nothing but files in it.
func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, "metadata/1.root.json", "root", "targets/status/3301/abc.0.tsl", "list"))
	f.Add(pack(f, &tar.Header{Typeflag: tar.TypeSymlink, Name: "metadata/x", Linkname: "../.."}, "", "metadata/x/y", "z"))
	f.Fuzz(func(t *testing.T, bundle []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "bundle")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		u := unpacker{dir: dir, room: roomy}
		err := u.unpack(bytes.NewReader(bundle))
		files := 0
		werr := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			files++
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if !e.Type().IsRegular() || !bundlePath.MatchString(filepath.ToSlash(rel)) {
				t.Errorf("%s is %s", rel, e.Type())
			}
			return nil
		})
		if werr != nil {
			t.Fatal(werr)
		}
		if err == nil && files != u.files {
			t.Errorf("%d files lie there, %d were counted", files, u.files)
		}
	})
}
