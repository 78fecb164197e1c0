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
	batchVersion = 2
	// maxSignature is above an ECDSA P-256 signature in ASN.1 (72 bytes) and an Ed25519 one (64).
	maxSignature = 80
)

// Batch is a run of a gate's records on its way to the hub. It stands alone:
// it carries the data keys of all segments that its records lie in.
type Batch struct {
	// Gate is the name of the gate.
	Gate string
	// Skip says which records before the first the gate no longer has; nil in
	// nearly every batch.
	Skip *Skip
	// Prev is the head of the chain before the first record.
	Prev [32]byte
	// Keys of the segments that the entries lie in, one each, rising. None in a
	// batch that was stored: its keys are kept apart, to be destroyed by the day.
	Keys []SegmentKey
	// KeysDigest is the SHA-256 over the keys that were signed, in a stored
	// batch; zero in any other.
	KeysDigest [32]byte
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
	Skip      []wireSkip // one at most
	Prev      []byte
	First     uint64
	Keys      []wireKey
	Digest    []byte // of the keys, where they are not in it
	Entries   []wireEntry
	Signature []byte
}

type wireSkip struct {
	_     struct{} `cbor:",toarray"`
	First uint64
	Last  uint64
	Why   string
}

type wireKey struct {
	_            struct{} `cbor:",toarray"`
	Segment      uint64
	Encapsulated []byte
	Sealed       []byte
}

// wireEntry has digests in the place of the parts where it is a tombstone.
type wireEntry struct {
	_         struct{} `cbor:",toarray"`
	Segment   uint64
	Clear     []byte
	Sealed    []byte
	Tombstone bool
}

// stored reports whether this is the form without keys.
func (b *Batch) stored() bool { return b.KeysDigest != [32]byte{} }

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
	if err := b.Skip.check(); err != nil {
		return err
	}
	if b.Skip != nil && b.Skip.Last+1 != b.Entries[0].Seq {
		return fmt.Errorf("record %d behind a skip to %d: %w", b.Entries[0].Seq, b.Skip.Last, ErrChain)
	}
	if b.stored() && len(b.Keys) > 0 {
		return fmt.Errorf("%w: keys and their digest", ErrMalformed)
	}
	head, k := b.Prev, -1
	for i, e := range b.Entries {
		if e.Tombstone && len(e.Clear)+len(e.Sealed) > 0 {
			return fmt.Errorf("record %d: %w: a tombstone with its record", e.Seq, ErrMalformed)
		}
		if len(e.Clear) > MaxClear || len(e.Sealed) > MaxSealed {
			return fmt.Errorf("record %d: %w: %d bytes in clear, %d sealed", e.Seq, ErrTooLarge, len(e.Clear), len(e.Sealed))
		}
		if e.Seq == 0 || e.Seq != b.Entries[0].Seq+uint64(i) {
			return fmt.Errorf("record %d behind %d: %w", e.Seq, b.Entries[max(i-1, 0)].Seq, ErrChain)
		}
		head = e.Next(head)
		if e.Chain != head {
			return fmt.Errorf("record %d: %w", e.Seq, ErrChain)
		}
		// The keys are those of the entries' segments in their order, and no others.
		if i == 0 || e.Segment != b.Entries[i-1].Segment {
			k++
			if i > 0 && e.Segment < b.Entries[i-1].Segment {
				return fmt.Errorf("record %d: %w: segment %d behind %d", e.Seq, ErrMalformed, e.Segment, b.Entries[i-1].Segment)
			}
			if b.stored() {
				continue
			}
			if k >= len(b.Keys) || b.Keys[k].Segment != e.Segment {
				return fmt.Errorf("record %d: %w: no key of segment %d", e.Seq, ErrMalformed, e.Segment)
			}
			if err := b.Keys[k].Check(); err != nil {
				return err
			}
		}
	}
	if k+1 != len(b.Keys) && !b.stored() {
		return fmt.Errorf("%w: %d keys for %d segments", ErrMalformed, len(b.Keys), k+1)
	}
	return nil
}

func (b *Batch) wire() wireBatch {
	w := wireBatch{Version: batchVersion, Gate: b.Gate, Prev: b.Prev[:], First: b.First(), Signature: b.Signature,
		Keys: make([]wireKey, 0, len(b.Keys)), Entries: make([]wireEntry, 0, len(b.Entries))}
	if b.Skip != nil {
		w.Skip = []wireSkip{{First: b.Skip.First, Last: b.Skip.Last, Why: string(b.Skip.Why)}}
	}
	if b.stored() {
		w.Digest = b.KeysDigest[:]
	}
	for _, k := range b.Keys {
		w.Keys = append(w.Keys, wireKey{Segment: k.Segment, Encapsulated: k.Encapsulated, Sealed: k.Sealed})
	}
	for _, e := range b.Entries {
		we := wireEntry{Segment: e.Segment, Clear: e.Clear, Sealed: e.Sealed}
		if e.Tombstone {
			we = wireEntry{Segment: e.Segment, Clear: e.ClearDigest[:], Sealed: e.SealedDigest[:], Tombstone: true}
		}
		w.Entries = append(w.Entries, we)
	}
	return w
}

// Marshal writes the batch as it travels, at most [MaxBatchBytes]. Only a batch
// that [ParseBatch] would read is written.
func (b *Batch) Marshal() ([]byte, error) {
	if b.stored() {
		return nil, fmt.Errorf("%w: a stored batch does not travel", ErrInvalid)
	}
	return b.marshal()
}

// MarshalStored writes the batch without its keys, as a hub keeps it: the
// signature covers their digest, so it verifies also when they are destroyed.
// [ParseStored] reads it.
func (b *Batch) MarshalStored() ([]byte, error) {
	if b.stored() {
		return b.marshal()
	}
	digest, err := b.keysDigest()
	if err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	bare := *b
	bare.Keys, bare.KeysDigest = nil, digest
	return bare.marshal()
}

func (b *Batch) marshal() ([]byte, error) {
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
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	if b.stored() {
		return nil, fmt.Errorf("%w: batch without its keys", ErrMalformed)
	}
	return b, nil
}

// ParseStored reads what [Batch.MarshalStored] wrote. Errors are ParseBatch's.
func ParseStored(data []byte) (*Batch, error) {
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	if !b.stored() {
		return nil, fmt.Errorf("%w: stored batch with its keys", ErrMalformed)
	}
	return b, nil
}

func parse(data []byte) (*Batch, error) {
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
	switch len(w.Skip) {
	case 0:
	case 1:
		b.Skip = &Skip{First: w.Skip[0].First, Last: w.Skip[0].Last, Why: SkipReason(w.Skip[0].Why)}
	default:
		return nil, fmt.Errorf("%w: %d skips", ErrMalformed, len(w.Skip))
	}
	if n := copy(b.KeysDigest[:], w.Digest); len(w.Digest) > 0 && (n != len(w.Digest) || n != len(b.KeysDigest) || !b.stored()) {
		return nil, fmt.Errorf("%w: digest of keys of %d bytes", ErrMalformed, len(w.Digest))
	}
	if w.First+uint64(len(w.Entries)) < w.First {
		return nil, fmt.Errorf("%w: first sequence %d", ErrMalformed, w.First)
	}
	for _, k := range w.Keys {
		b.Keys = append(b.Keys, SegmentKey{Segment: k.Segment, Encapsulated: k.Encapsulated, Sealed: k.Sealed})
	}
	head := b.Prev
	for i, e := range w.Entries {
		entry := Entry{Seq: w.First + uint64(i), Segment: e.Segment, Clear: e.Clear, Sealed: e.Sealed}
		if e.Tombstone {
			entry = Entry{Seq: entry.Seq, Segment: e.Segment, Tombstone: true}
			if len(e.Clear) != len(entry.ClearDigest) || len(e.Sealed) != len(entry.SealedDigest) {
				return nil, fmt.Errorf("%w: tombstone with digests of %d and %d bytes", ErrMalformed, len(e.Clear), len(e.Sealed))
			}
			copy(entry.ClearDigest[:], e.Clear)
			copy(entry.SealedDigest[:], e.Sealed)
		}
		head = entry.Next(head)
		entry.Chain = head
		b.Entries = append(b.Entries, entry)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// keysDigest is the SHA-256 over the keys, as the signature covers it.
func (b *Batch) keysDigest() ([32]byte, error) {
	if b.stored() {
		return b.KeysDigest, nil
	}
	keys, err := encoding.Marshal(b.wire().Keys)
	if err != nil {
		return [32]byte{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return sha256.Sum256(keys), nil
}

// message is what the gate signs.
func (b *Batch) message() ([]byte, error) {
	digest, err := b.keysDigest()
	if err != nil {
		return nil, err
	}
	head := b.Head()
	m := append([]byte("greengate batch v2\x00"), b.Gate...)
	m = append(m, 0)
	if s := b.Skip; s != nil {
		m = append(append(m, s.Why...), 0)
		m = binary.BigEndian.AppendUint64(m, s.First)
		m = binary.BigEndian.AppendUint64(m, s.Last)
	}
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
