package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	bolt "go.etcd.io/bbolt"

	"greengate/pass/hashlist"
)

// The blocks of a revocation list. Ten million hashes do not fit the memory of
// the smallest device, so they are looked up in the file.
const (
	// blockBytes is the most bytes of a block. bbolt lays two of them with
	// their headers into exactly two pages: (4096*2-16)/2-32, where 16 is the
	// page's header and 32 the entry's with its key of 16.
	blockBytes = (pageSize*2-16)/2 - 32
	// blockHeader is a CRC of four bytes and the key of the next block.
	blockHeader = 4 + hashlist.HashSize
	// stageBlocks is how many blocks one transaction writes: 4 MiB, and an
	// even number, since they lie in pairs.
	stageBlocks = 4 << 20 / blockBytes &^ 1
	// overlayWidth is the bytes of a record that changes a list: a hash, and a
	// time or gone.
	overlayWidth = hashlist.HashSize + 8
	// gone in the place of a time: the hash is no longer revoked.
	gone = math.MaxUint64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hashTable is a generation: sorted records in blocks. A block's key is where
// it begins among all hashes, the first at zero; its value is
//
//	CRC32C of generation, key and the rest 4 · key of the next block 16 · records
//
// where a next key of zero ends the table. So the blocks cover all hashes
// without a gap, and a lookup sees whether the block it found is whole, is of
// this generation, and is the one that would hold the hash: what damage took
// away never looks like "not revoked".
type hashTable struct {
	Generation uint64 `json:"generation"`
	Records    int64  `json:"records"`
	Blocks     int64  `json:"blocks"`
}

// perBlock is how many records of width bytes a block has.
func perBlock(width int) int { return (blockBytes - blockHeader) / width }

// blocksFor is how many blocks so many records take; none take one too.
func blocksFor(records int64, width int) int64 {
	per := int64(perBlock(width))
	return max((records+per-1)/per, 1)
}

// block is one block, checked.
type block struct {
	key, next hashlist.Hash
	records   []byte
}

// last reports whether the table ends with it.
func (b block) last() bool { return b.next == hashlist.Hash{} }

// encodeBlock writes a block of a generation.
func encodeBlock(generation uint64, b block) []byte {
	v := make([]byte, blockHeader, blockHeader+len(b.records))
	copy(v[4:], b.next[:])
	v = append(v, b.records...)
	binary.BigEndian.PutUint32(v, blockSum(generation, b.key[:], v[4:]))
	return v
}

func blockSum(generation uint64, key, rest []byte) uint32 {
	var head [8 + hashlist.HashSize]byte
	binary.BigEndian.PutUint64(head[:], generation)
	copy(head[8:], key)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, rest)
}

// decodeBlock checks a block. Its records lie in the file's mapping.
func decodeBlock(generation uint64, width int, k, v []byte) (block, error) {
	if len(k) != hashlist.HashSize || len(v) < blockHeader || len(v) > blockBytes || (len(v)-blockHeader)%width != 0 {
		return block{}, fmt.Errorf("%w: block of %d bytes in generation %d", ErrDamaged, len(v), generation)
	}
	if binary.BigEndian.Uint32(v) != blockSum(generation, k, v[4:]) {
		return block{}, fmt.Errorf("%w: block %x of generation %d: checksum", ErrDamaged, k, generation)
	}
	return block{hashlist.Hash(k), hashlist.Hash(v[4:blockHeader]), v[blockHeader:]}, nil
}

func tableBucket(tx *bolt.Tx, t hashTable) (*bolt.Bucket, error) {
	if all := tx.Bucket(hashBlocksBucket); all != nil {
		if b := all.Bucket(number(t.Generation)); b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: generation %d of hashes is missing", ErrDamaged, t.Generation)
}

// find returns the record with the hash, nil if there is none.
func (t hashTable) find(tx *bolt.Tx, width int, h hashlist.Hash) ([]byte, error) {
	bucket, err := tableBucket(tx, t)
	if err != nil {
		return nil, err
	}
	c := bucket.Cursor()
	k, v := c.Seek(h[:])
	switch {
	case k == nil:
		k, v = c.Last()
	case !bytes.Equal(k, h[:]):
		k, v = c.Prev()
	}
	b, err := decodeBlock(t.Generation, width, k, v)
	if err != nil {
		return nil, err
	}
	if bytes.Compare(b.key[:], h[:]) > 0 || !b.last() && bytes.Compare(h[:], b.next[:]) >= 0 {
		return nil, fmt.Errorf("%w: a block of generation %d is missing", ErrDamaged, t.Generation)
	}
	i, found := search(b.records, width, h)
	if !found {
		return nil, nil
	}
	return b.records[i*width : (i+1)*width], nil
}

// search finds a hash among sorted records.
func search(records []byte, width int, h hashlist.Hash) (int, bool) {
	low, high := 0, len(records)/width
	for low < high {
		mid := int(uint(low+high) >> 1)
		switch bytes.Compare(records[mid*width:mid*width+hashlist.HashSize], h[:]) {
		case 0:
			return mid, true
		case -1:
			low = mid + 1
		default:
			high = mid
		}
	}
	return low, false
}

// scan calls f with the records of each block in turn. It reads no more blocks
// than the table has: a damaged page may lead a cursor round in a ring.
func (t hashTable) scan(tx *bolt.Tx, width int, f func(records []byte) error) error {
	bucket, err := tableBucket(tx, t)
	if err != nil {
		return err
	}
	c := bucket.Cursor()
	k, v := c.First()
	var next hashlist.Hash
	records := int64(0)
	for i := int64(1); ; i++ {
		b, err := decodeBlock(t.Generation, width, k, v)
		if err != nil {
			return err
		}
		if b.key != next || b.last() != (i == t.Blocks) {
			return fmt.Errorf("%w: generation %d: block %d is not in its place", ErrDamaged, t.Generation, i)
		}
		records += int64(len(b.records) / width)
		if err := f(b.records); err != nil {
			return err
		}
		if b.last() {
			break
		}
		next = b.next
		k, v = c.Next()
	}
	if records != t.Records {
		return fmt.Errorf("%w: generation %d has %d records, not %d", ErrDamaged, t.Generation, records, t.Records)
	}
	return nil
}

// writeTable writes packed sorted records as a new generation, in transactions
// of 4 MiB. The caller holds mu.
func (db *DB) writeTable(records []byte, width int) (t hashTable, err error) {
	t.Records = int64(len(records) / width)
	t.Blocks = blocksFor(t.Records, width)
	update := func(f func(tx *bolt.Tx) error) error {
		if err := db.guard(func() error { return db.bolt.Update(f) }); err != nil {
			return diskError(err)
		}
		return nil
	}
	size := perBlock(width) * width
	var key hashlist.Hash
	for at := int64(0); at < t.Blocks; at += stageBlocks {
		err = update(func(tx *bolt.Tx) error {
			if at == 0 {
				if t.Generation, err = newTable(tx); err != nil {
					return err
				}
			}
			bucket, err := tableBucket(tx, t)
			if err != nil {
				return err
			}
			// Keys come in their order, so pages may be filled.
			bucket.FillPercent = 1
			for range min(stageBlocks, t.Blocks-at) {
				b := block{key: key, records: records[:min(size, len(records))]}
				if records = records[len(b.records):]; len(records) > 0 {
					b.next = hashlist.Hash(records[:hashlist.HashSize])
				}
				if err := bucket.Put(b.key[:], encodeBlock(t.Generation, b)); err != nil {
					return err
				}
				key = b.next
			}
			return nil
		})
		if err != nil {
			db.removeTables([]uint64{t.Generation})
			return t, err
		}
	}
	return t, nil
}

// newTable makes the bucket of a new generation.
func newTable(tx *bolt.Tx) (uint64, error) {
	for _, name := range [][]byte{hashListsBucket, hashConfirmedBucket, hashBlocksBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return 0, err
		}
	}
	all := tx.Bucket(hashBlocksBucket)
	n, err := all.NextSequence()
	if err != nil {
		return 0, err
	}
	_, err = all.CreateBucket(number(n))
	return n, err
}

// deleteTables removes generations; what is not there is no error.
func deleteTables(tx *bolt.Tx, generations []uint64) error {
	all := tx.Bucket(hashBlocksBucket)
	for _, g := range generations {
		if all == nil || all.Bucket(number(g)) == nil {
			continue
		}
		if err := all.DeleteBucket(number(g)); err != nil {
			return err
		}
	}
	return nil
}

// removeTables removes generations that nothing points to. Whatever goes wrong
// with that is put right before the next change. The caller holds mu.
func (db *DB) removeTables(generations []uint64) {
	if len(generations) == 0 || db.broken != nil {
		return
	}
	err := db.guard(func() error {
		return db.bolt.Update(func(tx *bolt.Tx) error { return deleteTables(tx, generations) })
	})
	if err == nil {
		return
	}
	db.log.Warn("old generations of revocation lists are left", "error", err)
	if db.broken == nil {
		db.unsure = err
	}
}
