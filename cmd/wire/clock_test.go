package wire

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"greengate/gate"
	"greengate/store"
)

// The floor of a gate that starts is the signed time that was on its disk,
// however old its certificate is; the certificate's start stands in only where
// there is none.
func TestFloorAtStart(t *testing.T) {
	r := newRig(t)
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		t.Fatal(err)
	}
	open := func(now time.Time) (floor time.Time, quality gate.ClockQuality) {
		t.Helper()
		g, err := Open(cfg, Hardware{}, Options{Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: func() time.Time { return now }, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}()
		since, err := g.id.Since()
		if err != nil {
			t.Fatal(err)
		}
		if g.db.Floor().IsZero() && !g.clock.FloorTime().Equal(since) {
			t.Errorf("nothing signed seen: floor %s, want the certificate's start %s", g.clock.FloorTime(), since)
		}
		return g.clock.FloorTime(), g.Health().Clock
	}
	if _, quality := open(time.Now()); quality != gate.ClockFloor {
		t.Errorf("first start: clock %s, want floor", quality)
	}
	if _, quality := open(time.Unix(60, 0)); quality != gate.ClockUnset {
		t.Errorf("first start in 1970: clock %s, want unset", quality)
	}
	signed := time.Now().AddDate(0, 0, 40).Truncate(time.Second)
	file := filepath.Join(cfg.State, "lists.db")
	db, err := store.Open(file, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Install(func(tx *store.Tx) error { return tx.RaiseFloor(signed) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if floor, quality := open(signed.Add(time.Hour)); !floor.Equal(signed) || quality != gate.ClockFloor {
		t.Errorf("started again after 40 days: floor %s and clock %s, want %s and floor", floor, quality, signed)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	open(time.Now())
}
