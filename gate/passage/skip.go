package passage

import "fmt"

// SkipReason is why a gate no longer has some of its records.
type SkipReason string

const (
	// Dropped: the journal was full, and its policy drops the oldest.
	Dropped SkipReason = "dropped"
	// Damaged: what the disk gave back was not what had been written.
	Damaged SkipReason = "damaged"
)

// Skip is a run of records that a gate wrote and no longer has. It is signed
// with the batch that goes on behind it, so that the hub can tell a loss that
// the gate owns up to from one on the way.
type Skip struct {
	// First and Last of the sequences, both included.
	First, Last uint64
	Why         SkipReason
}

func (s *Skip) check() error {
	if s == nil {
		return nil
	}
	if s.First == 0 || s.Last < s.First {
		return fmt.Errorf("%w: skip of records %d to %d", ErrMalformed, s.First, s.Last)
	}
	switch s.Why {
	case Dropped, Damaged:
		return nil
	}
	return fmt.Errorf("%w: skip for the reason %.40q", ErrMalformed, s.Why)
}

// Count of the records skipped; 0 for no skip.
func (s *Skip) Count() uint64 {
	if s == nil {
		return 0
	}
	return s.Last - s.First + 1
}
