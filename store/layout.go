package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"greengate/pass/statuslist"
)

// schema is the version of the layout. A file with a higher one is not opened.
const schema = 1

// The buckets. Their names must not change within a schema.
var (
	metaBucket        = []byte("meta")        // schema, floor
	metadataBucket    = []byte("tuf")         // role -> what was signed
	keysBucket        = []byte("keys")        // current -> version, what was signed
	policyBucket      = []byte("policy")      // current -> what was signed
	mapBucket         = []byte("map")         // current -> what was signed
	listsBucket       = []byte("lists")       // uri -> pointer
	confirmedBucket   = []byte("confirmed")   // uri -> Unix seconds
	generationsBucket = []byte("generations") // number -> bucket: chunk number -> bytes
	overlaysBucket    = []byte("overlays")    // generation, number -> delta

	buckets = [][]byte{metaBucket, metadataBucket, keysBucket, policyBucket, mapBucket, listsBucket, confirmedBucket, generationsBucket}
	// later are the buckets that came after the first files: they are made where
	// they are missing.
	later = [][]byte{overlaysBucket}

	schemaKey  = []byte("schema")
	floorKey   = []byte("floor")
	currentKey = []byte("current")
)

// Bounds. They stop a damaged file from costing more than a whole one could.
const (
	// chunkBytes is the length of a list's pieces. bbolt lays two of them with
	// their headers into exactly two pages: (4096*2-16)/2-20, where 16 is the
	// page's header and 20 the entry's with its key of 4. A power of two would
	// waste a third to a half of each page.
	chunkBytes = (pageSize*2-16)/2 - 20
	pageSize   = 4096
	// MaxListBytes is the most bytes of one list: 2^28 codes of 2 bits.
	MaxListBytes = 64 << 20
	// MaxLists is the most lists held; 900 million codes are 859.
	MaxLists = 4096
	// MaxMetadata is the most bytes of a role's metadata, and MaxRole of its name.
	MaxMetadata = 8 << 20
	MaxRole     = 128
	// maxRoles bounds the metadata bucket.
	maxRoles = 256
	// maxOverlays is the most deltas that lie over a list's bytes. Each costs a
	// start some 10 µs, and with 64 of them a recolour that touches a page of the
	// file is 64 times cheaper than the list written anew.
	maxOverlays = 64
	// overlayShare: overlays take at most this part of the list they lie over.
	// What is written for a change of 1 % is then a quarter of the list on average.
	overlayShare = 4
)

// overlayRoom is how many bytes may lie over a generation of a list of size
// bytes. It differs from one generation to the next, so that lists that came
// together and change together are not all written anew in one transaction,
// which would double the file.
func overlayRoom(generation uint64, size int64) int64 {
	return size/overlayShare - int64(generation%8)*size/64
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func chunkKey(i int64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

// overlayKey is where delta n, from 1, of a generation lies.
func overlayKey(generation uint64, n int) []byte {
	return binary.BigEndian.AppendUint32(number(generation), uint32(n))
}

// chunks is how many pieces a list of size bytes has.
func chunks(size int64) int64 { return (size + chunkBytes - 1) / chunkBytes }

// digested puts a value's SHA-256 in front of it. bbolt does not check its
// pages: an eighth to a quarter of what a lying disk did to them was found by
// a digest alone.
func digested(value []byte) []byte {
	d := sha256.Sum256(value)
	return append(d[:], value...)
}

// checked is the inverse of digested, as a copy.
func checked(what string, stored []byte) ([]byte, error) {
	if len(stored) < sha256.Size {
		return nil, fmt.Errorf("%w: %s of %d bytes", ErrDamaged, what, len(stored))
	}
	value := append([]byte(nil), stored[sha256.Size:]...)
	if sha256.Sum256(value) != [sha256.Size]byte(stored[:sha256.Size]) {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, what, ErrDigest)
	}
	return value, nil
}

// pointer says which generation of a list is current.
type pointer struct {
	Info json.RawMessage `json:"info"` // as statuslist.Info marshals
	// Generation is the number of the bucket with the list's bytes.
	Generation uint64 `json:"generation"`
	// Overlays is how many deltas lie over them.
	Overlays int `json:"overlays,omitempty"`
}

func (p pointer) encode() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return digested(b), nil
}

func decodePointer(uri string, stored []byte) (p pointer, info statuslist.Info, err error) {
	b, err := checked("pointer of list "+uri, stored)
	if err != nil {
		return p, info, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, info, fmt.Errorf("%w: pointer of list %s: %w", ErrDamaged, uri, err)
	}
	if info, err = statuslist.ParseInfo(p.Info); err != nil {
		return p, info, fmt.Errorf("%w: pointer of list %s: %w", ErrDamaged, uri, err)
	}
	if err := checkInfo(info); err != nil || info.URI != uri || p.Overlays < 0 || p.Overlays > maxOverlays {
		return p, info, fmt.Errorf("%w: pointer of list %s", ErrDamaged, uri)
	}
	return p, info, nil
}

// checkInfo says whether a colour list may be so.
func checkInfo(info statuslist.Info) error {
	if info.Bits != 2 {
		return fmt.Errorf("%w: list %s of %d bits a code, a colour takes 2", ErrInvalid, info.URI, info.Bits)
	}
	if info.Size < 1 || info.Size > MaxListBytes {
		return fmt.Errorf("%w: list %s of %d bytes", ErrInvalid, info.URI, info.Size)
	}
	return nil
}

// seconds is how times lie in the file.
func seconds(t time.Time) []byte { return number(uint64(t.Unix())) }

func parseSeconds(b []byte) (time.Time, error) {
	if len(b) != 8 {
		return time.Time{}, fmt.Errorf("%w: time of %d bytes", ErrDamaged, len(b))
	}
	s := int64(binary.BigEndian.Uint64(b))
	if s < 0 || s > maxSecond {
		return time.Time{}, fmt.Errorf("%w: time %d", ErrDamaged, s)
	}
	return time.Unix(s, 0).UTC(), nil
}

// maxSecond is the end of the year 9999, the last that RFC 3339 can write.
const maxSecond = 253402300799

// checkTime refuses what parseSeconds would.
func checkTime(t time.Time) error {
	if s := t.Unix(); s < 0 || s > maxSecond {
		return fmt.Errorf("%w: time %s", ErrInvalid, t)
	}
	return nil
}
