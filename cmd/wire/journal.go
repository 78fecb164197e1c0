package wire

import (
	"context"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/store/journal"
)

// destroyEvery is how often the gate looks for keys whose day is past, and
// destroyAgain how soon where it could not.
const destroyEvery, destroyAgain = 24 * time.Hour, 10 * time.Minute

// openJournal opens the journal under the configuration's bounds.
func (g *Gate) openJournal(hub hpke.PublicKey) error {
	dir := filepath.Join(g.cfg.State, "journal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("journal folder: %w", err)
	}
	if h := g.id.History; h != nil {
		// This name had another device, or this one was wiped: no sequence is given twice.
		if err := journal.Begin(dir, g.id.Gate, journal.Start{Last: h.Last, Chain: [32]byte(h.Head), Segment: h.Segment}); err != nil {
			return err
		}
	}
	var err error
	g.journal, err = journal.Open(dir, journal.Options{
		Gate: g.id.Gate, Hub: hub, CapBytes: int64(g.cfg.Journal.CapMiB) << 20, DropOldest: g.cfg.Journal.WhenFull == "drop-oldest",
		Rand: rand.Reader, Log: g.log,
	})
	return err
}

// destroyKeys destroys the keys of the days past at the start, and then once a day.
func (g *Gate) destroyKeys(ctx context.Context) error {
	for {
		wait := destroyEvery
		if n, err := g.destroyKeysOnce(); errors.Is(err, errNoTime) {
			wait = destroyAgain
		} else if err != nil {
			wait = destroyAgain
			g.log.Error("keys of days past not destroyed", "error", err)
		} else if n > 0 {
			g.log.Info("keys of days past destroyed", "segments", n, "keep_days", g.cfg.Journal.KeepDays)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// errNoTime: the clock is not set, so that nobody knows which days are past.
var errNoTime = errors.New("clock is not set")

// destroyKeysOnce destroys what is older than the configuration keeps. A clock
// that cannot be right destroys nothing.
func (g *Gate) destroyKeysOnce() (int, error) {
	now, quality := g.clock.Now()
	if quality == gate.ClockUnset {
		return 0, errNoTime
	}
	return g.journal.DestroyKeys(now.AddDate(0, 0, -g.cfg.Journal.KeepDays))
}

// journalFaults are the words for what is no more.
func journalFaults(l journal.Losses) []string {
	var faults []string
	if l.Files > 0 || l.Damaged > 0 {
		faults = append(faults, "journal-damaged")
	}
	if l.Dropped > 0 {
		faults = append(faults, "journal-dropped")
	}
	return faults
}

// journalStatus says where the journal stands.
func (g *Gate) journalStatus(at journal.State) control.JournalStatus {
	l := at.Losses
	return control.JournalStatus{
		Next: at.Next, Acknowledged: at.Acknowledged, Bytes: at.Bytes, Cap: at.Cap, Room: g.journal.Room().String(),
		Dropped: l.Dropped, Damaged: l.Damaged, Aside: l.Aside, Files: l.Files, KeysDestroyed: l.KeysDestroyed,
	}
}
