package main

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/store/journal"
)

const (
	gateName = "cut-1"
	// journalRecords are written in one run, so many a day; what is so far behind
	// is acknowledged, and of days before, the keys are destroyed.
	journalRecords = 1500
	recordsPerDay  = 60
	behind         = 200
	keysBehind     = 100
)

var firstDay = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// record is the n-th: what it says follows from n, so that it is known again.
func record(n uint64) gate.Record {
	return gate.Record{
		Kind: gate.DecisionRecord, At: firstDay.AddDate(0, 0, int(n/recordsPerDay)).Add(time.Duration(n%recordsPerDay) * time.Minute),
		Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid, Policy: n, List: 31,
		Sealed: gate.Sealed{Pseudonym: bytes.Repeat([]byte{byte(n)}, 16), CodeKind: "dynamic", Colour: gate.Green, Region: "330106",
			Reading: &gate.Reading{Object: 36200, Ambient: 21500, Adjusted: 36400}},
	}
}

func dayOf(n uint64) time.Time { return firstDay.AddDate(0, 0, int(n/recordsPerDay)) }

func journalOptions(k hpke.PublicKey) journal.Options {
	return journal.Options{Gate: gateName, Hub: k, SegmentBytes: journal.MinSegmentBytes, CapBytes: 1 << 20, Location: time.UTC, Rand: rand.Reader}
}

// workJournal is a gate's days, in the machine.
func workJournal(m *marker) error {
	raw, err := hex.DecodeString(os.Getenv("powercut_key"))
	if err != nil {
		return err
	}
	key, err := passage.ParseHubKey(raw)
	if err != nil {
		return err
	}
	l, err := journal.Open("/data/journal", journalOptions(key))
	if err != nil {
		return err
	}
	for n := uint64(1); n <= journalRecords; n++ {
		seq, err := l.Append(record(n))
		if err != nil {
			return err
		}
		if seq != n {
			return fmt.Errorf("record %d got sequence %d", n, seq)
		}
		if err := m.mark(appended, seq); err != nil {
			return err
		}
		if n%25 == 0 && n > behind {
			if err := l.Acknowledge(n - behind); err != nil {
				return err
			}
			if err := m.mark(acknowledged, n-behind); err != nil {
				return err
			}
		}
		if n%recordsPerDay == 0 && n > keysBehind {
			if _, err := l.DestroyKeys(dayOf(n - keysBehind)); err != nil {
				return err
			}
			if err := m.mark(destroyed, n-keysBehind); err != nil {
				return err
			}
		}
	}
	return nil // as it is: the power goes
}

// journalPart is the gate's journal, seen from the host.
type journalPart struct{ key hpke.PrivateKey }

func newJournalPart() (*journalPart, error) {
	key, err := passage.NewHubKey()
	return &journalPart{key}, err
}

func (p *journalPart) name() string     { return "journal" }
func (p *journalPart) diskBytes() int64 { return 32 << 20 }
func (p *journalPart) env() []string {
	return []string{"powercut_key=" + hex.EncodeToString(passage.MarshalHubKey(p.key.PublicKey()))}
}

func (p *journalPart) fill(_ context.Context, dir string) error {
	return os.Mkdir(filepath.Join(dir, "journal"), 0o700)
}

// check opens what a cut has left.
func (p *journalPart) check(_ context.Context, dir string, promised promises) (found outcome, err error) {
	dir = filepath.Join(dir, "journal")
	l, err := journal.Open(dir, journalOptions(p.key.PublicKey()))
	if err != nil {
		found.lost = promised[appended]
		return found, err
	}
	s := l.State()
	if s.Next-1 < promised[appended] {
		found.lost += promised[appended] - (s.Next - 1)
	}
	// One more than was promised may be there: its Append had not returned.
	if s.Next-1 > promised[appended]+1 {
		found.doubled += s.Next - 1 - (promised[appended] + 1)
	}
	if s.Acknowledged < promised[acknowledged] {
		err = errors.Join(err, fmt.Errorf("acknowledged %d, promised %d", s.Acknowledged, promised[acknowledged]))
	}
	if s.Acknowledged > promised[acknowledged]+25 {
		err = errors.Join(err, fmt.Errorf("acknowledged %d, asked for %d at most", s.Acknowledged, promised[acknowledged]+25))
	}
	n, rerr := p.read(l, s.Acknowledged, promised, &found)
	err = errors.Join(err, rerr)
	if n != s.Next-1 {
		err = errors.Join(err, fmt.Errorf("read up to %d of %d", n, s.Next-1))
	}
	// It goes on with the next sequence, and has it after another start.
	seq, aerr := l.Append(record(s.Next))
	if aerr != nil || seq != s.Next {
		err = errors.Join(err, fmt.Errorf("append behind %d: sequence %d, error %w", s.Next-1, seq, aerr))
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return found, err
	}
	if l, err = journal.Open(dir, journalOptions(p.key.PublicKey())); err != nil {
		return found, fmt.Errorf("opened again: %w", err)
	}
	if again := l.State().Next; again != s.Next+1 {
		err = fmt.Errorf("opened again: next is %d, want %d", again, s.Next+1)
	}
	return found, errors.Join(err, l.Close())
}

// read reads all behind after, and returns the last sequence.
func (p *journalPart) read(l *journal.Log, after uint64, promised promises, found *outcome) (uint64, error) {
	var chain [32]byte
	if after == 0 {
		chain = passage.Genesis(gateName)
	}
	first := true
	for {
		run, err := l.Read(after, 100)
		if err != nil {
			return after, err
		}
		if run.Skip != nil {
			found.lost += run.Skip.Count()
			after = run.Skip.Last
			continue
		}
		if len(run.Entries) == 0 {
			return after, nil
		}
		if (!first || after == 0) && run.Prev != chain {
			return after, fmt.Errorf("chain is broken before %d", after+1)
		}
		first, chain = false, run.Prev
		keys := map[uint64]*passage.Unsealer{}
		for _, k := range run.Keys {
			if k.Destroyed() {
				keys[k.Segment] = nil
				continue
			}
			if keys[k.Segment], err = passage.OpenSegmentKey(gateName, k, p.key); err != nil {
				return after, err
			}
		}
		for _, e := range run.Entries {
			if e.Seq <= after {
				found.doubled++
				continue
			}
			if e.Seq != after+1 {
				found.lost += e.Seq - after - 1
			}
			if e.Next(chain) != e.Chain {
				return after, fmt.Errorf("record %d: chain is broken", e.Seq)
			}
			after, chain = e.Seq, e.Chain
			if err := p.compare(e, keys, promised); err != nil {
				return after, err
			}
			found.records++
		}
	}
}

// compare compares a record with the one that was written.
func (p *journalPart) compare(e passage.Entry, keys map[uint64]*passage.Unsealer, promised promises) error {
	want := record(e.Seq)
	clear, err := passage.EncodeClear(e.Seq, want)
	if err != nil {
		return err
	}
	if !bytes.Equal(e.Clear, clear) {
		return fmt.Errorf("record %d: other bytes than were written", e.Seq)
	}
	u, ok := keys[e.Segment]
	if !ok {
		return fmt.Errorf("record %d: no key of segment %d", e.Seq, e.Segment)
	}
	gone := promised[destroyed] > 0 && want.At.Before(dayOf(promised[destroyed]))
	switch {
	case u == nil && !want.At.Before(dayOf(promised[appended]+1)):
		return fmt.Errorf("record %d: its key is destroyed, of the day that was being written", e.Seq)
	case u == nil:
		return nil
	case gone:
		return fmt.Errorf("record %d: its key is there again", e.Seq)
	}
	got, err := u.Open(e)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want.Sealed) {
		return fmt.Errorf("record %d: sealed %+v, want %+v", e.Seq, got, want.Sealed)
	}
	return nil
}
