package gate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"time"

	"greengate/pass"
)

// Pseudonym stands for one code during one day at one gate.
type Pseudonym [16]byte

// dayKey makes pseudonyms. Its key is 32 random bytes, made anew when the
// program starts and at each local midnight, and kept in memory only; the hub
// gets it sealed, in a KeyRecord before the first decision under it.
type dayKey struct {
	rand io.Reader
	key  [32]byte
	mac  hash.Hash
	// The local day the key is for, as [from, to) in Unix seconds.
	from, to int64
}

// stale reports whether the day of the key is over at now, or not yet reached:
// a clock that was set to another day needs another key too.
func (k *dayKey) stale(now time.Time) bool {
	s := now.Unix()
	return s < k.from || s >= k.to
}

// rotate makes the key of now's day. The old key is gone afterwards.
func (k *dayKey) rotate(now time.Time) error {
	var fresh [32]byte
	if _, err := io.ReadFull(k.rand, fresh[:]); err != nil {
		return fmt.Errorf("pseudonym key: %w", err)
	}
	k.key = fresh
	k.mac = hmac.New(sha256.New, k.key[:])
	y, m, d := now.Date()
	k.from = time.Date(y, m, d, 0, 0, 0, 0, now.Location()).Unix()
	k.to = time.Date(y, m, d+1, 0, 0, 0, 0, now.Location()).Unix()
	return nil
}

// pseudonym is [PseudonymOf] with the key of the day.
func (k *dayKey) pseudonym(ref pass.StatusRef) Pseudonym { return pseudonymOf(k.mac, ref) }

// PseudonymOf is what stands for a code under a day's key, which the hub has of
// a KeyRecord: the first 16 bytes of HMAC-SHA256 over the status list's URI, a
// zero byte and the index, big-endian. The zero byte cannot stand in a URI.
func PseudonymOf(key [32]byte, ref pass.StatusRef) Pseudonym {
	return pseudonymOf(hmac.New(sha256.New, key[:]), ref)
}

func pseudonymOf(mac hash.Hash, ref pass.StatusRef) Pseudonym {
	var sum [sha256.Size]byte
	var b [1 + 8]byte
	binary.BigEndian.PutUint64(b[1:], ref.Index)
	mac.Reset()
	io.WriteString(mac, ref.URI)
	mac.Write(b[:])
	mac.Sum(sum[:0])
	return Pseudonym(sum[:16])
}
