package passage

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// A hub keeps batches without their keys; signature and chain verify as before,
// also of records that the gate gave up, lost, or can no longer be read.
func TestStoredBatch(t *testing.T) {
	hub := hubKey(t)
	for name, change := range map[string]func(*Batch){
		"plain": func(*Batch) {},
		"behind a skip": func(b *Batch) {
			renumber(b)
			head := b.Prev
			for i := range b.Entries {
				head = b.Entries[i].Next(head)
				b.Entries[i].Chain = head
			}
			b.Skip = &Skip{First: 7, Last: 100, Why: Dropped}
		},
		"with a tombstone":     func(b *Batch) { b.Entries[1] = b.Entries[1].Bury() },
		"only tombstones":      func(b *Batch) { b.Entries = []Entry{b.Entries[0].Bury()}; b.Keys = b.Keys[:1] },
		"with a destroyed key": func(b *Batch) { b.Keys[0] = SegmentKey{Segment: 1} },
	} {
		for alg, key := range signers(t) {
			t.Run(name+" "+alg, func(t *testing.T) {
				b := batch(t, hub, 4)
				change(b)
				if err := b.Sign(key); err != nil {
					t.Fatal(err)
				}
				data, err := b.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				sent, err := ParseBatch(data)
				if err != nil || sent.Verify(key.Public()) != nil {
					t.Fatalf("sent: %v, %v", err, sent.Verify(key.Public()))
				}
				if sent.Skip.Count() != b.Skip.Count() || sent.Head() != b.Head() {
					t.Errorf("skip of %d, head %x; want %d, %x", sent.Skip.Count(), sent.Head(), b.Skip.Count(), b.Head())
				}
				kept, err := sent.MarshalStored()
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range b.Keys {
					if !k.Destroyed() && (bytes.Contains(kept, k.Sealed) || bytes.Contains(kept, k.Encapsulated)) {
						t.Errorf("the key of segment %d is in the stored batch", k.Segment)
					}
				}
				back, err := ParseStored(kept)
				if err != nil {
					t.Fatal(err)
				}
				if err := back.Verify(key.Public()); err != nil {
					t.Errorf("stored batch: %v", err)
				}
				if !reflect.DeepEqual(back.Entries, b.Entries) || !reflect.DeepEqual(back.Skip, b.Skip) {
					t.Errorf("stored batch has %+v, want %+v", back, b)
				}
				again, err := back.MarshalStored()
				if err != nil || !bytes.Equal(again, kept) {
					t.Errorf("stored again as other bytes: %v", err)
				}
				if _, err := ParseBatch(kept); !errors.Is(err, ErrMalformed) {
					t.Errorf("a stored batch is taken as one that was sent: %v", err)
				}
				if _, err := ParseStored(data); !errors.Is(err, ErrMalformed) {
					t.Errorf("a sent batch is taken as a stored one: %v", err)
				}
				if _, err := back.Marshal(); !errors.Is(err, ErrInvalid) {
					t.Errorf("a stored batch travels: %v", err)
				}
			})
		}
	}
}

func TestTombstone(t *testing.T) {
	hub := hubKey(t)
	b := batch(t, hub, 2)
	e := b.Entries[0].Bury()
	if e.Chain != b.Entries[0].Chain || e.Next(b.Prev) != e.Chain || !reflect.DeepEqual(e.Bury(), e) {
		t.Errorf("a tombstone is not its record in the chain: %+v", e)
	}
	u, err := OpenSegmentKey(testGate, b.Keys[0], hub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Open(e); !errors.Is(err, ErrSealed) {
		t.Errorf("a tombstone opens: %v", err)
	}
	if _, err := OpenSegmentKey(testGate, SegmentKey{Segment: 1}, hub); !errors.Is(err, ErrSealed) {
		t.Errorf("a destroyed key opens: %v", err)
	}
}

// What a gate says of its losses is covered by its signature.
func TestSkipRefusals(t *testing.T) {
	hub, key := hubKey(t), signers(t)["Ed25519"]
	for name, c := range map[string]struct {
		change func(*Batch)
		want   error
	}{
		"skip taken away":     {func(b *Batch) { b.Skip = nil }, ErrSignature},
		"skip for longer":     {func(b *Batch) { b.Skip.First-- }, ErrSignature},
		"skip for other":      {func(b *Batch) { b.Skip.Why = Damaged }, ErrSignature},
		"another reason":      {func(b *Batch) { b.Skip.Why = "lost" }, ErrMalformed},
		"skip that ends away": {func(b *Batch) { b.Skip.Last-- }, ErrChain},
		"skip backwards":      {func(b *Batch) { b.Skip.First = b.Skip.Last + 1 }, ErrMalformed},
		"skip from 0":         {func(b *Batch) { b.Skip.First = 0 }, ErrMalformed},
		"record and grave":    {func(b *Batch) { b.Entries[0].Tombstone = true }, ErrMalformed},
		"half a key":          {func(b *Batch) { b.Keys[0].Sealed = nil }, ErrMalformed},
		"key destroyed later": {func(b *Batch) { b.Keys[0] = SegmentKey{Segment: 1} }, ErrSignature},
		"keys and digest":     {func(b *Batch) { b.KeysDigest[0] = 1 }, ErrMalformed},
	} {
		b := batch(t, hub, 4)
		renumber(b)
		b.Skip = &Skip{First: 2, Last: 100, Why: Dropped}
		if err := b.Sign(key); err != nil {
			t.Fatal(err)
		}
		c.change(b)
		if err := b.Verify(key.Public()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzParseStored(f *testing.F) {
	b := batch(f, hubKey(f), 3)
	b.Entries[2] = b.Entries[2].Bury()
	if err := b.Sign(signers(f)["P-256"]); err != nil {
		f.Fatal(err)
	}
	data, err := b.MarshalStored()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseStored(data)
		if err != nil {
			return
		}
		again, err := b.MarshalStored()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes back to %x, %v", data, again, err)
		}
	})
}
