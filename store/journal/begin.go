package journal

import (
	"errors"
	"fmt"
	"strings"

	"greengate/gate/passage"
)

// Start is where the journal of a gate goes on that wrote under its name before:
// on another device, or on this one before it was wiped. All of it is the hub's word.
type Start struct {
	// Last is the sequence of the last record that the hub has, 0 for none, and
	// Chain the head of the gate's chain with it.
	Last  uint64
	Chain [32]byte
	// Segment is the highest segment number that the hub has a record or a key of.
	Segment uint64
}

// Begin makes the journal in dir, which must exist, of a gate that goes on at a
// start: its first record has the sequence behind it. A folder that has anything
// of a journal stays as it is, since what a gate wrote itself counts. Errors wrap
// ErrLocked or passage.ErrInvalid, or are the disk's.
func Begin(dir, gate string, at Start) error { return begin(osDisk(dir), gate, at) }

func begin(d disk, gate string, at Start) (err error) {
	if err := passage.CheckGate(gate); err != nil {
		return fmt.Errorf("journal of %s: %w", gate, err)
	}
	lock, err := d.lock(lockName)
	if err != nil {
		return fmt.Errorf("journal of %s: %w", gate, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	names, err := d.list()
	if err != nil {
		return fmt.Errorf("journal of %s: %w", gate, err)
	}
	for _, name := range names {
		if name != lockName && !strings.HasSuffix(name, freshSuffix) {
			return nil
		}
	}
	f, err := createCursor(d, cursor{generation: 1, gate: passage.Genesis(gate), acknowledged: at.Last, head: at.Last, chain: at.Chain, segment: at.Segment})
	if err != nil {
		return fmt.Errorf("journal of %s: %w", gate, err)
	}
	return f.Close()
}

// lockName is the file that keeps other processes out.
const lockName = "lock"
