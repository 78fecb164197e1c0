package passage

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Limits of a batch.
const (
	// MaxBatchRecords is the most records of a batch.
	MaxBatchRecords = 500
	// MaxBatchBytes is the most bytes of a batch on the wire.
	MaxBatchBytes = 1 << 20
	// batchVersion is the first element of a batch.
	batchVersion = 1
	// maxSignature is above an ECDSA P-256 signature in ASN.1 (72 bytes) and an Ed25519 one (64).
	maxSignature = 80
)

// Batch is a run of a gate's records on its way to the hub. It stands alone:
// it carries the data keys of all segments that its records lie in.
type Batch struct {
	// Gate is the name of the gate.
	Gate string
	// Prev is the head of the chain before the first record.
	Prev [32]byte
	// Keys of the segments that the entries lie in, one each, rising.
	Keys []SegmentKey
	// Entries with rising sequences without a gap, 1 to 500.
	Entries []Entry
	// Signature of the gate over the head, the sequences and the keys.
	Signature []byte
}

// First is the sequence of the first entry, 0 where there is none.
func (b *Batch) First() uint64 {
	if len(b.Entries) == 0 {
		return 0
	}
	return b.Entries[0].Seq
}

// Last is the sequence of the last entry, 0 where there is none.
func (b *Batch) Last() uint64 {
	if len(b.Entries) == 0 {
		return 0
	}
	return b.Entries[len(b.Entries)-1].Seq
}

// Head is the head of the chain with the last entry in it; Prev where there is none.
func (b *Batch) Head() [32]byte {
	if len(b.Entries) == 0 {
		return b.Prev
	}
	return b.Entries[len(b.Entries)-1].Chain
}

type wireBatch struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	Gate      string
	Prev      []byte
	First     uint64
	Keys      []wireKey
	Entries   []wireEntry
	Signature []byte
}

type wireKey struct {
	_            struct{} `cbor:",toarray"`
	Segment      uint64
	Encapsulated []byte
	Sealed       []byte
}

type wireEntry struct {
	_       struct{} `cbor:",toarray"`
	Segment uint64
	Clear   []byte
	Sealed  []byte
}

// check looks at everything but the signature.
func (b *Batch) check() error {
	if err := CheckGate(b.Gate); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(b.Entries) == 0 {
		return fmt.Errorf("%w: batch without records", ErrMalformed)
	}
	if len(b.Entries) > MaxBatchRecords {
		return fmt.Errorf("%w: batch of %d records", ErrTooLarge, len(b.Entries))
	}
	if len(b.Signature) > maxSignature {
		return fmt.Errorf("%w: signature of %d bytes", ErrTooLarge, len(b.Signature))
	}
	head, k := b.Prev, -1
	for i, e := range b.Entries {
		if len(e.Clear) > MaxClear || len(e.Sealed) > MaxSealed {
			return fmt.Errorf("record %d: %w: %d bytes in clear, %d sealed", e.Seq, ErrTooLarge, len(e.Clear), len(e.Sealed))
		}
		if e.Seq == 0 || e.Seq != b.Entries[0].Seq+uint64(i) {
			return fmt.Errorf("record %d behind %d: %w", e.Seq, b.Entries[max(i-1, 0)].Seq, ErrChain)
		}
		head = Next(head, e.Clear, e.Sealed)
		if e.Chain != head {
			return fmt.Errorf("record %d: %w", e.Seq, ErrChain)
		}
		// The keys are those of the entries' segments in their order, and no others.
		if i == 0 || e.Segment != b.Entries[i-1].Segment {
			k++
			if i > 0 && e.Segment < b.Entries[i-1].Segment {
				return fmt.Errorf("record %d: %w: segment %d behind %d", e.Seq, ErrMalformed, e.Segment, b.Entries[i-1].Segment)
			}
			if k >= len(b.Keys) || b.Keys[k].Segment != e.Segment {
				return fmt.Errorf("record %d: %w: no key of segment %d", e.Seq, ErrMalformed, e.Segment)
			}
			if len(b.Keys[k].Encapsulated) != encapsulatedBytes || len(b.Keys[k].Sealed) != sealedKeyBytes {
				return fmt.Errorf("%w: key of segment %d", ErrMalformed, e.Segment)
			}
		}
	}
	if k+1 != len(b.Keys) {
		return fmt.Errorf("%w: %d keys for %d segments", ErrMalformed, len(b.Keys), k+1)
	}
	return nil
}

func (b *Batch) wire() wireBatch {
	w := wireBatch{Version: batchVersion, Gate: b.Gate, Prev: b.Prev[:], First: b.First(), Signature: b.Signature,
		Keys: make([]wireKey, 0, len(b.Keys)), Entries: make([]wireEntry, 0, len(b.Entries))}
	for _, k := range b.Keys {
		w.Keys = append(w.Keys, wireKey{Segment: k.Segment, Encapsulated: k.Encapsulated, Sealed: k.Sealed})
	}
	for _, e := range b.Entries {
		w.Entries = append(w.Entries, wireEntry{Segment: e.Segment, Clear: e.Clear, Sealed: e.Sealed})
	}
	return w
}

// Marshal writes the batch, at most [MaxBatchBytes]. Only a batch that
// [ParseBatch] would read is written.
func (b *Batch) Marshal() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	data, err := encoding.Marshal(b.wire())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(data))
	}
	return data, nil
}

// ParseBatch reads a batch and computes the chain of its entries. It does not
// look at the signature: that is [Batch.Verify]'s. Nor does it look into the
// two parts of a record, so that a hub can give a record that it cannot read a
// tombstone. Errors wrap [ErrMalformed], [ErrTooLarge] or [ErrChain].
func ParseBatch(data []byte) (*Batch, error) {
	if len(data) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(data))
	}
	var w wireBatch
	if err := decodeCanonical(data, &w); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	if w.Version != batchVersion {
		return nil, fmt.Errorf("%w: batch version %d, known is %d", ErrMalformed, w.Version, batchVersion)
	}
	b := &Batch{Gate: w.Gate, Signature: w.Signature}
	if len(w.Prev) != len(b.Prev) {
		return nil, fmt.Errorf("%w: previous head of %d bytes", ErrMalformed, len(w.Prev))
	}
	copy(b.Prev[:], w.Prev)
	if w.First+uint64(len(w.Entries)) < w.First {
		return nil, fmt.Errorf("%w: first sequence %d", ErrMalformed, w.First)
	}
	for _, k := range w.Keys {
		b.Keys = append(b.Keys, SegmentKey{Segment: k.Segment, Encapsulated: k.Encapsulated, Sealed: k.Sealed})
	}
	head := b.Prev
	for i, e := range w.Entries {
		head = Next(head, e.Clear, e.Sealed)
		b.Entries = append(b.Entries, Entry{Seq: w.First + uint64(i), Segment: e.Segment, Clear: e.Clear, Sealed: e.Sealed, Chain: head})
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// message is what the gate signs.
func (b *Batch) message() ([]byte, error) {
	keys, err := encoding.Marshal(b.wire().Keys)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	digest, head := sha256.Sum256(keys), b.Head()
	m := append([]byte("greengate batch v1\x00"), b.Gate...)
	m = append(m, 0)
	m = append(m, b.Prev[:]...)
	m = binary.BigEndian.AppendUint64(m, b.First())
	m = binary.BigEndian.AppendUint64(m, b.Last())
	m = append(m, head[:]...)
	return append(m, digest[:]...), nil
}

// Sign signs the batch with the gate's key: Ed25519, or ECDSA on P-256 with
// SHA-256 (in ASN.1).
func (b *Batch) Sign(key crypto.Signer) error {
	if err := b.check(); err != nil {
		return err
	}
	m, err := b.message()
	if err != nil {
		return err
	}
	var sig []byte
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		sig, err = key.Sign(rand.Reader, m, crypto.Hash(0))
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return fmt.Errorf("%w: key on curve %s", ErrSignature, pub.Curve.Params().Name)
		}
		d := sha256.Sum256(m)
		sig, err = key.Sign(rand.Reader, d[:], crypto.SHA256)
	default:
		return fmt.Errorf("%w: key of type %T", ErrSignature, pub)
	}
	if err != nil {
		return fmt.Errorf("sign batch %d-%d: %w", b.First(), b.Last(), err)
	}
	b.Signature = sig
	return nil
}

// Verify checks that sequences are contiguous, that the chain runs from Prev
// to the head, and that the gate with this public key signed it. Whether Prev
// is the head that the hub knows is the hub's to compare. Errors wrap
// [ErrChain], [ErrSignature], [ErrMalformed] or [ErrTooLarge].
func (b *Batch) Verify(key crypto.PublicKey) error {
	if err := b.check(); err != nil {
		return err
	}
	m, err := b.message()
	if err != nil {
		return err
	}
	ok := false
	switch pub := key.(type) {
	case ed25519.PublicKey:
		ok = len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, m, b.Signature)
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return fmt.Errorf("%w: key on curve %s", ErrSignature, pub.Curve.Params().Name)
		}
		d := sha256.Sum256(m)
		ok = ecdsa.VerifyASN1(pub, d[:], b.Signature)
	default:
		return fmt.Errorf("%w: key of type %T", ErrSignature, key)
	}
	if !ok {
		return fmt.Errorf("batch %d-%d of gate %s: %w", b.First(), b.Last(), b.Gate, ErrSignature)
	}
	return nil
}
