package passage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"io"

	"greengate/gate"
)

// SegmentKey is the data key of one segment of a gate's journal, sealed to the hub.
type SegmentKey struct {
	// Segment counts the segments of a gate from 1.
	Segment uint64
	// Encapsulated is HPKE's encapsulated key, 32 bytes. It and Sealed are empty
	// in a key that was destroyed: then nobody can open the segment's records.
	Encapsulated []byte
	// Sealed is the data key under it, 48 bytes.
	Sealed []byte
}

// Destroyed reports whether the key was destroyed.
func (k SegmentKey) Destroyed() bool { return len(k.Encapsulated) == 0 && len(k.Sealed) == 0 }

// Check says whether the key has the form of one, or of a destroyed one.
func (k SegmentKey) Check() error {
	if !k.Destroyed() && (len(k.Encapsulated) != encapsulatedBytes || len(k.Sealed) != sealedKeyBytes) {
		return fmt.Errorf("%w: key of segment %d", ErrMalformed, k.Segment)
	}
	return nil
}

// Lengths of a SegmentKey's fields: an X25519 point, and a key of 32 bytes with its tag of 16.
const (
	encapsulatedBytes = 32
	sealedKeyBytes    = 48
	dataKeyBytes      = 32
)

// The HPKE suite (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
func kem() hpke.KEM   { return hpke.DHKEM(ecdh.X25519()) }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// NewHubKey makes a key pair that gates seal to.
func NewHubKey() (hpke.PrivateKey, error) { return kem().GenerateKey() }

// MarshalHubKey writes a hub's public key, 32 bytes.
func MarshalHubKey(k hpke.PublicKey) []byte { return k.Bytes() }

// ParseHubKey reads a hub's public key of 32 bytes.
func ParseHubKey(data []byte) (hpke.PublicKey, error) {
	k, err := kem().NewPublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("hub key of %d bytes: %w", len(data), err)
	}
	return k, nil
}

// MarshalHubPrivateKey writes a hub's private key, 32 bytes.
func MarshalHubPrivateKey(k hpke.PrivateKey) ([]byte, error) { return k.Bytes() }

// ParseHubPrivateKey reads a hub's private key of 32 bytes.
func ParseHubPrivateKey(data []byte) (hpke.PrivateKey, error) {
	k, err := kem().NewPrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("hub private key of %d bytes: %w", len(data), err)
	}
	return k, nil
}

// segmentInfo binds a data key to its gate and segment.
func segmentInfo(gateID string, segment uint64) []byte {
	b := append([]byte("greengate segment v1\x00"), gateID...)
	b = append(b, 0)
	return binary.BigEndian.AppendUint64(b, segment)
}

// entryNonce is the sequence: a data key seals each sequence once at most.
func entryNonce(seq uint64) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[4:], seq)
	return b
}

// entryData is what the sealed part is bound to.
func entryData(segment uint64, clear []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte("greengate passage v1\x00"), segment)
	return append(b, clear...)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Sealer writes the records of one segment. It is not safe for concurrent use.
type Sealer struct {
	segment uint64
	aead    cipher.AEAD
	last    uint64
}

// NewSegmentSealer makes the data key of a segment from rand and seals it to
// the hub. The key is nowhere but in the Sealer and in the SegmentKey.
func NewSegmentSealer(gateID string, segment uint64, hub hpke.PublicKey, rand io.Reader) (*Sealer, SegmentKey, error) {
	if err := CheckGate(gateID); err != nil {
		return nil, SegmentKey{}, err
	}
	key := make([]byte, dataKeyBytes)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, SegmentKey{}, fmt.Errorf("data key of segment %d: %w", segment, err)
	}
	enc, sender, err := hpke.NewSender(hub, kdf(), aead(), segmentInfo(gateID, segment))
	if err != nil {
		return nil, SegmentKey{}, fmt.Errorf("data key of segment %d: %w", segment, err)
	}
	box, err := sender.Seal(nil, key)
	if err != nil {
		return nil, SegmentKey{}, fmt.Errorf("data key of segment %d: %w", segment, err)
	}
	a, err := newGCM(key)
	if err != nil {
		return nil, SegmentKey{}, fmt.Errorf("data key of segment %d: %w", segment, err)
	}
	return &Sealer{segment: segment, aead: a}, SegmentKey{Segment: segment, Encapsulated: enc, Sealed: box}, nil
}

// Entry writes a record. Sequences must rise within a segment: after a failed
// write the same sequence goes to a new segment, under a new key. Errors wrap
// [ErrInvalid], [ErrTooLarge] or [ErrNonce].
func (s *Sealer) Entry(seq uint64, prevChain [32]byte, rec gate.Record) (Entry, error) {
	if seq <= s.last {
		return Entry{}, fmt.Errorf("record %d in segment %d: %w", seq, s.segment, ErrNonce)
	}
	clear, err := EncodeClear(seq, rec)
	if err != nil {
		return Entry{}, fmt.Errorf("record %d: %w", seq, err)
	}
	plain, err := encodeSealed(rec.Sealed)
	if err != nil {
		return Entry{}, fmt.Errorf("record %d: %w", seq, err)
	}
	box := s.aead.Seal(nil, entryNonce(seq), plain, entryData(s.segment, clear))
	if len(box) > MaxSealed {
		return Entry{}, fmt.Errorf("record %d: %w: sealed part of %d bytes", seq, ErrTooLarge, len(box))
	}
	s.last = seq
	return Entry{Seq: seq, Segment: s.segment, Clear: clear, Sealed: box, Chain: Next(prevChain, clear, box)}, nil
}

// Unsealer opens the records of one segment, at the hub. It is safe for concurrent use.
type Unsealer struct {
	segment uint64
	aead    cipher.AEAD
}

// OpenSegmentKey opens a segment's data key. Errors wrap [ErrSealed].
func OpenSegmentKey(gateID string, k SegmentKey, hub hpke.PrivateKey) (*Unsealer, error) {
	if k.Destroyed() {
		return nil, fmt.Errorf("data key of segment %d: %w: it was destroyed", k.Segment, ErrSealed)
	}
	r, err := hpke.NewRecipient(k.Encapsulated, hub, kdf(), aead(), segmentInfo(gateID, k.Segment))
	if err != nil {
		return nil, fmt.Errorf("data key of segment %d: %w: %w", k.Segment, ErrSealed, err)
	}
	key, err := r.Open(nil, k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("data key of segment %d: %w: %w", k.Segment, ErrSealed, err)
	}
	if len(key) != dataKeyBytes {
		return nil, fmt.Errorf("data key of segment %d: %w: %d bytes", k.Segment, ErrSealed, len(key))
	}
	a, err := newGCM(key)
	if err != nil {
		return nil, fmt.Errorf("data key of segment %d: %w: %w", k.Segment, ErrSealed, err)
	}
	return &Unsealer{segment: k.Segment, aead: a}, nil
}

// Open opens the sealed part of an entry. Errors wrap [ErrSealed],
// [ErrTooLarge] or [ErrMalformed].
func (u *Unsealer) Open(e Entry) (gate.Sealed, error) {
	if e.Tombstone {
		return gate.Sealed{}, fmt.Errorf("record %d: %w: a tombstone", e.Seq, ErrSealed)
	}
	if e.Segment != u.segment {
		return gate.Sealed{}, fmt.Errorf("record %d of segment %d: %w: key of segment %d", e.Seq, e.Segment, ErrSealed, u.segment)
	}
	if len(e.Clear) > MaxClear || len(e.Sealed) > MaxSealed {
		return gate.Sealed{}, fmt.Errorf("record %d: %w", e.Seq, ErrTooLarge)
	}
	plain, err := u.aead.Open(nil, entryNonce(e.Seq), e.Sealed, entryData(e.Segment, e.Clear))
	if err != nil {
		return gate.Sealed{}, fmt.Errorf("record %d: %w: %w", e.Seq, ErrSealed, err)
	}
	s, err := decodeSealed(plain)
	if err != nil {
		return gate.Sealed{}, fmt.Errorf("record %d: %w", e.Seq, err)
	}
	return s, nil
}
