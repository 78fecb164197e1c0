package passage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Entry is one record as it lies on disk and travels.
type Entry struct {
	// Seq is the record's sequence at its gate, from 1, without gaps.
	Seq uint64
	// Segment whose data key sealed it.
	Segment uint64
	// Clear and Sealed are the two parts; both empty in a tombstone.
	Clear, Sealed []byte
	// Tombstone: the gate gave the record up, since the hub would not have it.
	// The digests of the two parts take its place in the chain.
	Tombstone                 bool
	ClearDigest, SealedDigest [32]byte
	// Chain is the head of the gate's chain with this record in it. It does not
	// travel: whoever parses a batch computes it anew.
	Chain [32]byte
}

// Bury returns the tombstone of e.
func (e Entry) Bury() Entry {
	if e.Tombstone {
		return e
	}
	return Entry{Seq: e.Seq, Segment: e.Segment, Tombstone: true, Chain: e.Chain,
		ClearDigest: sha256.Sum256(e.Clear), SealedDigest: sha256.Sum256(e.Sealed)}
}

// Next is the head of the chain with e behind prev.
func (e Entry) Next(prev [32]byte) [32]byte {
	if e.Tombstone {
		return NextDigests(prev, e.ClearDigest, e.SealedDigest)
	}
	return Next(prev, e.Clear, e.Sealed)
}

// Run is a piece of a gate's history as its journal gives it out: what a
// [Batch] is made of. Entries may be empty, and Skip is nil in nearly all.
type Run struct {
	// Skip says which records before the first entry are no more.
	Skip *Skip
	// Prev is the head of the chain before the first entry.
	Prev [32]byte
	// Keys of the segments that the entries lie in, one each, rising.
	Keys []SegmentKey
	// Entries with rising sequences without a gap.
	Entries []Entry
}

// Genesis is the head of a gate's chain before its first record.
func Genesis(gateID string) [32]byte {
	return sha256.Sum256([]byte("greengate chain v1" + gateID))
}

// Next is the head of the chain after a record with these parts.
func Next(prev [32]byte, clear, sealed []byte) [32]byte {
	return NextDigests(prev, sha256.Sum256(clear), sha256.Sum256(sealed))
}

// NextDigests is [Next] where only the digests of the parts are left.
func NextDigests(prev, clear, sealed [32]byte) [32]byte {
	var b [96]byte
	copy(b[:], prev[:])
	copy(b[32:], clear[:])
	copy(b[64:], sealed[:])
	return sha256.Sum256(b[:])
}

// Restart is the head of the chain behind records that are no more and whose
// digests nobody knows: a gate goes on from it, behind a [Skip].
func Restart(prev [32]byte, first, last uint64) [32]byte {
	b := append([]byte("greengate chain restart v1\x00"), prev[:]...)
	b = binary.BigEndian.AppendUint64(b, first)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, last))
}

// CheckGate says whether id may name a gate: 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-".
func CheckGate(id string) error {
	if len(id) == 0 || len(id) > 64 {
		return fmt.Errorf("%w: gate name of %d bytes", ErrInvalid, len(id))
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: gate name %q", ErrInvalid, id)
		}
	}
	return nil
}
