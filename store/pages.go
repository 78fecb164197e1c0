package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// bbolt trusts the pages that it reads: a page that leads back to itself keeps
// its cursor busy for ever or ends the process by its stack, and a length
// beyond the page is read as memory. So the pages are surveyed before bbolt
// sees the file, with nothing but reads within bounds. Whether the values are
// the signed ones is for their digests to say.

// The layout of bbolt's file, version 2; numbers are in the machine's order.
const (
	pageHeader   = 16 // number 8, kind 2, entries 2, further pages 4
	pageEntry    = 16 // of a branch: place 4, key 4, page 8; of a leaf: flags, place, key, value, 4 each
	bucketHeader = 16 // root page 8, 0 for a bucket within the value; sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	nestedBucket = 0x01 // of a leaf's entry

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	metaSum     = 56 // where the meta's checksum is, behind its page's header

	// maxNode is the most bytes of one page with its further pages. The largest
	// honest one holds a key list.
	maxNode = 32 << 20
	// maxDepth is the most pages from a bucket's root to a leaf: at two entries
	// a page it is more than a file can hold.
	maxDepth = 32
	// maxNested is the most buckets within each other; the layout has three.
	maxNested = 3
)

var native = binary.NativeEndian

// survey is a walk through all pages that are in use.
type survey struct {
	r    io.ReaderAt
	high uint64 // pages of the file that may be used
	used []bool
	node []byte // the page that is looked at
}

// inspect says what is wrong with the pages of the file at path, before bbolt
// opens it; nothing is wrong with a file that is empty or not there. A page
// that cannot be read is damage: the disk may never give it back, and the gate
// must start. unflushed is why the file's last transaction may not be on the
// disk.
func inspect(path string) (unflushed, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// While somebody else writes it, pages do not fit together.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil // bbolt waits for the lock, and says who has not got it
	} else if err != nil {
		return nil, os.NewSyscallError("flock", err)
	}
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return nil, err
	}
	if err := surveyPages(f, fi.Size()); err != nil {
		return nil, err
	}
	return flushMeta(f), nil
}

// flushMeta writes the two pages that say which transaction was the last once
// more, and flushes them. A process that was killed, or whose flush failed,
// leaves the newer in the kernel's memory alone: what it no longer needs would
// be written over while the disk still holds the older.
func flushMeta(f *os.File) error {
	b := make([]byte, 2*pageSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// surveyPages surveys size bytes of bbolt's pages. Errors wrap ErrDamaged.
func surveyPages(r io.ReaderAt, size int64) error {
	s := &survey{r: r}
	meta, err := s.meta()
	if err != nil {
		return err
	}
	root, freelist, high := native.Uint64(meta[16:]), native.Uint64(meta[32:]), native.Uint64(meta[40:])
	if high < 4 || high > uint64(size/pageSize) {
		return fmt.Errorf("%w: %d pages in a file of %d bytes", ErrDamaged, high, size)
	}
	s.high, s.used = high, make([]bool, high)
	s.used[0], s.used[1] = true, true
	if err := s.bucket(root, 0); err != nil {
		return err
	}
	return s.freelist(freelist)
}

// meta returns the newer of the two good meta pages, as bbolt chooses it.
func (s *survey) meta() (newest []byte, err error) {
	for page := range int64(2) {
		b := make([]byte, pageSize)
		if _, err := s.r.ReadAt(b, page*pageSize); err != nil {
			return nil, fmt.Errorf("%w: page %d: %w", ErrDamaged, page, err)
		}
		if native.Uint16(b[8:]) != metaPage {
			continue
		}
		b = b[pageHeader:]
		h := fnv.New64a()
		_, _ = h.Write(b[:metaSum]) // never fails
		if native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion || native.Uint32(b[8:]) != pageSize ||
			native.Uint64(b[metaSum:]) != h.Sum64() {
			continue
		}
		if newest == nil || native.Uint64(b[48:]) > native.Uint64(newest[48:]) {
			newest = b
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%w: no meta page is whole", ErrDamaged)
	}
	return newest, nil
}

// load reads a page with its further pages, and takes them as used.
func (s *survey) load(id uint64) (kind, count uint16, err error) {
	if id < 2 || id >= s.high {
		return 0, 0, fmt.Errorf("%w: page %d of %d", ErrDamaged, id, s.high)
	}
	var header [pageHeader]byte
	if _, err := s.r.ReadAt(header[:], int64(id)*pageSize); err != nil {
		return 0, 0, fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	further := uint64(native.Uint32(header[12:]))
	if own := native.Uint64(header[:]); own != id || further >= s.high-id || further >= maxNode/pageSize {
		return 0, 0, fmt.Errorf("%w: page %d calls itself %d, with %d further pages", ErrDamaged, id, own, further)
	}
	for i := id; i <= id+further; i++ {
		if s.used[i] {
			return 0, 0, fmt.Errorf("%w: page %d is used twice", ErrDamaged, i)
		}
		s.used[i] = true
	}
	if n := int((further + 1) * pageSize); cap(s.node) < n {
		s.node = make([]byte, n)
	} else {
		s.node = s.node[:n]
	}
	if _, err := s.r.ReadAt(s.node, int64(id)*pageSize); err != nil {
		return 0, 0, fmt.Errorf("%w: page %d: %w", ErrDamaged, id, err)
	}
	return native.Uint16(header[8:]), native.Uint16(header[10:]), nil
}

// child is a page below another. Its keys are at least low, and below high.
type child struct {
	id        uint64
	low, high []byte // high nil: no bound
}

// bucket surveys the pages of a bucket and of those within it.
func (s *survey) bucket(root uint64, nested int) error {
	if nested > maxNested {
		return fmt.Errorf("%w: buckets within %d others", ErrDamaged, nested)
	}
	return s.tree(child{id: root}, 0, nested)
}

func (s *survey) tree(c child, depth, nested int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: page %d lies %d below its root", ErrDamaged, c.id, depth)
	}
	kind, count, err := s.load(c.id)
	if err != nil {
		return err
	}
	switch kind {
	case branchPage:
		below, err := branches(s.node, count, c)
		if err != nil {
			return fmt.Errorf("page %d: %w", c.id, err)
		}
		for _, b := range below {
			if err := s.tree(b, depth+1, nested); err != nil {
				return err
			}
		}
	case leafPage:
		if count == 0 && depth > 0 {
			return fmt.Errorf("%w: page %d is empty", ErrDamaged, c.id)
		}
		roots, err := leaves(s.node, count, c, false)
		if err != nil {
			return fmt.Errorf("page %d: %w", c.id, err)
		}
		for _, r := range roots {
			if err := s.bucket(r, nested+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%w: page %d is of kind %#x, not of a bucket", ErrDamaged, c.id, kind)
	}
	return nil
}

// span returns the bytes of an entry that begins at, with place counted from
// there; nil if they are not behind the entries.
func span(node []byte, entries, at int, place, length uint64) []byte {
	from := uint64(at) + place
	if from < uint64(entries) || length > uint64(len(node)) || from > uint64(len(node))-length {
		return nil
	}
	return node[from : from+length : from+length]
}

// ordered says whether key may follow last within the bounds of c.
func (c child) ordered(key, last []byte, first bool) bool {
	return len(key) > 0 && bytes.Compare(key, c.low) >= 0 && (c.high == nil || bytes.Compare(key, c.high) < 0) &&
		(first || bytes.Compare(key, last) > 0)
}

// branches reads the entries of a branch page.
func branches(node []byte, count uint16, c child) ([]child, error) {
	entries := pageHeader + int(count)*pageEntry
	if count == 0 || entries > len(node) {
		return nil, fmt.Errorf("%w: branch of %d entries", ErrDamaged, count)
	}
	below := make([]child, 0, count)
	for i := range int(count) {
		at := pageHeader + i*pageEntry
		e := node[at:]
		key := bytes.Clone(span(node, entries, at, uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))))
		if i > 0 {
			below[i-1].high = key
		}
		if i == 0 && !c.ordered(key, nil, true) || i > 0 && !c.ordered(key, below[i-1].low, false) {
			return nil, fmt.Errorf("%w: entry %d of a branch", ErrDamaged, i)
		}
		below = append(below, child{id: native.Uint64(e[8:]), low: key, high: c.high})
	}
	return below, nil
}

// leaves checks the entries of a leaf, and returns the roots of the buckets in
// it. A small bucket lies within its value, as a leaf without buckets.
func leaves(node []byte, count uint16, c child, within bool) (roots []uint64, err error) {
	entries := pageHeader + int(count)*pageEntry
	if entries > len(node) {
		return nil, fmt.Errorf("%w: leaf of %d entries", ErrDamaged, count)
	}
	var last []byte
	for i := range int(count) {
		at := pageHeader + i*pageEntry
		e := node[at:]
		flags, place, length := native.Uint32(e), uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:]))
		key := span(node, entries, at, place, length)
		value := span(node, entries, at, place+length, uint64(native.Uint32(e[12:])))
		if !c.ordered(key, last, i == 0) || value == nil {
			return nil, fmt.Errorf("%w: entry %d of a leaf", ErrDamaged, i)
		}
		last = key
		switch {
		case flags == 0:
			continue
		case flags != nestedBucket || within || len(value) < bucketHeader:
			return nil, fmt.Errorf("%w: entry %d of a leaf has flags %#x", ErrDamaged, i, flags)
		}
		if root := native.Uint64(value); root != 0 {
			roots = append(roots, root)
			continue
		}
		inner := value[bucketHeader:]
		if len(inner) < pageHeader || native.Uint16(inner[8:]) != leafPage {
			return nil, fmt.Errorf("%w: entry %d of a leaf is a bucket of %d bytes", ErrDamaged, i, len(inner))
		}
		if _, err := leaves(inner, native.Uint16(inner[10:]), child{}, true); err != nil {
			return nil, fmt.Errorf("bucket in entry %d: %w", i, err)
		}
	}
	return roots, nil
}

// freelist checks that no page is both free and used: bbolt would write over
// it. One that is neither is lost room, no harm.
func (s *survey) freelist(id uint64) error {
	kind, n, err := s.load(id)
	if err != nil {
		return fmt.Errorf("freelist: %w", err)
	}
	count, at := uint64(n), pageHeader
	if n == 0xFFFF && len(s.node) >= pageHeader+8 { // too many for the header
		count, at = native.Uint64(s.node[pageHeader:]), pageHeader+8
	}
	if kind != freelistPage || count > uint64(len(s.node)-at)/8 {
		return fmt.Errorf("%w: page %d is of kind %#x, not a freelist of %d", ErrDamaged, id, kind, count)
	}
	for range count {
		page := native.Uint64(s.node[at:])
		at += 8
		if page < 2 || page >= s.high || s.used[page] {
			return fmt.Errorf("%w: page %d is free and used", ErrDamaged, page)
		}
		s.used[page] = true
	}
	return nil
}
