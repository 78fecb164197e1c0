package wire

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/pass"
	"greengate/pass/healthcode"
	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/store/journal"
)

// BenchmarkFigures measures what the README and the issues speak of, each
// beside its floor. deploy/bench prints it; run it with -benchtime 1x.
func BenchmarkFigures(b *testing.B) {
	f := newFigures(b)
	b.Run("open.static", func(b *testing.B) {
		// Floor: the one Ed25519 verification that cannot be saved.
		verify := f.bare(b, f.static)
		side(b, time.Microsecond, "us", 41, calls(100, func() { f.open(b, f.static) }), calls(100, verify))
	})
	b.Run("open.dynamic", func(b *testing.B) {
		// Floor: two of them, holder's and issuer's.
		verify := f.bare(b, f.dynamic)
		side(b, time.Microsecond, "us", 41, calls(50, func() { f.open(b, f.dynamic) }), calls(50, func() { verify(); verify() }))
	})
	b.Run("lookup", func(b *testing.B) {
		// Floor: a read of the same two bits from a plain array.
		ref := pass.StatusRef{URI: f.uri, Index: 4711}
		var sum int
		next := func() { ref.Index = (ref.Index + 7919) % (1 << 20) }
		side(b, time.Nanosecond, "ns", 41,
			calls(100_000, func() { next(); sum += int(f.db.Lookup(ref).Status) }),
			calls(100_000, func() { next(); sum += int(f.raw[ref.Index/4] >> (ref.Index % 4 * 2) & 3) }))
		if sum == 0 {
			b.Fatal("nothing was looked up")
		}
	})
	b.Run("judge", func(b *testing.B) {
		// Floor: one of the verifications that a scan costs anyhow.
		c, err := f.reader.Open([]byte(f.static), f.now)
		if err != nil {
			b.Fatal(err)
		}
		facts := gate.Facts{Now: f.now, Clock: gate.ClockConfirmed, Credential: c, Risk: gate.RiskLow,
			Listing: gate.Listing{Found: true, InBounds: true, Status: gate.Green, Issued: f.now, Confirmed: f.now}}
		policy := gate.DefaultPolicy()
		side(b, time.Nanosecond, "ns", 41, calls(1000, func() {
			if policy.Judge(facts).Verdict != gate.Admit {
				b.Fatal("not admitted")
			}
		}), calls(10, f.bare(b, f.static)))
	})
	b.Run("journal.append", func(b *testing.B) {
		// Floor: a bare write and fdatasync of as many bytes into a file that is there already.
		dir := b.TempDir()
		key, err := passage.NewHubKey()
		if err != nil {
			b.Fatal(err)
		}
		log, err := journal.Open(dir, journal.Options{Gate: "bench", Hub: key.PublicKey(), Rand: rand.Reader, SegmentBytes: 16 << 20, CapBytes: 256 << 20})
		if err != nil {
			b.Fatal(err)
		}
		defer log.Close()
		rec := gate.Record{Kind: gate.DecisionRecord, At: f.now, Clock: gate.ClockConfirmed, Verdict: gate.Admit, Reason: gate.Valid, Policy: 1, List: 1,
			Sealed: gate.Sealed{Pseudonym: make([]byte, 16), CodeKind: "dynamic", Colour: gate.Green, Region: "330106"}}
		bare := bareAppend(b, filepath.Join(dir, "bare"), 320)
		side(b, time.Microsecond, "us", 101, calls(3, func() {
			if _, err := log.Append(rec); err != nil {
				b.Fatal(err)
			}
		}), calls(3, bare))
	})
	b.Run("scan.outputs", func(b *testing.B) {
		// From a scan to outputs applied, without the journal's disk. Floor: one verification.
		side(b, time.Microsecond, "us", 501, f.lane(b), calls(1, f.bare(b, f.static)))
	})
}

// figures is a store with a list, a key and two codes.
type figures struct {
	now             time.Time
	db              *store.DB
	reader          *pass.Reader
	uri             string
	raw             []byte
	public          ed25519.PublicKey
	private         ed25519.PrivateKey
	static, dynamic string
	signer          healthcode.Signer
}

func newFigures(b *testing.B) *figures {
	b.Helper()
	f := &figures{now: time.Now(), uri: "jkm:3301/0"}
	var err error
	check := func() {
		if err != nil {
			b.Fatal(err)
		}
	}
	f.public, f.private, err = ed25519.GenerateKey(rand.Reader)
	check()
	key := pass.Key{ID: []byte{1, 2, 3, 4}, Algorithm: pass.EdDSA, Public: f.public, Use: pass.UseCode, Region: "33", NotBefore: f.now.Add(-time.Hour), NotAfter: f.now.Add(time.Hour)}
	f.signer = healthcode.Signer{Key: key, Private: f.private}
	f.db, err = store.Open(filepath.Join(b.TempDir(), "lists.db"), store.Options{})
	check()
	b.Cleanup(func() {
		if err := f.db.Close(); err != nil {
			b.Error(err)
		}
	})
	f.raw = make([]byte, 1<<18) // 2^20 codes, all green
	err = f.db.Install(func(tx *store.Tx) error {
		keys, err := pass.MarshalKeySet([]pass.Key{key})
		if err != nil {
			return err
		}
		parsed, err := pass.ParseKeySet(keys)
		if err != nil {
			return err
		}
		if err := tx.SetKeys(1, parsed, keys); err != nil {
			return err
		}
		info := statuslist.Info{URI: f.uri, Sequence: 1, Issued: f.now.Truncate(time.Second), Expires: f.now.Add(time.Hour).Truncate(time.Second), Bits: 2, Size: int64(len(f.raw)), SHA256: sha256.Sum256(f.raw)}
		if err := tx.PutList(info, f.raw); err != nil {
			return err
		}
		return tx.Confirm([]string{f.uri}, f.now.Truncate(time.Second))
	})
	check()
	f.reader = pass.NewReader(healthcode.New(f.db, healthcode.Options{}))
	claims := healthcode.Claims{Issued: f.now.Add(-time.Minute), Expires: f.now.Add(time.Hour), Status: pass.StatusRef{URI: f.uri, Index: 4711}, Name: "王*明", Region: "330106", Category: "resident"}
	f.static, err = healthcode.Issue(f.signer, claims)
	check()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check()
	claims.HolderKey = public
	inner, err := healthcode.Issue(f.signer, claims)
	check()
	f.dynamic, err = healthcode.Prove(private, inner, f.now, healthcode.DefaultAudience)
	check()
	return f
}

func (f *figures) open(b *testing.B, code string) {
	if _, err := f.reader.Open([]byte(code), f.now); err != nil {
		b.Fatal(err)
	}
}

// bare verifies a signature over a message about as long as the code's.
func (f *figures) bare(b *testing.B, code string) func() {
	message := make([]byte, len(code)*2/3-64)
	signature := ed25519.Sign(f.private, message)
	return func() {
		if !ed25519.Verify(f.public, message, signature) {
			b.Fatal("bare verification failed")
		}
	}
}

// bareAppend writes and flushes n bytes at a time into a file full of zeros.
func bareAppend(b *testing.B, path string, n int) func() {
	const size = 4 << 20
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { syscall.Close(fd) })
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := syscall.Pwrite(fd, zeros, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := syscall.Fsync(fd); err != nil {
		b.Fatal(err)
	}
	record, at := make([]byte, n), int64(0)
	return func() {
		if _, err := syscall.Pwrite(fd, record, at); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(fd); err != nil {
			b.Fatal(err)
		}
		at = (at + int64(n)) % (size - int64(n))
	}
}

// instant answers at once in the place of a journal and an actuator.
type instant struct{ n uint64 }

func (j *instant) Append(gate.Record) (uint64, error) { j.n++; return j.n, nil }
func (j *instant) Apply(gate.Outputs) error           { return nil }

// confirmed is a clock that the hub confirmed.
type confirmed struct{}

func (confirmed) Now() (time.Time, gate.ClockQuality) { return time.Now(), gate.ClockConfirmed }

// noPassback lets the same code pass again and again.
type noPassback struct{ *store.DB }

// Policy implements gate.Authority.
func (noPassback) Policy() gate.Policy {
	p := gate.DefaultPolicy()
	p.PassbackWindow = 0
	return p
}

// idle tells when the lane is idle again.
type idle chan struct{}

func (i idle) Show(v gate.View) {
	if v.State == gate.Idle {
		i <- struct{}{}
	}
}

// lane runs a lane and returns what lets one person through and says how long
// it took from the scan to the outputs.
func (f *figures) lane(b *testing.B) func() time.Duration {
	b.Helper()
	cfg := gate.DefaultLaneConfig()
	cfg.SameCodeFor, cfg.WatchFor, cfg.PassageContact = 0, 0, true
	ready, decided := make(idle, 16), make(chan gate.DecisionEvent, 1)
	lane, err := gate.NewLane(cfg, gate.Parts{Opener: f.reader, Authority: noPassback{f.db}, Journal: &instant{}, Actuator: &instant{},
		Clock: confirmed{}, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Screens: []gate.Screen{ready},
		Decided: func(e gate.DecisionEvent) { decided <- e }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lane.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	<-ready
	return func() time.Duration {
		lane.Scan(gate.Scan{Raw: []byte(f.static), At: time.Now(), Reader: "bench"})
		e := <-decided
		if e.Decision.Verdict != gate.Admit {
			b.Fatalf("decision %+v", e.Decision)
		}
		lane.Input(gate.Input{Contact: gate.PassageContact, Active: true, At: time.Now()})
		<-ready
		return e.Applied.Sub(e.Scanned)
	}
}

// calls times n calls of f, and returns the time of one.
func calls(n int, f func()) func() time.Duration {
	return func() time.Duration {
		start := time.Now()
		for range n {
			f()
		}
		return time.Since(start) / time.Duration(n)
	}
}

// side lets a thing and its floor take turns, and reports the median of the
// ratios and both medians: on a noisy machine a thing is judged by its floor.
func side(b *testing.B, unit time.Duration, unitName string, rounds int, thing, floor func() time.Duration) {
	b.Helper()
	thing()
	floor()
	var ratios, things, floors []float64
	for range rounds {
		t, f := thing(), floor()
		ratios = append(ratios, float64(t)/float64(f))
		things = append(things, float64(t)/float64(unit))
		floors = append(floors, float64(f)/float64(unit))
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(things), unitName)
	b.ReportMetric(median(floors), "floor."+unitName)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
