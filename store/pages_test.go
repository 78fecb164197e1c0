package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// The survey finds nothing in a file that bbolt has been writing all along:
// lists and values of all sizes that come, change and go.
func TestSurveyOfWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	r := rand.New(rand.NewPCG(3, 4))
	db := open(t, path, Options{})
	for sequence := uint64(1); sequence <= 60; sequence++ {
		install(t, db, func(tx *Tx) error {
			var errs []error
			for range r.IntN(4) {
				info, raw := made(r.IntN(40), sequence, 1+r.IntN(1<<r.IntN(18)))
				errs = append(errs, tx.PutList(info, raw))
			}
			for range r.IntN(4) {
				errs = append(errs, tx.SetMetadata(string('a'+rune(r.IntN(60))), make([]byte, 1+r.IntN(1<<r.IntN(17)))))
			}
			return errors.Join(append(errs, tx.DropList(uri(r.IntN(40))), tx.SetMetadata(string('a'+rune(r.IntN(60))), nil))...)
		})
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := surveyPages(bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatalf("after %d Installs: %v", sequence, err)
		}
	}
}

// bbolt's own keys of a byte, buckets of many pages, and deep trees.
func TestSurveyOfOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	b, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 8 {
		if err := b.Update(func(tx *bolt.Tx) error {
			many, err := tx.CreateBucketIfNotExists([]byte("many"))
			if err != nil {
				return err
			}
			inner, err := many.CreateBucketIfNotExists([]byte{byte(round)})
			if err != nil {
				return err
			}
			for range 3000 {
				key := make([]byte, 1+r.IntN(40))
				for i := range key {
					key[i] = byte(r.Uint32())
				}
				if err := errors.Join(inner.Put(key, make([]byte, r.IntN(60)))); err != nil {
					return err
				}
			}
			if round%3 == 2 {
				return many.DeleteBucket([]byte{byte(round - 1)})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		} else if err := surveyPages(bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatalf("after round %d: %v", round, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// small returns a file with a branch, leaves, buckets within values and free
// pages, and its pages by kind.
func small(t testing.TB) ([]byte, map[uint16][]int) {
	path := filepath.Join(t.TempDir(), "small.db")
	db := open(t, path, Options{})
	for sequence := range uint64(3) {
		for n := range 3 {
			put(t, db, n, sequence+1, 9000)
		}
	}
	put(t, db, 4, 1, 400*chunkBytes) // its index fills a branch
	shut(t, db)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &survey{r: bytes.NewReader(data)}
	meta, err := s.meta()
	if err != nil {
		t.Fatal(err)
	}
	high := int(native.Uint64(meta[40:]))
	kinds := map[uint16][]int{}
	for page := 0; page < high; page++ {
		header := data[page*pageSize:]
		if native.Uint64(header) != uint64(page) {
			continue // never used, or the further pages of another
		}
		kind := native.Uint16(header[8:])
		kinds[kind] = append(kinds[kind], page)
	}
	for _, kind := range []uint16{metaPage, freelistPage, branchPage, leafPage} {
		if len(kinds[kind]) == 0 {
			t.Fatalf("no page of kind %#x", kind)
		}
	}
	return data[:high*pageSize], kinds
}

// What a survey must find, one by one: each of these makes bbolt panic, end
// the process, or go round for ever.
func TestSurveyFinds(t *testing.T) {
	data, kinds := small(t)
	s := &survey{r: bytes.NewReader(data)}
	meta, err := s.meta()
	if err != nil {
		t.Fatal(err)
	}
	root, free := int(native.Uint64(meta[16:])), int(native.Uint64(meta[32:]))
	branch := kinds[branchPage][len(kinds[branchPage])-1]
	at := func(b []byte, page int) []byte { return b[page*pageSize:] }
	for name, damage := range map[string]func(b []byte) []byte{
		"both metas":            func(b []byte) []byte { b[20]++; b[pageSize+20]++; return b },
		"cut":                   func(b []byte) []byte { return b[:len(b)-1] },
		"cut to the metas":      func(b []byte) []byte { return b[:2*pageSize] },
		"cut in the first meta": func(b []byte) []byte { return b[:100] },
		"a ring":                func(b []byte) []byte { native.PutUint64(at(b, branch)[pageHeader+8:], uint64(branch)); return b },
		"a branch to the root":  func(b []byte) []byte { native.PutUint64(at(b, branch)[pageHeader+8:], uint64(root)); return b },
		"a branch far away":     func(b []byte) []byte { native.PutUint64(at(b, branch)[pageHeader+8:], 1<<40); return b },
		"a branch to a meta":    func(b []byte) []byte { native.PutUint64(at(b, branch)[pageHeader+8:], 1); return b },
		"a branch of nothing":   func(b []byte) []byte { native.PutUint16(at(b, branch)[10:], 0); return b },
		"a branch of too many":  func(b []byte) []byte { native.PutUint16(at(b, branch)[10:], 0xFFFF); return b },
		"a key far away":        func(b []byte) []byte { native.PutUint32(at(b, branch)[pageHeader:], 1<<31); return b },
		"a key of 4 GB":         func(b []byte) []byte { native.PutUint32(at(b, branch)[pageHeader+4:], 1<<32-1); return b },
		"a value of 4 GB":       func(b []byte) []byte { native.PutUint32(at(b, root)[pageHeader+12:], 1<<32-1); return b },
		"a leaf's flags":        func(b []byte) []byte { native.PutUint32(at(b, root)[pageHeader:], 2); return b },
		"no key":                func(b []byte) []byte { native.PutUint32(at(b, root)[pageHeader+8:], 0); return b },
		"further pages":         func(b []byte) []byte { native.PutUint32(at(b, root)[12:], 1<<20); return b },
		"another's number":      func(b []byte) []byte { native.PutUint64(at(b, root), 3); return b },
		"no kind":               func(b []byte) []byte { native.PutUint16(at(b, root)[8:], 0); return b },
		"no freelist":           func(b []byte) []byte { native.PutUint16(at(b, free)[8:], leafPage); return b },
		"a freelist too long":   func(b []byte) []byte { native.PutUint16(at(b, free)[10:], 0xFFFE); return b },
		"a freelist of 2^63": func(b []byte) []byte {
			native.PutUint16(at(b, free)[10:], 0xFFFF)
			native.PutUint64(at(b, free)[16:], 1<<63)
			return b
		},
		"the root is free": func(b []byte) []byte { native.PutUint64(at(b, free)[16:], uint64(root)); return b },
		"free twice":       func(b []byte) []byte { copy(at(b, free)[24:32], at(b, free)[16:24]); return b },
	} {
		bad := damage(bytes.Clone(data))
		if err := surveyPages(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

func FuzzSurvey(f *testing.F) {
	path := filepath.Join(f.TempDir(), "fuzz.db")
	db := open(f, path, Options{})
	put(f, db, 1, 1, 3*chunkBytes)
	put(f, db, 2, 1, 10)
	shut(f, db)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	data = bytes.TrimRight(data, "\x00")
	f.Add(append(data, make([]byte, pageSize-len(data)%pageSize)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := surveyPages(bytes.NewReader(data), int64(len(data))); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
