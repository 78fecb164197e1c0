package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
)

// A list that went bad in the file is named, while memory goes on answering;
// the next start drops it.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	if n, problems := db.Check(); n != 0 || len(problems) != 0 {
		t.Errorf("empty: %d lists, %v", n, problems)
	}
	for n := range 3 {
		put(t, db, n, 1, 10000)
	}
	if n, problems := db.Check(); n != 3 || len(problems) != 0 {
		t.Errorf("whole: %d lists, %v", n, problems)
	}
	if err := db.bolt.Update(func(tx *bolt.Tx) error {
		p, _, err := decodePointer(uri(1), tx.Bucket(listsBucket).Get([]byte(uri(1))))
		if err != nil {
			return err
		}
		b := tx.Bucket(generationsBucket).Bucket(number(p.Generation))
		piece := append([]byte(nil), b.Get(chunkKey(1))...)
		piece[100] ^= 1
		return b.Put(chunkKey(1), piece)
	}); err != nil {
		t.Fatal(err)
	}
	n, problems := db.Check()
	if n != 3 || len(problems) != 1 || !errors.Is(problems[0], ErrDigest) || !strings.Contains(problems[0].Error(), uri(1)) {
		t.Errorf("damaged: %d lists, %v", n, problems)
	}
	wantList(t, db, 1, 1, 10000)
	shut(t, db)
	db = open(t, path, Options{})
	if n, problems := db.Check(); n != 2 || len(problems) != 0 {
		t.Errorf("after a start: %d lists, %v", n, problems)
	}
	if l := db.Lookup(pass.StatusRef{URI: uri(1)}); l.Found || l.Status != gate.StatusUnknown {
		t.Errorf("the damaged list answers: %+v", l)
	}
	shut(t, db)
	if _, problems := db.Check(); len(problems) != 2 {
		t.Errorf("closed: %v", problems)
	}
}
