package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"greengate/gate"
	"greengate/pass"
)

// largeSize is that of a list which is staged when a file is begun anew.
const largeSize = stagePieces*chunkBytes + 1

// filled puts one of everything into a store.
func filled(t testing.TB, db *DB, sequence uint64) {
	t.Helper()
	filledWith(t, db, sequence, largeSize)
}

func filledWith(t testing.TB, db *DB, sequence uint64, size int) {
	t.Helper()
	keys, rawKeys := someKeys(t)
	rawPolicy := fmt.Appendf(nil, `{"version":%d,"passback_window_seconds":60}`, sequence)
	policy, err := gate.ParsePolicy(rawPolicy)
	if err != nil {
		t.Fatal(err)
	}
	rawMap := fmt.Appendf(nil, `{"version":%d,"day":"2020-02-17","counties":{"330106":"high"}}`, sequence)
	riskMap, err := gate.ParseRiskMap(rawMap)
	if err != nil {
		t.Fatal(err)
	}
	large, rawLarge := made(3, sequence, size)
	install(t, db, func(tx *Tx) error {
		errs := []error{tx.SetMetadata("root", []byte("r")), tx.SetKeys(sequence, keys, rawKeys), tx.SetPolicy(policy, rawPolicy),
			tx.SetMap(riskMap, rawMap), tx.RaiseFloor(day.Add(time.Hour)), tx.PutList(large, rawLarge)}
		for n := range 3 {
			info, raw := made(n, sequence, 9000+n)
			errs = append(errs, tx.PutList(info, raw))
		}
		return errors.Join(append(errs, tx.Confirm([]string{uri(1)}, day.Add(5*time.Hour)))...)
	})
}

// wantFilled asks for all of it but the metadata.
func wantFilled(t testing.TB, db *DB, sequence uint64) {
	t.Helper()
	keys, _ := someKeys(t)
	if got := db.Keys(keys[0].ID); len(got) != 1 || db.KeyVersion() != sequence {
		t.Errorf("%d keys of version %d", len(got), db.KeyVersion())
	}
	if db.Policy().Version != sequence || db.MapVersion() != sequence || db.Risk("330106") != gate.RiskHigh || !db.Floor().Equal(day.Add(time.Hour)) {
		t.Errorf("policy %d, map %d, floor %s", db.Policy().Version, db.MapVersion(), db.Floor())
	}
	if len(db.Lists()) != 4 {
		t.Errorf("%d lists", len(db.Lists()))
	}
	for n, size := range []int{9000, 9001, 9002, largeSize} {
		info, raw := made(n, sequence, size)
		l := db.view.Load().lists[uri(n)]
		if l == nil || l.info != info || !bytes.Equal(l.raw, raw) {
			t.Errorf("list %d is another", n)
		}
	}
	if got := db.Lookup(pass.StatusRef{URI: uri(1)}).Confirmed; !got.Equal(day.Add(5 * time.Hour)) {
		t.Errorf("list 1 confirmed %s", got)
	}
}

// damages are what a page can do to bbolt in the middle of a change.
var damages = map[string]func(stuck <-chan struct{}) error{
	"panic": func(<-chan struct{}) error { panic("page 7 already freed") },
	"fault": func(<-chan struct{}) error {
		var page *int
		return fmt.Errorf("read %d", *page)
	},
	"digest": func(<-chan struct{}) error { return fmt.Errorf("%w: pointer of list", ErrDamaged) },
	"no end": func(stuck <-chan struct{}) error { <-stuck; return nil },
}

// A file that turns out damaged while it is in use is replaced by one that
// holds what the memory does, at once: nothing that answers stops answering,
// and a start right after it finds everything but the metadata.
func TestDamageWhileInUse(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists.db")
			db := open(t, path, Options{})
			filled(t, db, 1)
			if name == "no end" {
				db.patience = time.Second // 5 s for an Install
			}
			stuck := make(chan struct{})
			t.Cleanup(func() { close(stuck) })
			err := db.Install(func(tx *Tx) error {
				if err := tx.SetMetadata("root", []byte("x")); err != nil {
					return err
				}
				if err := tx.change(func() error { return damage(stuck) }); !errors.Is(err, ErrDamaged) {
					t.Errorf("change: %v, want ErrDamaged", err)
				}
				return nil // the caller overlooks it
			})
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("Install: %v, want ErrDamaged", err)
			}
			db.patience = patience
			wantFilled(t, db, 1)
			if db.SetAside() != path+".damaged-1" || db.Metadata("root") != nil {
				t.Errorf("set aside %q, metadata %q", db.SetAside(), db.Metadata("root"))
			}
			if _, err := os.Stat(db.SetAside()); err != nil {
				t.Error(err)
			}
			// The process may be killed now.
			again, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copied := filepath.Join(t.TempDir(), "copied.db")
			if err := os.WriteFile(copied, again, 0o600); err != nil {
				t.Fatal(err)
			}
			wantFilled(t, open(t, copied, Options{}), 1)
			// And the new file takes the next generation.
			filled(t, db, 2)
			shut(t, db)
			db = open(t, path, Options{})
			wantFilled(t, db, 2)
			if db.SetAside() != "" || string(db.Metadata("root")) != "r" {
				t.Errorf("the next start set aside %q, root %q", db.SetAside(), db.Metadata("root"))
			}
			if left, err := filepath.Glob(path + ".*ing"); err != nil || len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// A damaged page that only a reader meets with is known to the next Install.
func TestDamageThatMetadataMeets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	filled(t, db, 1)
	// The file is cut under the mapping: what is behind cannot be read.
	if err := os.Truncate(path, 2*pageSize); err != nil {
		t.Fatal(err)
	}
	if got := db.Metadata("root"); got != nil {
		t.Errorf("metadata %q out of a file that is cut", got)
	}
	wantFilled(t, db, 1)
	root := func(tx *Tx) error { return tx.SetMetadata("root", []byte("r")) }
	if err := db.Install(root); !errors.Is(err, ErrDamaged) {
		t.Errorf("Install: %v, want ErrDamaged", err)
	}
	install(t, db, root)
	shut(t, db)
	db = open(t, path, Options{})
	wantFilled(t, db, 1)
	if string(db.Metadata("root")) != "r" {
		t.Errorf("root %q", db.Metadata("root"))
	}
}

// A card that is dying is not written full with files begun anew; the next
// start sets the file aside.
func TestDamageAgainAndAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	filled(t, db, 1)
	broken := func(tx *Tx) error { return tx.change(func() error { panic("freelist") }) }
	for range 3 {
		if err := db.Install(broken); !errors.Is(err, ErrDamaged) {
			t.Fatalf("Install: %v, want ErrDamaged", err)
		}
		wantFilled(t, db, 1)
	}
	if aside, err := filepath.Glob(path + ".damaged-*"); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v", aside)
	}
	db.healed = db.healed.Add(-healRest)
	if err := db.Install(broken); !errors.Is(err, ErrDamaged) {
		t.Errorf("Install after the rest: %v, want ErrDamaged", err)
	}
	filled(t, db, 2)
	if err := db.Install(broken); !errors.Is(err, ErrDamaged) {
		t.Errorf("Install: %v, want ErrDamaged", err)
	}
	shut(t, db)
	db = open(t, path, Options{})
	if db.SetAside() == "" || len(db.Lists()) != 0 {
		t.Errorf("the next start set aside %q and holds %d lists", db.SetAside(), len(db.Lists()))
	}
}

// Where another file cannot be begun the memory answers on.
func TestDamageWithoutRoomForAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	filled(t, db, 1)
	if err := os.MkdirAll(filepath.Join(path+healing, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := db.Install(func(tx *Tx) error { return tx.change(func() error { panic("freelist") }) })
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("Install: %v, want ErrDamaged and ENOTEMPTY", err)
	}
	wantFilled(t, db, 1)
	if err := os.RemoveAll(path + healing); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	if db = open(t, path, Options{}); db.SetAside() == "" {
		t.Error("the next start did not set the file aside")
	}
}

// A start that does not end says so; the next one goes on without the file.
func TestNoEndAtOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	filled(t, db, 1)
	shut(t, db)
	if _, err := Open(path, Options{patience: -time.Hour}); !errors.Is(err, ErrDamaged) || !errors.Is(err, errNoEnd) {
		t.Fatalf("Open: %v, want ErrDamaged, no end", err)
	}
	if db = open(t, path, Options{}); db.SetAside() == "" {
		t.Error("the next start opened the same file")
	}
	filled(t, db, 1)
}

// When the very last flush of a commit fails, bbolt reports an error and its
// next reader finds the transaction done. Memory and metadata must not differ.
func TestCommitThatFailedAndIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	var log bytes.Buffer
	db := open(t, path, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	filled(t, db, 1)
	err := db.Install(func(tx *Tx) error {
		// As such a commit leaves it: done in the file, an error for Install.
		info, raw := made(1, 2, 9000)
		if err := errors.Join(tx.PutList(info, raw), tx.SetMetadata("root", []byte("r2"))); err != nil {
			return err
		}
		if err := tx.bolt.Commit(); err != nil {
			return err
		}
		return syscall.EIO
	})
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("Install: %v, want EIO", err)
	}
	if !strings.Contains(log.String(), "store read again") {
		t.Errorf("the file was not read again:\n%s", &log)
	}
	wantList(t, db, 1, 2, 9000)
	if got := string(db.Metadata("root")); got != "r2" {
		t.Errorf("root %q", got)
	}
	filled(t, db, 3)
	shut(t, db)
	wantFilled(t, open(t, path, Options{}), 3)
}

// While the file cannot be opened again the memory answers and metadata does
// not; each Install tries once more.
func TestFileThatDoesNotOpenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lists.db")
	db := open(t, path, Options{})
	filled(t, db, 1)
	root := func(tx *Tx) error { return tx.SetMetadata("root", []byte("r")) }
	db.unsure = syscall.EIO
	if err := db.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, 0o600, nil) // somebody with bbolt's own tool was quicker
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Install(root); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrLocked) {
			t.Errorf("Install: %v, want EIO and ErrLocked", err)
		}
		wantFilled(t, db, 1)
		if db.Metadata("root") != nil {
			t.Error("metadata out of a file that is not open")
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Install(root); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrLocked) {
		t.Errorf("Install: %v, want EIO alone", err)
	}
	filled(t, db, 2)
	shut(t, db)
	wantFilled(t, open(t, path, Options{}), 2)
}
