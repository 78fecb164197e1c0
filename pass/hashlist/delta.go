package hashlist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxDelta is the most bytes of a delta's file. One that were as large as
	// a list would serve nobody.
	MaxDelta        = MaxFile
	deltaMagic      = "GHD1"
	deltaHeaderSize = 13
)

// ErrDelta: not the file of a delta.
var ErrDelta = errors.New("malformed revocation delta")

// Change is what happened to one hash since an older generation. Removed:
// it is no longer revoked, and Before is 0.
type Change struct {
	Entry
	Removed bool
}

// Diff returns what makes the new list of the old one, by rising hash.
func Diff(old, new List) []Change {
	var changes []Change
	i, j := 0, 0
	for i < old.Len() || j < new.Len() {
		order := 0
		switch {
		case i == old.Len():
			order = 1
		case j == new.Len():
			order = -1
		default:
			a, b := old.At(i).Hash, new.At(j).Hash
			order = bytes.Compare(a[:], b[:])
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Entry{Hash: old.At(i).Hash}, true})
			i++
		case order > 0:
			changes = append(changes, Change{Entry: new.At(j)})
			j++
		default:
			if e := new.At(j); e != old.At(i) {
				changes = append(changes, Change{Entry: e})
			}
			i, j = i+1, j+1
		}
	}
	return changes
}

// Join returns the changes of both, by rising hash; of one hash, the newer.
//
// What is joined is cumulative: it names every hash that was touched since the
// first generation, so it makes the last one of each generation in between.
func Join(older, newer []Change) []Change {
	joined := make([]Change, 0, len(older)+len(newer))
	for len(older) > 0 && len(newer) > 0 {
		switch bytes.Compare(older[0].Hash[:], newer[0].Hash[:]) {
		case -1:
			joined, older = append(joined, older[0]), older[1:]
		case 1:
			joined, newer = append(joined, newer[0]), newer[1:]
		default:
			joined, older, newer = append(joined, newer[0]), older[1:], newer[1:]
		}
	}
	return append(append(joined, older...), newer...)
}

// MarshalDelta writes changes, by rising hash, as a file: "GHD1", one byte with
// the width of an entry, four with the number of hashes removed and four with
// that of entries added, then the one and the other, each sorted.
func MarshalDelta(s Scheme, changes []Change) ([]byte, error) {
	removed := 0
	for _, c := range changes {
		if err := s.checkEntry(c.Entry); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDelta, err)
		}
		if c.Removed {
			removed++
		}
	}
	added := len(changes) - removed
	size := deltaHeaderSize + removed*HashSize + added*s.Width()
	if size > MaxDelta {
		return nil, fmt.Errorf("%w: delta of %d changes", ErrSize, len(changes))
	}
	file := make([]byte, 0, size)
	file = append(append(file, deltaMagic...), byte(s.Width()))
	file = binary.BigEndian.AppendUint32(file, uint32(removed))
	file = binary.BigEndian.AppendUint32(file, uint32(added))
	for _, c := range changes {
		if c.Removed {
			file = append(file, c.Hash[:]...)
		}
	}
	for _, c := range changes {
		if !c.Removed {
			file = s.AppendEntry(file, c.Entry)
		}
	}
	if _, err := ParseDelta(s, file); err != nil {
		return nil, err
	}
	return file, nil
}

// ParseDelta reads exactly what [MarshalDelta] writes. Errors are [ErrDelta] or [ErrSize].
func ParseDelta(s Scheme, file []byte) ([]Change, error) {
	if !s.Valid() {
		return nil, fmt.Errorf("%w: scheme %.8q", ErrDelta, s)
	}
	if len(file) > MaxDelta {
		return nil, fmt.Errorf("%w: delta of %d bytes", ErrSize, len(file))
	}
	width := s.Width()
	if len(file) < deltaHeaderSize || string(file[:4]) != deltaMagic || int(file[4]) != width {
		return nil, fmt.Errorf("%w: no delta of entries of %d bytes", ErrDelta, width)
	}
	removed, added := int64(binary.BigEndian.Uint32(file[5:])), int64(binary.BigEndian.Uint32(file[9:]))
	if int64(len(file)) != deltaHeaderSize+removed*HashSize+added*int64(width) {
		return nil, fmt.Errorf("%w: %d bytes for %d removed and %d added", ErrDelta, len(file), removed, added)
	}
	gone := file[deltaHeaderSize : deltaHeaderSize+removed*HashSize]
	come := file[deltaHeaderSize+removed*HashSize:]
	if err := EU.checkSorted(gone); err != nil {
		return nil, fmt.Errorf("%w: removed: %w", ErrDelta, err)
	}
	if err := s.checkSorted(come); err != nil {
		return nil, fmt.Errorf("%w: added: %w", ErrDelta, err)
	}
	changes := make([]Change, 0, removed+added)
	for len(gone) > 0 || len(come) > 0 {
		order := 1
		switch {
		case len(come) == 0:
			order = -1
		case len(gone) > 0:
			order = bytes.Compare(gone[:HashSize], come[:HashSize])
		}
		switch order {
		case 0:
			return nil, fmt.Errorf("%w: a hash both removed and added", ErrDelta)
		case -1:
			changes, gone = append(changes, Change{Entry{Hash: Hash(gone[:HashSize])}, true}), gone[HashSize:]
		default:
			changes, come = append(changes, Change{Entry: entryOf(come[:width])}), come[width:]
		}
	}
	return changes, nil
}

// Apply returns the list with the changes made. Removing what is not there
// and adding what is are no errors: a cumulative delta does both.
func Apply(s Scheme, old List, changes []Change) (List, error) {
	entries := make([]Entry, 0, old.Len()+len(changes))
	i := 0
	for _, c := range changes {
		for ; i < old.Len(); i++ {
			e := old.At(i)
			order := bytes.Compare(e.Hash[:], c.Hash[:])
			if order > 0 {
				break
			}
			if order < 0 {
				entries = append(entries, e)
			}
		}
		if !c.Removed {
			entries = append(entries, c.Entry)
		}
	}
	for ; i < old.Len(); i++ {
		entries = append(entries, old.At(i))
	}
	return New(s, entries)
}
