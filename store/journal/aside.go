package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"greengate/gate/passage"
)

// maxAside is how many refused records are kept; the oldest go first.
const maxAside = 100

// SetAside says that the hub refuses a record: from now on Read gives its
// tombstone in its place. The record stays in a file of its own, sealed as it
// was, for whoever looks into it. It is durable when SetAside returns. Errors
// wrap ErrGone where the record is not one that waits, ErrFull where so many
// wait that the cursor has no room, or are the disk's.
func (l *Log) SetAside(seq uint64, reason string) error {
	run, err := l.Read(seq-1, 1)
	if err != nil {
		return fmt.Errorf("set record %d aside: %w", seq, err)
	}
	if len(run.Entries) == 0 || run.Entries[0].Seq != seq {
		return fmt.Errorf("set record %d aside: %w", seq, ErrGone)
	}
	e := run.Entries[0]
	if e.Tombstone {
		return nil
	}
	if err := l.keepAside(e); err != nil {
		return fmt.Errorf("set record %d aside: %w", seq, diskError(err))
	}
	if err := l.writeCursor(func() error {
		if len(l.graves) >= maxGraves {
			return fmt.Errorf("%w: %d records are aside already", ErrFull, len(l.graves))
		}
		if !slices.Contains(l.graves, seq) {
			l.graves = append(l.graves, seq)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("set record %d aside: %w", seq, err)
	}
	l.mu.Lock()
	l.losses.Aside++
	l.mu.Unlock()
	l.log.Error("record set aside: the hub refuses it", "record", seq, "reason", reason)
	return nil
}

// keepAside writes the record's frame into a file of its own.
func (l *Log) keepAside(e passage.Entry) error {
	names, err := l.disk.list()
	if err != nil {
		return err
	}
	var kept []string
	for _, n := range names {
		if strings.HasSuffix(n, asideSuffix) {
			kept = append(kept, n)
		}
	}
	slices.Sort(kept)
	for len(kept) >= maxAside {
		if err := l.disk.remove(kept[0]); err != nil {
			return err
		}
		kept = kept[1:]
	}
	name := fmt.Sprintf("%016x%s", e.Seq, asideSuffix)
	if err := l.disk.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := l.disk.create(name)
	if err != nil {
		return err
	}
	b := appendRecord(nil, e.Segment, 0, e)
	n, err := f.WriteAt(b, 0)
	if err == nil {
		err = shortWrite(n, len(b))
	}
	return errors.Join(err, f.sync(), f.Close(), l.disk.syncDir())
}
