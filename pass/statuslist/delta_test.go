package statuslist

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// coloured returns a list of n entries, coloured as in the facts: 97 % valid,
// 2 % suspended, 1 % red.
func coloured(t testing.TB, r *rand.Rand, n uint64, bits int) *List {
	t.Helper()
	l, err := New(n, bits, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.Len() {
		if x := r.IntN(100); x > 96 {
			set(t, l, i, uint8(x%(1<<bits)))
		}
	}
	return l
}

func set(t testing.TB, l *List, i uint64, v uint8) {
	t.Helper()
	if err := l.Set(i, v); err != nil {
		t.Fatal(err)
	}
}

func cloneList(l *List) *List { return &List{l.bits, slices.Clone(l.raw)} }

// changed returns the list with about so many entries drawn anew.
func changed(t testing.TB, r *rand.Rand, l *List, n int) *List {
	t.Helper()
	c := cloneList(l)
	for range n {
		set(t, c, r.Uint64N(c.Len()), uint8(r.IntN(1<<l.bits)))
	}
	return c
}

func diff(t testing.TB, from, to *List) []byte {
	t.Helper()
	d, err := Diff(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeltaLeadsFromOneListToTheOther(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, bits := range []int{1, 2, 4, 8} {
		for _, n := range []uint64{1, 4, 9, 64, 1000, 1 << 16} {
			for _, changes := range []int{0, 1, 2, int(n) / 100, int(n) / 2, 4 * int(n)} {
				from := coloured(t, r, n, bits)
				to := changed(t, r, from, changes)
				d := diff(t, from, to)
				got := cloneList(from)
				if err := got.Patch(d); err != nil {
					t.Fatalf("%d bits, %d entries, %d changes: %v", bits, n, changes, err)
				}
				if !bytes.Equal(got.raw, to.raw) {
					t.Fatalf("%d bits, %d entries, %d changes: another list", bits, n, changes)
				}
			}
		}
	}
}

func TestDeltaOfFirstAndLastEntry(t *testing.T) {
	from, err := New(1<<20, 2, Invalid)
	if err != nil {
		t.Fatal(err)
	}
	to := cloneList(from)
	set(t, to, 0, Valid)
	set(t, to, 1<<20-1, ApplicationSpecific)
	d := diff(t, from, to)
	if len(d) > 20 {
		t.Errorf("two changes take %d bytes", len(d))
	}
	if err := from.Patch(d); err != nil || !bytes.Equal(from.raw, to.raw) {
		t.Errorf("patched list differs, %v", err)
	}
}

// A delta since generation 1, widened with each generation, makes the last one
// of any generation in between, also where an entry changed there and back.
func TestWidenedDeltaServesEveryGenerationBetween(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	generations := []*List{coloured(t, r, 1<<14, 2)}
	var d []byte
	for range 12 {
		last := generations[len(generations)-1]
		next := changed(t, r, last, 60)
		back := generations[0]
		for i := range uint64(32) { // there and back again
			v, err := back.Get(i)
			if err != nil {
				t.Fatal(err)
			}
			if len(generations)%2 == 1 {
				v ^= 3
			}
			set(t, next, i, v)
		}
		if d == nil {
			d = diff(t, last, next)
		} else {
			var err error
			if d, err = Widen(d, last, next); err != nil {
				t.Fatal(err)
			}
		}
		generations = append(generations, next)
	}
	want := generations[len(generations)-1]
	for i, g := range generations {
		got := cloneList(g)
		if err := got.Patch(d); err != nil {
			t.Fatalf("generation %d: %v", i, err)
		}
		if !bytes.Equal(got.raw, want.raw) {
			t.Errorf("generation %d does not become the last one", i)
		}
	}
}

func TestDeltaSizes(t *testing.T) {
	// 8.62 million codes, as ../shared/facts/storage.md measured it: 14.5 kB,
	// 60 kB and 109 kB for 0.1, 0.5 and 1 %.
	r := rand.New(rand.NewPCG(5, 6))
	from := coloured(t, r, 8_620_000, 2)
	for _, c := range []struct {
		percent float64
		most    int
	}{{0.1, 14_700}, {0.5, 61_000}, {1, 110_500}} {
		to := cloneList(from)
		for range int(86200 * c.percent) {
			i := r.Uint64N(to.Len())
			v, err := to.Get(i)
			if err != nil {
				t.Fatal(err)
			}
			set(t, to, i, v^uint8(1+r.IntN(3)))
		}
		if d := diff(t, from, to); len(d) > c.most {
			t.Errorf("%.1f %% changed: %d bytes, allowed %d", c.percent, len(d), c.most)
		}
	}
}

func TestDeltaIsStrict(t *testing.T) {
	from, err := New(256, 2, Invalid)
	if err != nil {
		t.Fatal(err)
	}
	to := cloneList(from)
	for _, i := range []uint64{3, 4, 77, 255} {
		set(t, to, i, Suspended)
	}
	good := diff(t, from, to)
	with := func(i int, b byte) []byte { d := slices.Clone(good); d[i] = b; return d }
	for name, d := range map[string][]byte{
		"nothing":           nil,
		"another magic":     with(3, '2'),
		"other bits":        with(4, 1),
		"another size":      with(5, 63),
		"more entries":      with(6, 5),
		"fewer entries":     with(6, 3),
		"more than it has":  append(slices.Clone(good[:6]), 0x81, 0x02),
		"all, and no bits":  append(append(slices.Clone(good[:6]), 0x80, 0x02), good[7:]...),
		"a long number":     append(append(slices.Clone(good[:6]), 0x84, 0x00), good[7:]...),
		"a byte behind":     append(slices.Clone(good), 0),
		"padding not zero":  with(len(good)-1, good[len(good)-1]|1),
		"all ones":          append(slices.Clone(good[:7]), bytes.Repeat([]byte{0xff}, 40)...),
		"endless":           append(slices.Clone(good[:7]), make([]byte, 100)...),
		"number overflowed": append(slices.Clone(good[:5]), bytes.Repeat([]byte{0xff}, 11)...),
	} {
		l := cloneList(from)
		if err := l.Patch(d); !errors.Is(err, ErrDelta) {
			t.Errorf("%s: got %v, want ErrDelta", name, err)
		}
		if !bytes.Equal(l.raw, from.raw) {
			t.Errorf("%s: the list was changed all the same", name)
		}
	}
	for n := range good {
		l := cloneList(from)
		if err := l.Patch(good[:n]); !errors.Is(err, ErrDelta) {
			t.Errorf("cut after %d of %d bytes: got %v, want ErrDelta", n, len(good), err)
		}
	}
	if _, err := Diff(from, &List{1, to.raw}); !errors.Is(err, ErrBits) {
		t.Errorf("lists of other bits: %v", err)
	}
	if _, err := Diff(from, &List{2, to.raw[1:]}); !errors.Is(err, ErrSize) {
		t.Errorf("lists of other sizes: %v", err)
	}
}

// FuzzDelta: whatever patches a list encodes back to the same bytes, and
// touches nothing but what it names.
func FuzzDelta(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{0, 1, 5, 100} {
		from := coloured(f, r, 512, 2)
		f.Add(diff(f, from, changed(f, r, from, n)), uint64(n))
	}
	f.Fuzz(func(t *testing.T, delta []byte, seed uint64) {
		from := coloured(t, rand.New(rand.NewPCG(seed, 0)), 512, 2)
		to := cloneList(from)
		if err := to.Patch(delta); err != nil {
			if !bytes.Equal(to.raw, from.raw) {
				t.Fatal("a refused delta changed the list")
			}
			return
		}
		// The same entries, written again.
		again, err := Widen(delta, to, to)
		if err != nil || !bytes.Equal(again, delta) {
			t.Fatalf("%x encodes back to %x, %v", delta, again, err)
		}
		if err := to.Patch(delta); err != nil || len(changes(from, to)) > 512 {
			t.Fatalf("a second time: %v", err)
		}
	})
}

func BenchmarkDelta(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 9))
	from := coloured(b, r, 1<<20, 2)
	to := changed(b, r, from, 1<<20/100)
	d := diff(b, from, to)
	b.Run(fmt.Sprintf("patch of %d bytes", len(d)), func(b *testing.B) {
		for b.Loop() {
			if err := from.Patch(d); err != nil {
				b.Fatal(err)
			}
		}
	})
	from = changed(b, r, to, 1<<20/100)
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			diff(b, from, to)
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			if _, err := to.MarshalCBOR(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
