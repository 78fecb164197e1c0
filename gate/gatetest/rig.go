package gatetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/pass"
)

// Morning is when the stories begin.
var Morning = time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)

// Zone that a rig's gate opens.
const Zone = "gate-east"

// Rig is a lane with fakes around it. Make it, set it up, Start it, play the
// story, and Check the timeline; all inside one synctest bubble. The people
// alice, bob and carol have green static codes of their names.
type Rig struct {
	t           testing.TB
	Timeline    Timeline
	Config      gate.LaneConfig
	Policy      gate.Policy
	Clock       *Clock
	Opener      *Opener
	Authority   *Authority
	Journal     *Journal
	Actuator    *Actuator
	Thermometer *Thermometer // nil for none
	Screen      *Screen
	Log         io.Writer // nowhere by default
	Beats       int
	Events      []gate.DecisionEvent
	Lane        *gate.Lane

	cancel context.CancelFunc
	ended  chan error
	start  time.Time
	people uint64
}

// NewRig returns a rig with a passage contact and without a thermometer.
func NewRig(t testing.TB) *Rig {
	r := &Rig{
		t: t, Config: gate.DefaultLaneConfig(), Policy: gate.DefaultPolicy(),
		Clock: NewClock(Morning), Opener: &Opener{}, Authority: &Authority{},
		Journal: &Journal{}, Actuator: &Actuator{}, Screen: &Screen{}, Log: io.Discard,
		start: time.Now(),
	}
	r.Timeline.start = r.start
	r.Journal.timeline, r.Actuator.timeline = &r.Timeline, &r.Timeline
	r.Config.PassageContact = true
	r.Config.Zone = Zone
	for _, name := range []string{"alice", "bob", "carol"} {
		r.Person(name, gate.Green)
	}
	return r
}

// Person adds somebody with a static code of that colour; the code's raw bytes
// are the name.
func (r *Rig) Person(name string, colour gate.Status) *pass.Credential {
	r.people++
	c := &pass.Credential{
		Format: "test", Kind: pass.KindStatic, KeyID: []byte("k1"),
		Issued: Morning.Add(-48 * time.Hour), Expires: Morning.Add(30 * 24 * time.Hour),
		Status: pass.StatusRef{URI: "https://hub.example/lists/3301/1", Index: r.people},
		Name:   name[:1] + "*", Region: "330106", Category: "resident",
	}
	r.Opener.Put(name, c, nil)
	r.Authority.List(c.Status, gate.Listing{
		Found: true, InBounds: true, Status: colour, Sequence: 7,
		Issued: Morning.Add(-time.Hour), Confirmed: Morning.Add(-time.Minute),
	})
	return c
}

// Foreign adds somebody with a foreign code of a format that revokes by hash:
// no status list, and identifiers of which none is listed.
func (r *Rig) Foreign(raw string, identifiers int) *pass.Credential {
	c := r.Person(raw, gate.Green)
	c.Format, c.Status = "test-foreign", pass.StatusRef{}
	for i := range identifiers {
		id := pass.RevocationID{Scheme: "eu", KeyID: c.KeyID, Hash: [16]byte(fmt.Appendf(nil, "%-14.14s%02d", raw, i))}
		c.Revocation = append(c.Revocation, id)
		r.Authority.Revoke(id.Hash, gate.Revocation{Found: true, Sequence: 3, Issued: Morning.Add(-time.Hour), Confirmed: Morning.Add(-time.Minute)})
	}
	return c
}

// Bound adds somebody with a code bound to a phone, and a proof that raw carries.
func (r *Rig) Bound(raw string) *pass.Credential {
	c := r.Person(raw, gate.Green)
	c.Kind = pass.KindBound
	c.HolderKey = make([]byte, 32)
	c.Proof = pass.Proof{At: Morning, ID: sha256.Sum256([]byte(raw))}
	return c
}

// Permit adds an entry permit for somebody's code.
func (r *Rig) Permit(raw string, holder *pass.Credential, zones ...string) *pass.Credential {
	c := r.Person(raw, gate.Green)
	c.Kind = pass.KindPermit
	c.Permit = &pass.Permit{Enterprise: "91330100", Zones: zones, Holder: holder.Status}
	return c
}

// Start runs the lane, waits until it is in service, and clears the timeline.
func (r *Rig) Start() {
	r.t.Helper()
	r.Authority.SetPolicy(r.Policy)
	parts := gate.Parts{
		Opener: r.Opener, Authority: r.Authority, Journal: r.Journal, Actuator: r.Actuator,
		Clock: r.Clock, Screens: []gate.Screen{r.Screen},
		Rand:    rand.New(rand.NewSource(1)),
		Log:     slog.New(slog.NewTextHandler(r.Log, nil)),
		Beat:    func() { r.Beats++ },
		Decided: func(e gate.DecisionEvent) { r.Events = append(r.Events, e) },
	}
	if r.Thermometer != nil {
		parts.Thermometer = r.Thermometer
	}
	lane, err := gate.NewLane(r.Config, parts)
	if err != nil {
		r.t.Fatalf("NewLane: %v", err)
	}
	r.Lane = lane
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- lane.Run(ctx) }()
	synctest.Wait()
	r.Timeline.Clear()
}

// Stop ends the lane and returns what Run returned.
func (r *Rig) Stop() error {
	r.cancel()
	err := <-r.ended
	synctest.Wait()
	return err
}

// At lets time pass until d after the start.
func (r *Rig) At(d time.Duration) {
	r.t.Helper()
	wait := time.Until(r.start.Add(d))
	if wait < 0 {
		r.t.Fatalf("story: %s is over already", d)
	}
	<-time.After(wait)
	synctest.Wait()
}

// Scan shows a code to the entry reader.
func (r *Rig) Scan(raw string) { r.scan(raw, gate.Entry) }

// ScanExit shows a code to the exit reader.
func (r *Rig) ScanExit(raw string) { r.scan(raw, gate.Exit) }

func (r *Rig) scan(raw string, d gate.Direction) {
	what := "scan"
	if d == gate.Exit {
		what = "scan-exit"
	}
	r.Timeline.Add(what, raw)
	r.Lane.Scan(gate.Scan{Raw: []byte(raw), At: time.Now(), Reader: "test", Direction: d})
	synctest.Wait()
}

// Contact settles a contact.
func (r *Rig) Contact(c gate.Contact, active bool) {
	detail := c.String()
	if !active {
		detail += " over"
	}
	r.Timeline.Add("contact", detail)
	r.Lane.Input(gate.Input{Contact: c, Active: active, At: time.Now()})
	synctest.Wait()
}

// Turn turns the turnstile inwards.
func (r *Rig) Turn() { r.Contact(gate.PassageContact, true) }

// Fire sets the fire input.
func (r *Rig) Fire(active bool) { r.Contact(gate.FireInput, active) }

// Guard acts on the view that the screen shows.
func (r *Rig) Guard(a gate.GuardAction, why gate.GuardReason) error {
	act := gate.GuardAct{Action: a, Reason: why, Guard: "guard-1"}
	if a != gate.GuardPass {
		act.Count = r.Screen.View().Count
	}
	err := r.Lane.Guard(context.Background(), act)
	synctest.Wait()
	return err
}

// Check ends the lane and compares the timeline.
func (r *Rig) Check(want string) {
	r.t.Helper()
	if got := words(r.Timeline.String()); got != words(want) {
		r.t.Errorf("got\n%swant\n%s", columns(got), columns(words(want)))
	}
}
