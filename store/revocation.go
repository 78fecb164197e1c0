package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
)

// The buckets of revocation lists. They are made when the first list comes.
var (
	hashListsBucket     = []byte("hashlists")     // name -> pointer
	hashConfirmedBucket = []byte("hashconfirmed") // name -> Unix seconds
	hashBlocksBucket    = []byte("hashblocks")    // number -> bucket: first hash -> block
)

// Bounds.
const (
	// MaxHashLists is the most revocation lists held: the EU has some 500
	// issuer keys, and a large one is 16 or 256 lists.
	MaxHashLists = 16384
	// maxHashOverlays is the most changes that lie over a list: each is one more
	// place to look.
	maxHashOverlays = 8
	// mergeAbove is the part of a list, as one in so many, above which its
	// overlays are merged with it: what is written then is eight times what changed.
	mergeAbove = 8
	// mergeFloor is the records below which a list is rewritten at once: it is
	// two transactions either way.
	mergeFloor = 4096
)

// hashList is one revocation list as far as it is in memory: where its entries
// lie. It is never changed, but for damaged.
type hashList struct {
	info hashlist.Info
	base hashTable
	// over are the changes since base, the newest first.
	over      []hashTable
	confirmed time.Time
	// damaged: a lookup found that the file is not as it was written. Lists
	// with the same tables share it.
	damaged *atomic.Bool
}

// stagedHashes is a list that is on the disk and not yet pointed to.
type stagedHashes struct {
	list *hashList
	// on is what it lies over, nil for a list that is whole.
	on *hashList
	// made are the generations that are there for it alone.
	made []uint64
}

// hashPointer is how a list stands in the file.
type hashPointer struct {
	Info json.RawMessage `json:"info"` // as hashlist.Description marshals, without deltas
	Base hashTable       `json:"base"`
	Over []hashTable     `json:"over,omitempty"`
}

func (l *hashList) encode() ([]byte, error) {
	info, err := hashlist.Description{Info: l.info}.Marshal()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b, err := json.Marshal(hashPointer{info, l.base, l.over})
	if err != nil {
		return nil, err
	}
	return digested(b), nil
}

func decodeHashPointer(name string, stored []byte) (*hashList, error) {
	b, err := checked("pointer of list "+name, stored)
	if err != nil {
		return nil, err
	}
	var p hashPointer
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%w: pointer of list %s: %w", ErrDamaged, name, err)
	}
	d, err := hashlist.ParseDescription(p.Info)
	if err != nil {
		return nil, fmt.Errorf("%w: pointer of list %s: %w", ErrDamaged, name, err)
	}
	if d.String() != name || len(p.Over) > maxHashOverlays {
		return nil, fmt.Errorf("%w: pointer of list %s", ErrDamaged, name)
	}
	return &hashList{info: d.Info, base: p.Base, over: p.Over, damaged: new(atomic.Bool)}, nil
}

// tables are the generations of the list.
func (l *hashList) tables() []uint64 {
	g := []uint64{l.base.Generation}
	for _, t := range l.over {
		g = append(g, t.Generation)
	}
	return g
}

// hashList returns the list that answers for the hash, nil for none. Around a
// change of partitions two may be held; the later one answers.
func (v *view) hashList(id pass.RevocationID) (found *hashList) {
	if len(v.hashes) == 0 {
		return nil
	}
	digits := hex.EncodeToString(id.Hash[:1])
	name := hashlist.ID{Scheme: hashlist.Scheme(id.Scheme), KeyID: hex.EncodeToString(id.KeyID)}
	for n := range len(digits) + 1 {
		name.Part = digits[:n]
		if l := v.hashes[name]; l != nil && (found == nil || !l.info.Issued.Before(found.info.Issued)) {
			found = l
		}
	}
	return found
}

// Revoked finds an identifier in the revocation list of its scheme and key. It
// reads the file. A list that is not as it was written counts as not held from
// then on, and is to be fetched again.
func (db *DB) Revoked(id pass.RevocationID) (r gate.Revocation) {
	l := db.view.Load().hashList(id)
	// A list that is replaced while it is read loses its blocks; then the one
	// in its place answers.
	for range 3 {
		if l == nil || l.damaged.Load() {
			return r
		}
		e, found, err := db.findHash(l, hashlist.Hash(id.Hash))
		now := db.view.Load().hashList(id)
		// Another file that was begun meanwhile numbers its generations anew: what
		// was found there counts only while the list is the one that was asked.
		if err == nil && now == l {
			r = gate.Revocation{Found: true, Revoked: found, Sequence: l.info.Sequence, Issued: l.info.Issued, Confirmed: l.confirmed}
			if found && e.Before != 0 {
				r.Before = time.Unix(e.Before, 0).UTC()
			}
			return r
		}
		if now == l {
			if !errors.Is(err, ErrClosed) {
				l.lose(db, err)
			}
			return r
		}
		l = now
	}
	return r
}

// lose marks the list as damaged.
func (l *hashList) lose(db *DB, err error) {
	if !l.damaged.Swap(true) {
		db.log.Error("revocation list dropped, it must be fetched again", "list", l.info.String(), "error", err)
	}
}

// findHash looks the hash up, in what changed last first.
func (db *DB) findHash(l *hashList, h hashlist.Hash) (e hashlist.Entry, found bool, err error) {
	err = db.readHashes(func(tx *bolt.Tx) error {
		for _, t := range l.over {
			record, err := t.find(tx, overlayWidth, h)
			if err != nil {
				return err
			}
			if record != nil {
				c := changeOf(record)
				e, found = c.Entry, !c.Removed
				return nil
			}
		}
		width := l.info.Scheme.Width()
		record, err := l.base.find(tx, width, h)
		if err != nil || record == nil {
			return err
		}
		e, found = hashlist.Search(record, width, h)
		return nil
	})
	return e, found, err
}

// readHashes reads the file, and returns what f does. Where the file itself is
// damaged, the next Install begins another.
func (db *DB) readHashes(f func(tx *bolt.Tx) error) error {
	b := db.reading.Load()
	if b == nil {
		return ErrClosed
	}
	var found error
	// Another goroutine costs more than the read; but a lookup that never came back
	// would keep the whole lane from opening codes.
	err := bounded(db.limit(2*hashlist.MaxFile), func() error {
		return b.View(func(tx *bolt.Tx) error {
			found = f(tx)
			return nil
		})
	})
	switch {
	case err == nil:
		return found
	case errors.Is(err, ErrDamaged) && b == db.reading.Load():
		db.suspect.Store(&err)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	}
	return err
}

// changeOf reads a record of an overlay.
func changeOf(record []byte) hashlist.Change {
	c := hashlist.Change{Entry: hashlist.Entry{Hash: hashlist.Hash(record[:hashlist.HashSize])}}
	if v := binary.BigEndian.Uint64(record[hashlist.HashSize:]); v == gone {
		c.Removed = true
	} else {
		c.Before = int64(v)
	}
	return c
}

func appendChange(b []byte, c hashlist.Change) []byte {
	b = append(b, c.Hash[:]...)
	if c.Removed {
		return binary.BigEndian.AppendUint64(b, gone)
	}
	return binary.BigEndian.AppendUint64(b, uint64(c.Before))
}

// HashLists describes the revocation lists that are held, by name; a damaged
// one is not.
func (db *DB) HashLists() []hashlist.Info {
	v := db.view.Load()
	infos := make([]hashlist.Info, 0, len(v.hashes))
	for _, l := range v.hashes {
		if !l.damaged.Load() {
			infos = append(infos, l.info)
		}
	}
	hashlist.Sort(infos)
	return infos
}

// HashConfirmed returns when the authority last called what is held of a
// revocation list current, the zero time for one that is not held.
func (db *DB) HashConfirmed(id hashlist.ID) time.Time {
	if l := db.view.Load().hashes[id]; l != nil && !l.damaged.Load() {
		return l.confirmed
	}
	return time.Time{}
}

// checkHashes says whether the file is what the authority signed in info.
func checkHashes(info hashlist.Info, file []byte) (hashlist.List, error) {
	if err := info.Check(); err != nil {
		return hashlist.List{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	l, err := hashlist.Parse(info.Scheme, file)
	if err != nil {
		return l, fmt.Errorf("%w: list %s: %w", ErrInvalid, info, err)
	}
	if int64(l.Len()) != info.Entries || sha256.Sum256(file) != info.SHA256 {
		return l, fmt.Errorf("list %s, sequence %d, %d entries: %w", info, info.Sequence, l.Len(), ErrDigest)
	}
	// They are sorted: what is between the first and the last belongs with them.
	if n := l.Len(); n > 0 && (!info.Contains(l.At(0).Hash) || !info.Contains(l.At(n-1).Hash)) {
		return l, fmt.Errorf("%w: list %s: a hash of another partition", ErrInvalid, info)
	}
	return l, nil
}

// roomForHashes says whether a list still fits.
func (db *DB) roomForHashes(info hashlist.Info) error {
	v := db.view.Load()
	sum, n := info.Size(), 1
	for id, l := range v.hashes {
		if id != info.ID {
			sum, n = sum+l.info.Size(), n+1
		}
	}
	if n > MaxHashLists {
		return fmt.Errorf("list %s: %w: %d revocation lists", info, ErrFull, MaxHashLists)
	}
	if sum > db.mostHashes {
		return fmt.Errorf("list %s: %w: revocation lists of %d bytes, allowed are %d", info, ErrFull, sum, db.mostHashes)
	}
	return nil
}

// StageHashes writes a revocation list to the disk ahead of the Install that
// puts it, in transactions of 4 MiB. It changes nothing that is looked up.
// Staging a list again replaces it; what is never put goes at the next start.
func (db *DB) StageHashes(info hashlist.Info, file []byte) error {
	l, err := checkHashes(info, file)
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.readyForHashes(info); err != nil {
		return err
	}
	return db.mend(db.stageHashes(info, l.Entries()))
}

// stageHashes writes entries that are known to be the signed ones. The caller holds mu.
func (db *DB) stageHashes(info hashlist.Info, entries []byte) error {
	base, err := db.writeTable(entries, info.Scheme.Width())
	if err != nil {
		return fmt.Errorf("stage list %s: %w", info, err)
	}
	db.stagedHashes[info.ID] = &stagedHashes{list: &hashList{info: info, base: base, damaged: new(atomic.Bool)}, made: []uint64{base.Generation}}
	return nil
}

// readyForHashes makes room for a staged list.
func (db *DB) readyForHashes(info hashlist.Info) error {
	if err := db.usable(); err != nil {
		return fmt.Errorf("stage list %s: %w", info, err)
	}
	if err := db.roomForHashes(info); err != nil {
		return err
	}
	if old := db.stagedHashes[info.ID]; old != nil {
		delete(db.stagedHashes, info.ID)
		db.removeTables(old.made)
	}
	return nil
}

// StageHashDelta is StageHashes for a list that is held in an older
// generation: what changed is written over it, and the bytes of the list that
// this makes are compared with what was signed. Where the changes have grown
// to an eighth of the list, all of it is written anew.
func (db *DB) StageHashDelta(info hashlist.Info, changes []hashlist.Change) (err error) {
	if err := info.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if info.Entries < 0 || info.Entries > int64(info.Scheme.MaxEntries()) {
		return fmt.Errorf("%w: list %s of %d entries", ErrInvalid, info, info.Entries)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.readyForHashes(info); err != nil {
		return err
	}
	defer func() { err = db.mend(err) }()
	held := db.view.Load().hashes[info.ID]
	if held == nil || held.damaged.Load() {
		return fmt.Errorf("%w: list %s is not held", ErrInvalid, info)
	}
	over, records := held.over, int64(len(changes))
	for _, t := range over {
		records += t.Records
	}
	// What is small is joined with what is twice as large at most, so that
	// there are few to look in and each record is rewritten few times.
	join := 0
	for sum := int64(len(changes)); join < len(over) && (over[join].Records <= 2*sum || len(over)-join >= maxHashOverlays); join++ {
		sum += over[join].Records
	}
	rewrite := held.base.Records <= mergeFloor || records > held.base.Records/mergeAbove
	all := changes
	var file []byte
	err = db.readHashes(func(tx *bolt.Tx) error {
		for i, t := range over {
			older, err := t.changes(tx)
			if err != nil {
				return err
			}
			if all = hashlist.Join(older, all); i < join {
				changes = all
			}
		}
		sum := sha256.New()
		var err error
		file, err = merged(tx, held, info, all, sum, rewrite)
		return err
	})
	if errors.Is(err, ErrDamaged) {
		held.lose(db, err)
	}
	if err != nil {
		return fmt.Errorf("stage list %s: %w", info, err)
	}
	if rewrite {
		return db.stageHashes(info, file)
	}
	packed := make([]byte, 0, len(changes)*overlayWidth)
	for _, c := range changes {
		packed = appendChange(packed, c)
	}
	t, err := db.writeTable(packed, overlayWidth)
	if err != nil {
		return fmt.Errorf("stage list %s: %w", info, err)
	}
	l := &hashList{info: info, base: held.base, over: append([]hashTable{t}, over[join:]...), damaged: held.damaged}
	db.stagedHashes[info.ID] = &stagedHashes{list: l, on: held, made: []uint64{t.Generation}}
	return nil
}

// changes reads an overlay.
func (t hashTable) changes(tx *bolt.Tx) ([]hashlist.Change, error) {
	var all []hashlist.Change
	err := t.scan(tx, overlayWidth, func(records []byte) error {
		for ; len(records) > 0; records = records[overlayWidth:] {
			all = append(all, changeOf(records[:overlayWidth]))
		}
		return nil
	})
	return all, err
}

// merged compares what the changes make of the list's base with what was
// signed, and returns the packed entries if they are wanted: 16 MiB at most.
func merged(tx *bolt.Tx, l *hashList, info hashlist.Info, changes []hashlist.Change, sum hash.Hash, keep bool) (entries []byte, err error) {
	s := info.Scheme
	width := s.Width()
	sum.Write(s.AppendHeader(nil, int(info.Entries)))
	if keep {
		entries = make([]byte, 0, info.Size())
	}
	n := int64(0)
	put := func(records []byte) error {
		if n += int64(len(records) / width); n > info.Entries {
			return fmt.Errorf("more than %d entries: %w", info.Entries, ErrDigest)
		}
		sum.Write(records)
		if keep {
			entries = append(entries, records...)
		}
		return nil
	}
	var scratch []byte
	add := func(c hashlist.Change) error {
		if c.Removed {
			return nil
		}
		if !info.Contains(c.Hash) {
			return fmt.Errorf("%w: a hash of another partition", ErrInvalid)
		}
		scratch = s.AppendEntry(scratch[:0], c.Entry)
		return put(scratch)
	}
	err = l.base.scan(tx, width, func(records []byte) error {
		for len(changes) > 0 && len(records) > 0 {
			i, found := search(records, width, changes[0].Hash)
			if !found && i == len(records)/width {
				break // it belongs into a later block
			}
			if err := put(records[:i*width]); err != nil {
				return err
			}
			if err := add(changes[0]); err != nil {
				return err
			}
			if records, changes = records[i*width:], changes[1:]; found {
				records = records[width:]
			}
		}
		return put(records)
	})
	for ; err == nil && len(changes) > 0; changes = changes[1:] {
		err = add(changes[0])
	}
	if err != nil {
		return nil, err
	}
	if n != info.Entries || !bytes.Equal(sum.Sum(nil), info.SHA256[:]) {
		return nil, fmt.Errorf("sequence %d, %d entries: %w", info.Sequence, n, ErrDigest)
	}
	return entries, nil
}

// PutHashes replaces the revocation list of this name by the one that was
// staged, or adds it. One that has the bytes of the held one is only described
// anew. The sequence is the caller's to judge.
func (tx *Tx) PutHashes(info hashlist.Info) error {
	if tx.done {
		return ErrDone
	}
	old := tx.view.hashes[info.ID]
	if old != nil && old.damaged.Load() {
		old = nil
	}
	if old != nil && old.info.Same(info) {
		return nil
	}
	l := &hashList{confirmed: info.Issued}
	staged := tx.db.stagedHashes[info.ID]
	switch {
	case old != nil && old.info.SHA256 == info.SHA256 && old.info.Entries == info.Entries:
		l.base, l.over, l.damaged = old.base, old.over, old.damaged
	case staged == nil || staged.list.info.SHA256 != info.SHA256 || staged.list.info.Entries != info.Entries:
		return fmt.Errorf("%w: list %s, sequence %d, was not staged", ErrInvalid, info, info.Sequence)
	case staged.on != nil && (old == nil || !slices.Equal(staged.on.tables(), old.tables())):
		return fmt.Errorf("%w: list %s was staged for a generation that is not held", ErrInvalid, info)
	default:
		l.base, l.over, l.damaged = staged.list.base, staged.list.over, staged.list.damaged
		tx.usedHashes = append(tx.usedHashes, info.ID)
	}
	// As it will be read again: whole seconds, UTC.
	l.info = info
	l.info.Issued, l.info.Expires = info.Issued.UTC().Truncate(time.Second), info.Expires.UTC().Truncate(time.Second)
	l.confirmed = l.info.Issued
	p, err := l.encode()
	if err != nil {
		return fmt.Errorf("list %s: %w", info, err)
	}
	tx.replaceHashes(info.ID, l)
	return tx.putHashes(hashListsBucket, info.ID, p, func(b *bolt.Bucket) error {
		return tx.bolt.Bucket(hashConfirmedBucket).Delete([]byte(info.String()))
	})
}

// replaceHashes changes the memory, and remembers the generations that nothing
// points to any more. They are removed after the commit: a lookup that has
// begun may still read them.
func (tx *Tx) replaceHashes(id hashlist.ID, l *hashList) {
	tx.dirty = true
	kept := map[uint64]bool{}
	if l != nil {
		for _, g := range l.tables() {
			kept[g] = true
		}
	}
	if old := tx.view.hashes[id]; old != nil {
		for _, g := range old.tables() {
			if !kept[g] {
				tx.staleHashes = append(tx.staleHashes, g)
			}
		}
	}
	if l == nil {
		delete(tx.view.hashes, id)
	} else {
		tx.view.hashes[id] = l
	}
}

// putHashes writes a value of a list and then does more.
func (tx *Tx) putHashes(bucket []byte, id hashlist.ID, value []byte, more func(*bolt.Bucket) error) error {
	err := tx.change(func() error {
		b := tx.bolt.Bucket(bucket)
		if b == nil {
			return fmt.Errorf("%w: bucket %s is missing", ErrDamaged, bucket)
		}
		if err := b.Put([]byte(id.String()), value); err != nil {
			return err
		}
		return more(b)
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", id, err)
	}
	return nil
}

// DropHashes forgets a revocation list; one that is not held is no error.
func (tx *Tx) DropHashes(id hashlist.ID) error {
	if tx.done {
		return ErrDone
	}
	if tx.view.hashes[id] == nil {
		return nil
	}
	tx.replaceHashes(id, nil)
	return tx.change(func() error { return deleteHashes(tx.bolt, id.String()) })
}

// deleteHashes removes a list's pointer; its generations are strays then.
func deleteHashes(tx *bolt.Tx, name string) error {
	for _, bucket := range [][]byte{hashListsBucket, hashConfirmedBucket} {
		if b := tx.Bucket(bucket); b != nil {
			if err := b.Delete([]byte(name)); err != nil {
				return fmt.Errorf("list %s: %w", name, err)
			}
		}
	}
	return nil
}

// ConfirmHashes is Confirm for revocation lists.
func (tx *Tx) ConfirmHashes(ids []hashlist.ID, issued time.Time) error {
	if tx.done {
		return ErrDone
	}
	if err := checkTime(issued); err != nil {
		return err
	}
	issued = time.Unix(issued.Unix(), 0).UTC()
	for _, id := range ids {
		old := tx.view.hashes[id]
		if old == nil || issued.Equal(old.confirmed) || !tx.confirms(issued, old.confirmed) {
			continue
		}
		l := *old
		l.confirmed = issued
		tx.view.hashes[id] = &l
		tx.dirty = true
		if err := tx.putHashes(hashConfirmedBucket, id, digested(seconds(issued)), func(*bolt.Bucket) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// committedHashes tidies up after an Install. The caller holds mu.
func (db *DB) committedHashes(tx *Tx) {
	for _, id := range tx.usedHashes {
		delete(db.stagedHashes, id)
	}
	db.removeTables(tx.staleHashes)
}

// loadHashes reads where the revocation lists lie, and takes out what a crash
// has left. Their blocks are checked when they are looked at.
func (db *DB) loadHashes(v *view) error {
	var bad []string
	var strays []uint64
	current := map[uint64]bool{}
	err := db.bolt.View(func(tx *bolt.Tx) error {
		pointers, blocks := tx.Bucket(hashListsBucket), tx.Bucket(hashBlocksBucket)
		if pointers != nil {
			c := pointers.Cursor()
			n := 0
			for k, stored := c.First(); k != nil; k, stored = c.Next() {
				// A damaged page may lead the cursor round in a ring.
				if n++; n > MaxHashLists {
					return fmt.Errorf("%w: more than %d revocation lists", ErrDamaged, MaxHashLists)
				}
				l, err := loadHashList(tx, string(k), stored)
				if err != nil {
					db.log.Error("revocation list dropped, it must be fetched again", "list", string(k), "error", err)
					bad = append(bad, string(k))
					continue
				}
				v.hashes[l.info.ID] = l
				for _, g := range l.tables() {
					current[g] = true
				}
			}
		}
		if blocks == nil {
			return nil
		}
		c := blocks.Cursor()
		n := 0
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if n++; n > 2*(maxHashOverlays+1)*MaxHashLists {
				return fmt.Errorf("%w: too many generations of revocation lists", ErrDamaged)
			}
			if len(k) != 8 {
				return fmt.Errorf("%w: generation of %d bytes", ErrDamaged, len(k))
			}
			if g := binary.BigEndian.Uint64(k); !current[g] {
				strays = append(strays, g)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(bad)+len(strays) == 0 {
		return nil
	}
	err = db.bolt.Update(func(tx *bolt.Tx) error {
		for _, name := range bad {
			if err := deleteHashes(tx, name); err != nil {
				return err
			}
		}
		return deleteTables(tx, strays)
	})
	if err != nil {
		if err = unlessDisk(err); errors.Is(err, ErrDamaged) {
			return fmt.Errorf("remove stray revocation lists: %w", err)
		}
		// A full disk does not keep the lists that are whole from answering.
		db.log.Warn("stray revocation lists not removed", "error", err)
		db.unsure = err
	}
	return nil
}

func loadHashList(tx *bolt.Tx, name string, stored []byte) (*hashList, error) {
	l, err := decodeHashPointer(name, stored)
	if err != nil {
		return nil, err
	}
	for _, t := range append([]hashTable{l.base}, l.over...) {
		if _, err := tableBucket(tx, t); err != nil {
			return nil, err
		}
	}
	if b := tx.Bucket(hashConfirmedBucket); b != nil {
		if l.confirmed, err = loadTime(b, []byte(name)); err != nil {
			return nil, err
		}
	}
	if l.confirmed.Before(l.info.Issued) {
		l.confirmed = l.info.Issued
	}
	return l, nil
}
