package hashlist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
)

// Bounds. A list is fetched and held in memory as a whole while it is
// installed, so it is small; what has more is partitioned.
const (
	// MaxSize is the most bytes of entries in one list: a million hashes.
	MaxSize = 16 << 20
	// MaxFile is the most bytes of a list's file.
	MaxFile = headerSize + MaxSize
	// MaxSecond is the end of the year 9999.
	MaxSecond = 253402300799

	headerSize = 9
)

// magic begins a list's file; the digit is the version of the format.
const magic = "GHL1"

var (
	// ErrList: not the file of a list.
	ErrList = errors.New("malformed revocation list")
	// ErrSize: more entries than a list may have.
	ErrSize = errors.New("revocation list too large")
)

// Entry is one revoked identifier.
type Entry struct {
	Hash Hash
	// Before is the Unix time before which a code must have been issued to be
	// revoked; 0 is always. Only SHC has it.
	Before int64
}

// List is the sorted entries of one list. The zero List is none.
//
// The file is "GHL1", one byte with the width of an entry, four with the number
// of entries, and the entries: hash, and where the width is 24 the time in
// eight bytes. Integers are big-endian. Hashes rise and none stands twice, so
// there is one file for each set of entries.
type List struct{ file []byte }

// MaxEntries is how many entries a list of the scheme may have.
func (s Scheme) MaxEntries() int { return MaxSize / s.Width() }

// AppendHeader appends what stands before n entries in a list's file.
func (s Scheme) AppendHeader(b []byte, n int) []byte {
	b = append(append(b, magic...), byte(s.Width()))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// FileSize is how many bytes a list of n entries has as a file.
func (s Scheme) FileSize(n int64) int64 { return headerSize + n*int64(s.Width()) }

// AppendEntry appends an entry as it stands in a list's file.
func (s Scheme) AppendEntry(b []byte, e Entry) []byte {
	b = append(b, e.Hash[:]...)
	if s == SHC {
		b = binary.BigEndian.AppendUint64(b, uint64(e.Before))
	}
	return b
}

func entryOf(b []byte) Entry {
	e := Entry{Hash: Hash(b[:HashSize])}
	if len(b) > HashSize {
		e.Before = int64(binary.BigEndian.Uint64(b[HashSize:]))
	}
	return e
}

func (s Scheme) checkEntry(e Entry) error {
	if e.Before < 0 || e.Before > MaxSecond || e.Before != 0 && s != SHC {
		return fmt.Errorf("time %d", e.Before)
	}
	return nil
}

// Normal sorts the entries and joins those of one hash: always wins over a
// time, and a later time over an earlier one, since a code is revoked when any
// of them says so. The slice is used for the result.
func Normal(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
	out := entries[:0]
	for _, e := range entries {
		if n := len(out); n > 0 && out[n-1].Hash == e.Hash {
			if last := &out[n-1]; last.Before != 0 && (e.Before == 0 || e.Before > last.Before) {
				last.Before = e.Before
			}
			continue
		}
		out = append(out, e)
	}
	return out
}

// New makes a list of entries that are as [Normal] leaves them.
func New(s Scheme, entries []Entry) (List, error) {
	if !s.Valid() {
		return List{}, fmt.Errorf("%w: scheme %.8q", ErrList, s)
	}
	if len(entries) > s.MaxEntries() {
		return List{}, fmt.Errorf("%w: %d entries", ErrSize, len(entries))
	}
	file := make([]byte, 0, s.FileSize(int64(len(entries))))
	file = s.AppendHeader(file, len(entries))
	for _, e := range entries {
		if err := s.checkEntry(e); err != nil {
			return List{}, fmt.Errorf("%w: %w", ErrList, err)
		}
		file = s.AppendEntry(file, e)
	}
	return Parse(s, file)
}

// Parse reads a list's file, which the list keeps. It takes exactly what
// [List.File] gives: errors are [ErrList] or [ErrSize].
func Parse(s Scheme, file []byte) (List, error) {
	if !s.Valid() {
		return List{}, fmt.Errorf("%w: scheme %.8q", ErrList, s)
	}
	if len(file) > MaxFile {
		return List{}, fmt.Errorf("%w: %d bytes", ErrSize, len(file))
	}
	width := s.Width()
	if len(file) < headerSize || string(file[:4]) != magic || int(file[4]) != width {
		return List{}, fmt.Errorf("%w: no list of entries of %d bytes", ErrList, width)
	}
	n := int64(binary.BigEndian.Uint32(file[5:]))
	if int64(len(file)) != s.FileSize(n) {
		return List{}, fmt.Errorf("%w: %d bytes for %d entries", ErrList, len(file), n)
	}
	if err := s.checkSorted(file[headerSize:]); err != nil {
		return List{}, fmt.Errorf("%w: %w", ErrList, err)
	}
	return List{file}, nil
}

// checkSorted checks packed entries.
func (s Scheme) checkSorted(entries []byte) error {
	width := s.Width()
	for at := 0; at < len(entries); at += width {
		e := entries[at : at+width]
		if err := s.checkEntry(entryOf(e)); err != nil {
			return fmt.Errorf("entry %d: %w", at/width, err)
		}
		if at > 0 && bytes.Compare(entries[at-width:at-width+HashSize], e[:HashSize]) >= 0 {
			return fmt.Errorf("entry %d is not above the one before it", at/width)
		}
	}
	return nil
}

// File returns the list as it is fetched and signed for; it is shared.
func (l List) File() []byte { return l.file }

// Entries returns the packed entries; they are shared.
func (l List) Entries() []byte {
	if l.file == nil {
		return nil
	}
	return l.file[headerSize:]
}

func (l List) width() int {
	if l.file == nil {
		return HashSize
	}
	return int(l.file[4])
}

// Len is the number of entries.
func (l List) Len() int { return len(l.Entries()) / l.width() }

// At returns entry i.
func (l List) At(i int) Entry {
	w := l.width()
	return entryOf(l.Entries()[i*w : (i+1)*w])
}

// All returns the entries in their order.
func (l List) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range l.Len() {
			if !yield(l.At(i)) {
				return
			}
		}
	}
}

// Find returns the entry with the hash.
func (l List) Find(h Hash) (Entry, bool) { return Search(l.Entries(), l.width(), h) }

// Search finds a hash among packed entries of width bytes that are sorted.
func Search(entries []byte, width int, h Hash) (Entry, bool) {
	n := len(entries) / width
	i := sort.Search(n, func(i int) bool { return bytes.Compare(entries[i*width:i*width+HashSize], h[:]) >= 0 })
	if i < n && bytes.Equal(entries[i*width:i*width+HashSize], h[:]) {
		return entryOf(entries[i*width : (i+1)*width]), true
	}
	return Entry{}, false
}
