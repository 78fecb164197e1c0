package gate_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/healthcode"
)

// instant is a lane's surroundings that answer at once.
type instant struct {
	listing gate.Listing
	policy  gate.Policy
	seq     uint64
}

func (i *instant) Policy() gate.Policy                       { return i.policy }
func (i *instant) Lookup(pass.StatusRef) gate.Listing        { return i.listing }
func (i *instant) Revoked(pass.RevocationID) gate.Revocation { return gate.Revocation{} }
func (i *instant) Risk(string) gate.RiskLevel                { return gate.RiskLow }
func (i *instant) Append(gate.Record) (uint64, error)        { i.seq++; return i.seq, nil }
func (i *instant) Apply(gate.Outputs) error                  { return nil }
func (i *instant) Now() (time.Time, gate.ClockQuality)       { return time.Now(), gate.ClockNetwork }

// BenchmarkScanToOutputs measures from the last byte of a static code to the
// outputs applied, with a real reader and a journal that answers at once. Its
// floor is one bare Ed25519 verification, measured in the same run.
func BenchmarkScanToOutputs(b *testing.B) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	key := pass.Key{ID: []byte("bench"), Algorithm: pass.EdDSA, Public: public, Use: pass.UseCode,
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour)}
	claims := healthcode.Claims{
		Issued: now.Add(-time.Hour).Truncate(time.Second), Expires: now.Add(time.Hour).Truncate(time.Second),
		Status: pass.StatusRef{URI: "https://hub.example/lists/3301/1", Index: 70_000}, Name: "王*明", Region: "330106",
	}
	code, err := healthcode.Issue(healthcode.Signer{Key: key, Private: private}, claims)
	if err != nil {
		b.Fatal(err)
	}
	reader := pass.NewReader(healthcode.New(pass.NewKeyMap([]pass.Key{key}), healthcode.Options{}))

	parts := &instant{policy: gate.DefaultPolicy(), listing: gate.Listing{
		Found: true, InBounds: true, Status: gate.Green, Issued: now, Confirmed: now,
	}}
	parts.policy.PassbackWindow = 0
	cfg := gate.DefaultLaneConfig()
	cfg.PassageContact, cfg.SameCodeFor, cfg.WatchFor = true, 0, 0
	decided := make(chan gate.DecisionEvent, 1)
	idle := make(chan struct{}, 16)
	lane, err := gate.NewLane(cfg, gate.Parts{
		Opener: reader, Authority: parts, Journal: parts, Actuator: parts, Clock: parts, Rand: rand.Reader,
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		Screens: []gate.Screen{idleScreen(idle)},
		Decided: func(e gate.DecisionEvent) { decided <- e },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- lane.Run(ctx) }()
	<-idle

	raw := []byte(code)
	message, signature := make([]byte, len(raw)), []byte(nil)
	signature = ed25519.Sign(private, message)
	var took, floor []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if !ed25519.Verify(public, message, signature) {
			b.Fatal("floor does not verify")
		}
		floor = append(floor, time.Since(start))
		lane.Scan(gate.Scan{Raw: raw, At: time.Now(), Reader: "bench"})
		e := <-decided
		if e.Decision.Verdict != gate.Admit {
			b.Fatalf("decision %+v", e.Decision)
		}
		took = append(took, e.Applied.Sub(e.Scanned))
		lane.Input(gate.Input{Contact: gate.PassageContact, Active: true, At: time.Now()})
		<-idle
	}
	slices.Sort(took)
	slices.Sort(floor)
	p50, bare := took[len(took)/2], floor[len(floor)/2]
	b.ReportMetric(float64(p50.Nanoseconds()), "ns/scan-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "ns/scan-p99")
	b.ReportMetric(float64(bare.Nanoseconds()), "ns/verify-p50")
	b.ReportMetric(float64(p50)/float64(bare), "ratio")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// idleScreen tells when the lane is idle.
type idleScreen chan struct{}

func (s idleScreen) Show(v gate.View) {
	if v.State == gate.Idle {
		s <- struct{}{}
	}
}
