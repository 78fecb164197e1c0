package gate

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"greengate/pass"
)

func TestPresence(t *testing.T) {
	t0 := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	p := newPresence(3)
	who := func(b byte) Pseudonym { return Pseudonym{b} }
	for i := range byte(3) {
		p.enter(who(i), t0.Add(time.Duration(i)*time.Minute))
	}
	p.enter(who(0), t0.Add(10*time.Minute)) // came again: now the latest
	p.enter(who(9), t0.Add(11*time.Minute))
	for _, row := range []struct {
		who  byte
		want time.Time
	}{{0, t0.Add(10 * time.Minute)}, {1, time.Time{}}, {2, t0.Add(2 * time.Minute)}, {9, t0.Add(11 * time.Minute)}} {
		if got := p.last(who(row.who)); !got.Equal(row.want) {
			t.Errorf("%d: got %s, want %s", row.who, got, row.want)
		}
	}
	p.leave(who(0))
	if !p.last(who(0)).IsZero() {
		t.Error("left, and still there")
	}
	for i := range 1000 {
		p.enter(who(byte(i)), t0)
		p.leave(who(byte(i)))
	}
	if len(p.order) > 2*p.limit {
		t.Errorf("%d arrivals kept", len(p.order))
	}
	p.clear()
	if len(p.seen) != 0 || len(p.order) != 0 {
		t.Error("not cleared")
	}
}

func TestProofs(t *testing.T) {
	t0 := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	p := newProofs(3)
	id := func(b byte) [32]byte { return [32]byte{b} }
	p.remember(id(1), t0, 3*time.Minute)
	if !p.known(id(1), t0.Add(3*time.Minute-1)) || p.known(id(1), t0.Add(3*time.Minute)) {
		t.Error("not remembered for three minutes")
	}
	p.forget(id(1))
	if p.known(id(1), t0) {
		t.Error("not forgotten")
	}
	for i := range byte(100) {
		p.remember(id(i), t0, time.Hour)
	}
	if len(p.until) > 3 || len(p.order) > 3 || !p.known(id(99), t0) || p.known(id(50), t0) {
		t.Errorf("%d proofs, %d in order", len(p.until), len(p.order))
	}
}

func TestPseudonym(t *testing.T) {
	zone := time.FixedZone("CST", 8*3600)
	day := time.Date(2020, 2, 17, 23, 59, 59, 0, zone)
	secret := bytes.Repeat([]byte{7}, 32)
	k := dayKey{rand: bytes.NewReader(append(bytes.Clone(secret), bytes.Repeat([]byte{8}, 32)...))}
	if !k.stale(day) {
		t.Error("no key, and not stale")
	}
	if err := k.rotate(day); err != nil {
		t.Fatal(err)
	}
	ref := pass.StatusRef{URI: "https://hub.example/lists/3301/1", Index: 70_000}
	mac := hmac.New(sha256.New, secret)
	mac.Write(append([]byte(ref.URI), 0))
	mac.Write(binary.BigEndian.AppendUint64(nil, ref.Index))
	if got := k.pseudonym(ref); !bytes.Equal(got[:], mac.Sum(nil)[:16]) {
		t.Errorf("got %x", got)
	}
	if got := PseudonymOf([32]byte(secret), ref); got != k.pseudonym(ref) {
		t.Errorf("at the hub %x, at the gate %x", got, k.pseudonym(ref))
	}
	if other := k.pseudonym(pass.StatusRef{URI: ref.URI, Index: 70_001}); other == k.pseudonym(ref) {
		t.Error("two codes, one pseudonym")
	}
	for _, row := range []struct {
		at   time.Time
		want bool
	}{
		{day, false}, {day.Add(time.Second), true}, {day.Add(-24*time.Hour + time.Second), false},
		{day.Add(-24 * time.Hour), true}, {time.Unix(0, 0), true},
	} {
		if got := k.stale(row.at); got != row.want {
			t.Errorf("stale at %s: %v", row.at, got)
		}
	}
	before := k.pseudonym(ref)
	if err := k.rotate(day.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if k.pseudonym(ref) == before {
		t.Error("same pseudonym under another key")
	}
	if err := k.rotate(day); err == nil {
		t.Error("no randomness, and no error")
	}
}
