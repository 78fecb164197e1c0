package passage

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"reflect"
	"testing"
	"time"

	"greengate/gate"
)

const testGate = "gate-1"

func hubKey(t testing.TB) hpke.PrivateKey {
	t.Helper()
	k, err := NewHubKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// full is a record with every field set.
func full() gate.Record {
	return gate.Record{
		Kind: gate.DecisionRecord, At: time.UnixMilli(1581926399123).UTC(), Clock: gate.ClockConfirmed, Direction: gate.Exit,
		Verdict: gate.Admit, Reason: gate.Valid, Notices: []gate.Reason{gate.ListsStale, gate.Busy}, Policy: 7, List: 31,
		Of: 3, Outcome: gate.TurnedTwice, GuardReason: gate.NoPhone, Dropped: 9,
		Sealed: gate.Sealed{
			Pseudonym: bytes.Repeat([]byte{7}, 16), CodeKind: "dynamic", Colour: gate.Green, Region: "330106",
			Reading:    &gate.Reading{Object: 36200, Ambient: -1500, Adjusted: 36600, OutOfRange: true, TooFar: true},
			Enterprise: "E-1", Guard: "guard 4", DayKey: bytes.Repeat([]byte{9}, 32),
			Circumstances: &gate.Circumstances{Zoned: true, PermitScanned: true, Thermometer: gate.ThermometerFailed, Risk: gate.RiskHigh,
				ListAge: 86400, PermitListAge: gate.Never, Inside: gate.MaxAge,
				Earlier: []gate.EarlierReading{{TooFar: true}, {Adjusted: -37300}, {Adjusted: 0}}},
		},
	}
}

// batch makes n records in segments of 2.
func batch(t testing.TB, hub hpke.PrivateKey, n int) *Batch {
	t.Helper()
	b := &Batch{Gate: testGate, Prev: Genesis(testGate)}
	head := b.Prev
	var s *Sealer
	for i := range n {
		if i%2 == 0 {
			var k SegmentKey
			var err error
			if s, k, err = NewSegmentSealer(testGate, uint64(i/2+1), hub.PublicKey(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			b.Keys = append(b.Keys, k)
		}
		e, err := s.Entry(uint64(i+1), head, full())
		if err != nil {
			t.Fatal(err)
		}
		head = e.Chain
		b.Entries = append(b.Entries, e)
	}
	return b
}

func TestRecordSurvivesTheWay(t *testing.T) {
	hub := hubKey(t)
	for name, r := range map[string]gate.Record{
		"full":        full(),
		"bare":        {Kind: gate.OutcomeRecord, At: time.UnixMilli(0).UTC()},
		"before 1970": {Kind: gate.GapRecord, At: time.UnixMilli(-5).UTC(), Dropped: 1 << 63},
	} {
		t.Run(name, func(t *testing.T) {
			s, k, err := NewSegmentSealer(testGate, 4, hub.PublicKey(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			e, err := s.Entry(12, Genesis(testGate), r)
			if err != nil {
				t.Fatal(err)
			}
			u, err := OpenSegmentKey(testGate, k, hub)
			if err != nil {
				t.Fatal(err)
			}
			seq, got, err := DecodeClear(e.Clear)
			if err != nil || seq != 12 {
				t.Fatalf("DecodeClear = %d, %v; want 12, nil", seq, err)
			}
			if got.Sealed, err = u.Open(e); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, r) {
				t.Errorf("got  %+v\nwant %+v", got, r)
			}
		})
	}
}

func TestSealedLengthTellsNothing(t *testing.T) {
	s, _, err := NewSegmentSealer(testGate, 1, hubKey(t).PublicKey(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bare, with := full(), full()
	bare.Sealed = gate.Sealed{Pseudonym: make([]byte, 16), CodeKind: "paper", Colour: gate.Red}
	with.Sealed.DayKey, with.Sealed.Enterprise = nil, ""
	a, err := s.Entry(1, [32]byte{}, bare)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Entry(2, [32]byte{}, with)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Sealed) != len(b.Sealed) {
		t.Errorf("sealed lengths %d without and %d with a reading", len(a.Sealed), len(b.Sealed))
	}
}

func TestSealerRefuses(t *testing.T) {
	hub := hubKey(t).PublicKey()
	s, _, err := NewSegmentSealer(testGate, 1, hub, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Entry(5, [32]byte{}, full()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Entry(5, [32]byte{}, full()); !errors.Is(err, ErrNonce) {
		t.Errorf("same sequence again: %v, want ErrNonce", err)
	}
	for name, change := range map[string]func(*gate.Record){
		"kind":       func(r *gate.Record) { r.Kind = "" },
		"year 10000": func(r *gate.Record) { r.At = time.UnixMilli(maxAt + 1) },
		"year -1":    func(r *gate.Record) { r.At = time.UnixMilli(minAt - 1) },
		"clock":      func(r *gate.Record) { r.Clock = 9 },
		"direction":  func(r *gate.Record) { r.Direction = 2 },
		"verdict":    func(r *gate.Record) { r.Verdict = 3 },
		"reason":     func(r *gate.Record) { r.Reason = "Not A Word" },
		"notices":    func(r *gate.Record) { r.Notices = make([]gate.Reason, 17) },
		"notice":     func(r *gate.Record) { r.Notices = []gate.Reason{""} },
		"outcome":    func(r *gate.Record) { r.Outcome = "fell" },
		"guard":      func(r *gate.Record) { r.Sealed.Guard = string(make([]byte, 33)) },
		"pseudonym":  func(r *gate.Record) { r.Sealed.Pseudonym = make([]byte, 33) },
		"colour":     func(r *gate.Record) { r.Sealed.Colour = 5 },
		"enterprise": func(r *gate.Record) { r.Sealed.Enterprise = string(make([]byte, 129)) },
	} {
		r := full()
		change(&r)
		if _, err := s.Entry(6, [32]byte{}, r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := s.Entry(6, [32]byte{}, full()); err != nil {
		t.Errorf("an invalid record used up its sequence: %v", err)
	}
	if _, _, err := NewSegmentSealer("a\x00b", 1, hub, rand.Reader); !errors.Is(err, ErrInvalid) {
		t.Errorf("gate with NUL: %v, want ErrInvalid", err)
	}
	if _, _, err := NewSegmentSealer(testGate, 1, hub, bytes.NewReader(nil)); err == nil {
		t.Error("a data key was made of nothing")
	}
}

func TestSealedPartIsBound(t *testing.T) {
	hub := hubKey(t)
	b := batch(t, hub, 4)
	u, err := OpenSegmentKey(testGate, b.Keys[0], hub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Open(b.Entries[0]); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Entry){
		"other clear part": func(e *Entry) { e.Clear = b.Entries[1].Clear },
		"other sequence":   func(e *Entry) { e.Seq++ },
		"other segment":    func(e *Entry) { e.Segment++ },
		"flipped bit":      func(e *Entry) { e.Sealed = bytes.Clone(e.Sealed); e.Sealed[3] ^= 1 },
		"cut":              func(e *Entry) { e.Sealed = e.Sealed[:7] },
	} {
		e := b.Entries[0]
		change(&e)
		if _, err := u.Open(e); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
	if _, err := OpenSegmentKey("gate-2", b.Keys[0], hub); !errors.Is(err, ErrSealed) {
		t.Errorf("key of another gate: %v, want ErrSealed", err)
	}
	k := b.Keys[0]
	k.Segment++
	if _, err := OpenSegmentKey(testGate, k, hub); !errors.Is(err, ErrSealed) {
		t.Errorf("key of another segment: %v, want ErrSealed", err)
	}
	if _, err := OpenSegmentKey(testGate, b.Keys[0], hubKey(t)); !errors.Is(err, ErrSealed) {
		t.Errorf("another hub's key: %v, want ErrSealed", err)
	}
}

func TestHubKeyBytes(t *testing.T) {
	k := hubKey(t)
	pub := MarshalHubKey(k.PublicKey())
	if len(pub) != 32 {
		t.Fatalf("public key of %d bytes, want 32", len(pub))
	}
	again, err := ParseHubKey(pub)
	if err != nil || !bytes.Equal(MarshalHubKey(again), pub) {
		t.Errorf("public key read back: %v", err)
	}
	priv, err := MarshalHubPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	k2, err := ParseHubPrivateKey(priv)
	if err != nil || !bytes.Equal(MarshalHubKey(k2.PublicKey()), pub) {
		t.Errorf("private key read back: %v", err)
	}
	if _, err := ParseHubKey(pub[:31]); err == nil {
		t.Error("a key of 31 bytes was taken")
	}
}

func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"Ed25519": ed, "P-256": ec}
}

func TestBatchSurvivesTheWay(t *testing.T) {
	hub := hubKey(t)
	for name, key := range signers(t) {
		t.Run(name, func(t *testing.T) {
			b := batch(t, hub, 5)
			if err := b.Sign(key); err != nil {
				t.Fatal(err)
			}
			data, err := b.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseBatch(data)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, b) {
				t.Errorf("got  %+v\nwant %+v", got, b)
			}
			if err := got.Verify(key.Public()); err != nil {
				t.Error(err)
			}
			for other, k := range signers(t) {
				if err := got.Verify(k.Public()); !errors.Is(err, ErrSignature) {
					t.Errorf("another %s key: %v, want ErrSignature", other, err)
				}
			}
		})
	}
}

func TestBatchRefusals(t *testing.T) {
	hub := hubKey(t)
	key := signers(t)["Ed25519"]
	for name, c := range map[string]struct {
		change func(*Batch)
		want   error
	}{
		"gap":              {func(b *Batch) { b.Entries = append(b.Entries[:2], b.Entries[3:]...) }, ErrChain},
		"swapped":          {func(b *Batch) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, ErrChain},
		"changed record":   {func(b *Batch) { b.Entries[1].Clear = b.Entries[0].Clear }, ErrChain},
		"other prev":       {func(b *Batch) { b.Prev[0] ^= 1 }, ErrChain},
		"sequence 0":       {func(b *Batch) { b.Entries = b.Entries[:1]; b.Keys = b.Keys[:1]; b.Entries[0].Seq = 0 }, ErrChain},
		"empty":            {func(b *Batch) { b.Entries = nil }, ErrMalformed},
		"key missing":      {func(b *Batch) { b.Keys = b.Keys[:1] }, ErrMalformed},
		"key too many":     {func(b *Batch) { b.Keys = append(b.Keys, b.Keys[0]) }, ErrMalformed},
		"keys swapped":     {func(b *Batch) { b.Keys[0], b.Keys[1] = b.Keys[1], b.Keys[0] }, ErrMalformed},
		"key cut":          {func(b *Batch) { b.Keys[0].Sealed = b.Keys[0].Sealed[:47] }, ErrMalformed},
		"other gate":       {func(b *Batch) { b.Gate = "gate-2" }, ErrSignature},
		"key exchanged":    {func(b *Batch) { b.Keys[0].Encapsulated = b.Keys[1].Encapsulated }, ErrSignature},
		"no signature":     {func(b *Batch) { b.Signature = nil }, ErrSignature},
		"last left out":    {func(b *Batch) { b.Entries = b.Entries[:3] }, ErrSignature},
		"renumbered":       {func(b *Batch) { renumber(b) }, ErrSignature},
		"gate has no name": {func(b *Batch) { b.Gate = "" }, ErrMalformed},
	} {
		b := batch(t, hub, 4)
		if err := b.Sign(key); err != nil {
			t.Fatal(err)
		}
		c.change(b)
		if err := b.Verify(key.Public()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func renumber(b *Batch) {
	for i := range b.Entries {
		b.Entries[i].Seq += 100
	}
}

func TestBatchBounds(t *testing.T) {
	hub := hubKey(t)
	b := batch(t, hub, MaxBatchRecords)
	data, err := b.Marshal()
	if err != nil {
		t.Fatalf("a batch of %d records: %v", MaxBatchRecords, err)
	}
	if _, err := ParseBatch(data); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseBatch(append(data, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("trailing byte: %v, want ErrMalformed", err)
	}
	if _, err := batch(t, hub, MaxBatchRecords+1).Marshal(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record too many: %v, want ErrTooLarge", err)
	}
	if _, err := ParseBatch(make([]byte, MaxBatchBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a byte too many: %v, want ErrTooLarge", err)
	}
}

func TestDecodeClearIsStrict(t *testing.T) {
	good, err := EncodeClear(3, full())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":             {},
		"trailing":          append(bytes.Clone(good), 0),
		"cut":               good[:len(good)-1],
		"indefinite":        {0xbf, 1, 1, 0xff},
		"explicit zero":     {0xa4, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0, 4, 0},
		"long integer":      {0xa3, 1, 0x18, 1, 2, 0x63, 'g', 'a', 'p', 3, 0},
		"unknown field":     {0xa4, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0, 0x18, 99, 1},
		"twice":             {0xa4, 1, 1, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0},
		"keys out of order": {0xa3, 2, 0x63, 'g', 'a', 'p', 1, 1, 3, 0},
		"sequence 0":        {0xa3, 1, 0, 2, 0x63, 'g', 'a', 'p', 3, 0},
		"unknown kind":      {0xa3, 1, 1, 2, 0x63, 'g', 'a', 'q', 3, 0},
		"year 292 million":  {0xa3, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"tag":               {0xc1, 0xa3, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0},
	} {
		if _, _, err := DecodeClear(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, _, err := DecodeClear([]byte{0xa3, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0}); err != nil {
		t.Errorf("the pattern of the rows above: %v", err)
	}
	if _, _, err := DecodeClear(make([]byte, MaxClear+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too long: %v, want ErrTooLarge", err)
	}
}

func FuzzDecodeClear(f *testing.F) {
	good, err := EncodeClear(3, full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0xa3, 1, 1, 2, 0x63, 'g', 'a', 'p', 3, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, r, err := DecodeClear(data)
		if err != nil {
			return
		}
		again, err := EncodeClear(seq, r)
		if err == nil && r.Sealed.Guard != "" {
			return // of before: it is not written so any more
		}
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes back to %x, %v", data, again, err)
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	b := batch(f, hubKey(f), 3)
	if err := b.Sign(signers(f)["P-256"]); err != nil {
		f.Fatal(err)
	}
	data, err := b.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:40])
	b.Skip, b.Entries[0], b.Keys[0] = nil, b.Entries[0].Bury(), SegmentKey{Segment: 1}
	grave, err := b.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(grave)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBatch(data)
		if err != nil {
			return
		}
		again, err := b.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes back to %x, %v", data, again, err)
		}
	})
}

// Records that a gate of the version before filled up to 64 bytes open too.
func TestShorterPaddingOfBefore(t *testing.T) {
	want := gate.Sealed{Pseudonym: bytes.Repeat([]byte{7}, 16), CodeKind: "paper", Colour: gate.Red}
	long, err := encodeSealed(want)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(bytes.TrimRight(long, "\x00")); len(long) != 128 || n > 64 {
		t.Fatalf("%d bytes, %d with the mark: no example", len(long), n)
	}
	for n, opens := range map[int]bool{64: true, 128: true, 63: false, 96: false} {
		got, err := decodeSealed(long[:n])
		if opens && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("filled up to %d: %+v, %v", n, got, err)
		}
		if !opens && !errors.Is(err, ErrMalformed) {
			t.Errorf("filled up to %d: %v, want ErrMalformed", n, err)
		}
	}
	if _, err := decodeSealed(append(long, make([]byte, 64)...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("filled up with more than any version did: %v, want ErrMalformed", err)
	}
}

// A record of before has a guard's name in clear: it is read, and not written so again.
func TestGuardInClearIsOfBefore(t *testing.T) {
	r := full()
	r.Sealed = gate.Sealed{}
	data, err := EncodeClear(3, r)
	if err != nil {
		t.Fatal(err)
	}
	var c clear
	if err := decodeCanonical(data, &c); err != nil {
		t.Fatal(err)
	}
	c.Guard = "old wang"
	old, err := encoding.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	seq, got, err := DecodeClear(old)
	if err != nil || seq != 3 || got.Sealed.Guard != "old wang" {
		t.Fatalf("record %d, guard %q, %v", seq, got.Sealed.Guard, err)
	}
	again, err := EncodeClear(seq, got)
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("written again with the guard in clear: %x, %v", again, err)
	}
}
