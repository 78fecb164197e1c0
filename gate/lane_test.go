package gate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/gate/gatetest"
	"greengate/pass"
)

const s = time.Second

// stories are what a lane does, each from a scan at two seconds on.
var stories = []struct {
	name  string
	setup func(*gatetest.Rig)
	play  func(*testing.T, *gatetest.Rig)
	want  string
	hangs bool // a part still hangs when the lane is stopped
}{
	{
		name: "granted, and nobody walks through",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(10 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 7s  turnstile  locked
			 7s  light      blue
			 8s  outcome    not-turned`,
	},
	{
		name: "granted and turned: it locks behind the person",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Turn()
			r.At(10 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 3s  contact    passage
			 3s  turnstile  locked
			 3s  light      blue
			 4s  outcome    turned`,
	},
	{
		name: "turned twice: somebody slipped through behind",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Turn()
			r.At(3500 * time.Millisecond)
			r.Turn()
			r.At(10 * s)
		},
		want: `
			 2s    scan       alice
			 2s    journal    valid
			 2s    turnstile  released
			 2s    light      green
			 3s    contact    passage
			 3s    turnstile  locked
			 3s    light      blue
			 3.5s  contact    passage
			 3.5s  outcome    turned-twice`,
	},
	{
		name: "in the arms of the turnstile when the time is up",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(7300 * time.Millisecond)
			r.Turn()
			r.At(10 * s)
		},
		want: `
			 2s    scan       alice
			 2s    journal    valid
			 2s    turnstile  released
			 2s    light      green
			 7s    turnstile  locked
			 7s    light      blue
			 7.3s  contact    passage
			 8s    outcome    turned`,
	},
	{
		name: "foreign codes: not revoked, revoked, a list that is not held",
		setup: func(r *gatetest.Rig) {
			r.Foreign("anna", 3)
			c := r.Foreign("bert", 3)
			r.Authority.Revoke(c.Revocation[2].Hash, gate.Revocation{Found: true, Revoked: true, Sequence: 4})
			c = r.Foreign("cleo", 3)
			r.Authority.Revoke(c.Revocation[0].Hash, gate.Revocation{})
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			for i, who := range []string{"anna", "bert", "cleo"} {
				r.At(time.Duration(10*i+2) * s)
				r.Scan(who)
			}
			r.At(24 * s)
		},
		want: `
			  2s  scan       anna
			  2s  journal    valid
			  2s  turnstile  released
			  2s  light      green
			  7s  turnstile  locked
			  7s  light      blue
			  8s  outcome    not-turned
			 12s  scan       bert
			 12s  journal    void
			 12s  light      red slow
			 15s  light      blue
			 22s  scan       cleo
			 22s  journal    list-missing
			 22s  light      amber slow`,
	},
	{
		name: "a guard admits a foreign code that is revoked by then",
		setup: func(r *gatetest.Rig) {
			c := r.Foreign("cleo", 1)
			r.Authority.Revoke(c.Revocation[0].Hash, gate.Revocation{})
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("cleo")
			r.At(9 * s)
			c, _ := r.Opener.Open([]byte("cleo"), time.Time{})
			r.Authority.Revoke(c.Revocation[0].Hash, gate.Revocation{Found: true, Revoked: true, Sequence: 1})
			noErr(t, r.Guard(gate.GuardAdmit, gate.CallConfirmed))
			r.At(13 * s)
		},
		want: `
			 2s  scan     cleo
			 2s  journal  list-missing
			 2s  light    amber slow
			 9s  journal  void
			 9s  light    red slow
			12s  light    blue`,
	},
	{
		name:  "without a contact nobody knows",
		setup: func(r *gatetest.Rig) { r.Config.PassageContact = false },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(10 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 7s  turnstile  locked
			 7s  light      blue
			 7s  outcome    unknown`,
	},
	{
		name: "refused: each light and tone",
		setup: func(r *gatetest.Rig) {
			r.Actuator.Tones = true
			r.Person("ruth", gate.Red)
			r.Person("vera", gate.Void)
			c := r.Person("xenia", gate.Green)
			r.Opener.Put("xenia", c, pass.ErrExpired)
			b := r.Bound("paula")
			b.Proof = pass.Proof{}
			r.Opener.Put("paula", b, pass.ErrProofMissing)
			r.Opener.Put("odd", nil, errors.New("a way to fail that nobody knew"))
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			for i, who := range []string{"ruth", "vera", "xenia", "paula", "garbage", "odd"} {
				r.At(time.Duration(4*i+2) * s)
				r.Scan(who)
			}
			r.At(30 * s)
		},
		want: `
			 2s  scan     ruth
			 2s  journal  red
			 2s  light    red fast
			 2s  tone     low triple
			 5s  light    blue
			 6s  scan     vera
			 6s  journal  void
			 6s  light    red slow
			 6s  tone     low long
			 9s  light    blue
			10s  scan     xenia
			10s  journal  expired
			10s  light    red slow
			10s  tone     low long
			13s  light    blue
			14s  scan     paula
			14s  journal  proof-missing
			14s  light    red fast
			14s  tone     low double
			17s  light    blue
			18s  scan     garbage
			18s  journal  unreadable
			18s  light    red slow
			18s  tone     low long
			21s  light    blue
			22s  scan     odd
			22s  light    red slow
			22s  journal  fault
			25s  light    blue`,
	},
	{
		name:  "held, and the guard admits",
		setup: func(r *gatetest.Rig) { r.Person("yan", gate.Yellow) },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("yan")
			r.At(9 * s)
			if v := r.Screen.View(); !v.GuardMayAdmit || v.Name != "y*" || v.Colour != gate.Yellow {
				t.Errorf("guard sees %+v", v)
			}
			noErr(t, r.Guard(gate.GuardAdmit, gate.CallConfirmed))
			r.At(10 * s)
			r.Turn()
			r.At(12 * s)
		},
		want: `
			 2s  scan       yan
			 2s  journal    yellow
			 2s  light      amber slow
			 9s  act        guard admit guard-1 call-confirmed
			 9s  turnstile  released
			 9s  light      green
			10s  contact    passage
			10s  turnstile  locked
			10s  light      blue
			11s  outcome    turned`,
	},
	{
		name:  "held, and the guard sends away",
		setup: func(r *gatetest.Rig) { r.Person("yan", gate.Yellow) },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("yan")
			r.At(9 * s)
			noErr(t, r.Guard(gate.GuardRefuse, gate.SentAway))
			r.At(13 * s)
		},
		want: `
			 2s  scan     yan
			 2s  journal  yellow
			 2s  light    amber slow
			 9s  light    red slow
			 9s  act      guard refuse guard-1 sent-away
			12s  light    blue`,
	},
	{
		name:  "held, and no guard comes",
		setup: func(r *gatetest.Rig) { r.Person("yan", gate.Yellow) },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("yan")
			r.At(70 * s)
		},
		want: `
			 2s  scan     yan
			 2s  journal  yellow
			 2s  light    amber slow
			1m2s light    blue
			1m2s  outcome  not-turned`,
	},
	{
		name:  "held, red by the time the guard admits",
		setup: func(r *gatetest.Rig) { r.Person("yan", gate.Yellow) },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("yan")
			r.At(9 * s)
			c, _ := r.Opener.Open([]byte("yan"), time.Time{})
			r.Authority.Recolour(c.Status, gate.Red)
			noErr(t, r.Guard(gate.GuardAdmit, gate.CallConfirmed))
			r.At(13 * s)
		},
		want: `
			 2s  scan     yan
			 2s  journal  yellow
			 2s  light    amber slow
			 9s  journal  red
			 9s  light    red fast
			12s  light    blue`,
	},
	{
		name: "a guard lets somebody pass without a code",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			noErr(t, r.Guard(gate.GuardPass, gate.NoPhone))
			r.At(3 * s)
			r.Turn()
			r.At(5 * s)
		},
		want: `
			 2s  act        guard admit guard-1 no-phone
			 2s  turnstile  released
			 2s  light      green
			 3s  contact    passage
			 3s  turnstile  locked
			 3s  light      blue
			 4s  outcome    turned`,
	},
	{
		name: "the disk is full: nobody passes by code, people pass by the guard, and all is written when there is room",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { return errors.New("no space left") })
			r.At(2 * s)
			r.Scan("alice")
			r.At(10 * s)
			noErr(t, r.Guard(gate.GuardPass, gate.Emergency))
			r.At(11 * s)
			r.Turn()
			r.At(12 * s)
			// Room again, on a disk that takes its time: what it does is told apart from the lights.
			r.Journal.Hook(func(gate.Record) error { <-time.After(100 * time.Millisecond); return nil })
			r.At(40 * s)
		},
		want: `
			2s  scan       alice
			2s  journal    error
			2s  light      red slow
			2.5s  journal    error
			3.5s  journal    error
			5.5s  journal    error
			9.5s  journal    error
			10s  turnstile  released
			10s  light      green
			11s  contact    passage
			11s  turnstile  locked
			11s  light      red slow
			17.6s  journal    valid
			17.6s  light      blue
			17.7s  act        guard admit guard-1 emergency
			17.8s  outcome    turned
			17.9s  outcome    not-turned`,
	},
	{
		name: "a guard's pass does not wait for a disk that hangs",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { <-time.After(10 * s); return nil })
			r.At(2 * s)
			noErr(t, r.Guard(gate.GuardPass, gate.Emergency))
			r.At(5 * s)
			r.Turn()
			r.Journal.Hook(nil)
			r.At(20 * s)
		},
		want: `
			 4s  turnstile  released
			 4s  light      green
			 5s  contact    passage
			 5s  turnstile  locked
			 5s  light      red slow
			12s  act        guard admit guard-1 emergency
			12s  light      blue
			12s  outcome    turned`,
	},
	{
		name: "code and permit make one passage",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Permit("permit", open(r, "alice"), "gate-west", gatetest.Zone)
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(4 * s)
			r.Scan("alice") // still before the reader
			r.At(9 * s)
			r.Scan("permit")
			r.At(10 * s)
			r.Turn()
			r.At(12 * s)
		},
		want: `
			 2s  scan       alice
			 2s  light      amber
			 4s  scan       alice
			 9s  scan       permit
			 9s  journal    valid
			 9s  turnstile  released
			 9s  light      green
			10s  contact    passage
			10s  turnstile  locked
			10s  light      blue
			11s  outcome    turned`,
	},
	{
		name:  "the permit does not come, another health code does",
		setup: func(r *gatetest.Rig) { r.Policy.PermitRequired = true },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(15 * s)
			r.Scan("bob")
			r.At(30 * s)
		},
		want: `
			 2s  scan     alice
			 2s  light    amber
			15s  scan     bob
			22s  journal  permit-needed
			22s  light    red slow
			25s  light    blue`,
	},
	{
		name: "somebody else's permit",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Permit("permit", open(r, "bob"), gatetest.Zone)
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			r.Scan("permit")
			r.At(9 * s)
		},
		want: `
			 2s  scan     alice
			 2s  light    amber
			 5s  scan     permit
			 5s  journal  permit-not-holders
			 5s  light    red slow
			 8s  light    blue`,
	},
	{
		name: "recoloured while the permit was looked for",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Permit("permit", open(r, "alice"), gatetest.Zone)
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			r.Authority.Recolour(open(r, "alice").Status, gate.Red)
			r.Scan("permit")
			r.At(9 * s)
		},
		want: `
			 2s  scan     alice
			 2s  light    amber
			 5s  scan     permit
			 5s  journal  red
			 5s  light    red fast
			 8s  light    blue`,
	},
	{
		name:  "one high reading, and the next is fine",
		setup: thermometer(gatetest.Degrees(37500), gatetest.Degrees(36700)),
		play:  scanAlice(9 * s),
		want: `
			 2s    scan       alice
			 2s    light      amber
			 3.6s  journal    valid
			 3.6s  turnstile  released
			 3.6s  light      green
			 8.6s  turnstile  locked
			 8.6s  light      blue`,
	},
	{
		name:  "fever, confirmed by a second reading",
		setup: thermometer(gatetest.Degrees(37300), gatetest.Degrees(37300)),
		play:  scanAlice(9 * s),
		want: `
			 2s    scan       alice
			 2s    light      amber
			 3.6s  journal    fever
			 3.6s  light      amber slow`,
	},
	{
		name:  "too far away twice, then at the mark",
		setup: thermometer(tooFar, tooFar),
		play:  scanAlice(9 * s),
		want: `
			 2s    scan       alice
			 2s    light      amber
			 4.9s  journal    valid
			 4.9s  turnstile  released
			 4.9s  light      green`,
	},
	{
		name:  "recoloured while the forehead was measured",
		setup: thermometer(gatetest.Degrees(37300)),
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Authority.Recolour(open(r, "alice").Status, gate.Yellow)
			r.At(5 * s)
		},
		want: `
			 2s    scan     alice
			 2s    light    amber
			 3.6s  journal  yellow
			 3.6s  light    amber slow`,
	},
	{
		name:  "the thermometer hangs, and then the next person's too",
		setup: thermometer(gatetest.Measurement{Hang: 10 * s}),
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			noErr(t, r.Guard(gate.GuardRefuse, gate.SentAway))
			r.At(9 * s)
			r.Scan("bob")
			r.At(13 * s)
		},
		want: `
			 2s  scan     alice
			 2s  light    amber
			 4s  journal  thermometer-broken
			 4s  light    amber slow
			 5s  light    red slow
			 5s  act      guard refuse guard-1 sent-away
			 8s  light    blue
			 9s  scan     bob
			 9s  journal  thermometer-broken
			 9s  light    amber slow`,
	},
	{
		name: "the disk hangs for ten seconds, and what it admits late is not released",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { <-time.After(10 * s); return nil })
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			if v := r.Screen.View(); v.State != gate.OutOfService || v.FaultCode != "journal-timeout" {
				t.Errorf("at 5s the screen shows %s %q", v.State, v.FaultCode)
			}
			r.Scan("bob")
			r.Journal.Hook(nil)
			r.At(15 * s)
			r.Scan("bob")
			r.At(16 * s)
		},
		want: `
			 2s  scan       alice
			 4s  light      red slow
			 5s  scan       bob
			12s  journal    valid
			12s  light      blue
			12s  outcome    not-turned
			15s  scan       bob
			15s  journal    valid
			15s  turnstile  released
			15s  light      green`,
	},
	{
		name: "fire, while the disk and the opener hang",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { <-time.After(10 * s); return nil })
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Fire(true)
			r.At(6 * s)
			r.Fire(false)
			r.Journal.Hook(nil)
			r.At(15 * s)
		},
		want: `
			 2s  scan       alice
			 3s  contact    fire
			 3s  turnstile  released
			 3s  exit       released
			 3s  light      green
			 6s  contact    fire over
			 6s  turnstile  locked
			 6s  exit       locked
			 6s  light      red slow
			12s  journal    valid
			12s  light      blue
			12s  act        fire
			12s  outcome    unknown
			12s  outcome    unknown`,
	},
	{
		name: "the disk refuses, and recovers",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { return errors.New("no space left") })
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Journal.Hook(nil)
			r.At(4 * s)
		},
		want: `
			 2s    scan     alice
			 2s    journal  error
			 2s    light    red slow
			 2.5s  journal  error
			 3.5s  journal  valid
			 3.5s  light    blue
			 3.5s  outcome  not-turned`,
	},
	{
		name:  "the way out by code and by button, never waiting for the disk",
		setup: func(r *gatetest.Rig) { r.Config.ExitContact = true },
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { <-time.After(s); return nil })
			r.At(2 * s)
			r.ScanExit("garbage")
			r.At(4 * s)
			r.Contact(gate.ExitContact, true)
			r.At(10 * s)
			r.Contact(gate.ExitButton, true)
			r.At(20 * s)
		},
		want: `
			 2s  scan-exit  garbage
			 2s  exit       released
			 2s  light      green
			 3s  act        exit
			 4s  contact    exit-passage
			 4s  exit       locked
			 4s  light      blue
			 5s  outcome    turned
			10s  contact    exit-button
			10s  exit       released
			10s  light      green
			11s  act        exit-button
			15s  exit       locked
			15s  light      blue
			16s  outcome    not-turned`,
	},
	{
		name: "somebody forces a locked turnstile, which is written down once a second at most",
		play: func(t *testing.T, r *gatetest.Rig) {
			for i := range 6 {
				r.At(2*s + time.Duration(i)*300*time.Millisecond)
				r.Turn()
			}
			r.At(10 * s)
		},
		want: `
			  2s  contact    passage
			  2s  act        forced
			2.3s  contact    passage
			2.6s  contact    passage
			2.9s  contact    passage
			3.2s  contact    passage
			3.2s  act        forced
			3.5s  contact    passage`,
	},
	{
		name: "somebody leaves while somebody enters",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(4 * s)
			r.ScanExit("bob")
			r.At(5 * s)
			r.Turn()
			r.At(12 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 4s  scan-exit  bob
			 4s  exit       released
			 4s  act        exit
			 5s  contact    passage
			 5s  turnstile  locked
			 6s  outcome    turned
			 9s  exit       locked
			 9s  light      blue`,
	},
	{
		name: "the way out opens although the lane is out of service",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Opener.OnOpen = func(string) { <-time.After(10 * s) }
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			r.ScanExit("bob")
			r.At(13 * s)
		},
		want: `
			 2s  scan       alice
			 4s  light      red slow
			 4s  journal    fault
			 5s  scan-exit  bob
			 5s  exit       released
			 5s  act        exit
			10s  exit       locked
			12s  light      blue`,
	},
	{
		name: "passback counts what turned, and forgets who left",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice") // does not walk through
			r.At(12 * s)
			r.Scan("alice") // an honest second try
			r.At(13 * s)
			r.Turn()
			r.At(20 * s)
			r.Scan("alice") // handed the phone back over the fence
			r.At(21 * s)
			noErr(t, r.Guard(gate.GuardRefuse, gate.SentAway))
			r.At(25 * s)
			r.ScanExit("alice")
			r.At(35 * s)
			r.Scan("alice")
			r.At(36 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 7s  turnstile  locked
			 7s  light      blue
			 8s  outcome    not-turned
			12s  scan       alice
			12s  journal    valid
			12s  turnstile  released
			12s  light      green
			13s  contact    passage
			13s  turnstile  locked
			13s  light      blue
			14s  outcome    turned
			20s  scan       alice
			20s  journal    passback
			20s  light      amber slow
			21s  light      red slow
			21s  act        guard refuse guard-1 sent-away
			24s  light      blue
			25s  scan-exit  alice
			25s  exit       released
			25s  light      green
			25s  act        exit
			30s  exit       locked
			30s  light      blue
			35s  scan       alice
			35s  journal    valid
			35s  turnstile  released
			35s  light      green`,
	},
	{
		name: "a proof lets one person through, and an honest second try",
		setup: func(r *gatetest.Rig) {
			r.Bound("dora")
			r.Policy.PassbackWindow = 0
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("dora")
			r.At(12 * s)
			r.Scan("dora")
			r.At(13 * s)
			r.Turn()
			r.At(20 * s)
			r.Scan("dora")
			r.At(24 * s)
		},
		want: `
			 2s  scan       dora
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 7s  turnstile  locked
			 7s  light      blue
			 8s  outcome    not-turned
			12s  scan       dora
			12s  journal    valid
			12s  turnstile  released
			12s  light      green
			13s  contact    passage
			13s  turnstile  locked
			13s  light      blue
			14s  outcome    turned
			20s  scan       dora
			20s  journal    replayed
			20s  light      red fast
			23s  light      blue`,
	},
	{
		name: "recoloured between two scans",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(9 * s)
			r.Authority.Recolour(open(r, "alice").Status, gate.Red)
			r.At(12 * s)
			r.Scan("alice")
			r.At(13 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 7s  turnstile  locked
			 7s  light      blue
			 8s  outcome    not-turned
			12s  scan       alice
			12s  journal    red
			12s  light      red fast`,
	},
	{
		name: "the actuator fails, and recovers",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Actuator.Hook(func(o gate.Outputs) error {
				if o.Entry || o.View.State == gate.OutOfService {
					return errors.New("relay does not move")
				}
				return nil
			})
			r.At(2 * s)
			r.Scan("alice")
			r.At(2600 * time.Millisecond)
			r.Actuator.Hook(nil)
			r.At(5 * s)
		},
		want: `
			 2s    scan      alice
			 2s    journal   valid
			 2s    actuator  error
			 2s    actuator  error
			 2.5s  actuator  error
			 3s    light     red slow
			 3s    light     blue
			 3s    outcome   not-turned`,
	},
	{
		name: "the lane is stopped while it is released",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			noErr(t, r.Stop())
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 3s  turnstile  locked
			 3s  light      red slow
			 3s  light      red
			 3s  outcome    not-turned`,
	},
	{
		name: "the lane is stopped while a decision is on its way to the disk",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.Journal.Hook(func(gate.Record) error { <-time.After(500 * time.Millisecond); return nil })
			r.At(2 * s)
			r.Scan("alice")
			noErr(t, r.Stop())
		},
		want: `
			 2s    scan     alice
			 2s    light    red slow
			 2.5s  journal  valid
			 3s    light    red
			 3s    outcome  not-turned`,
	},
	{
		name: "a fire at the first moment, and everything but the input hangs",
		setup: func(r *gatetest.Rig) {
			r.Opener.OnOpen = func(string) { <-time.After(10 * s) }
			r.Thermometer = &gatetest.Thermometer{Takes: 10 * s}
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.Fire(true)
			r.At(30 * s)
			r.Scan("bob")
			r.Fire(false)
			r.At(40 * s)
		},
		want: `
			 2s  scan       alice
			 2s  contact    fire
			 2s  turnstile  released
			 2s  exit       released
			 2s  light      green
			 2s  act        fire
			30s  scan       bob
			30s  contact    fire over
			30s  turnstile  locked
			30s  exit       locked
			30s  light      blue
			30s  outcome    unknown`,
	},
	{
		name: "the permit is for another zone, and comes after the time",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Permit("permit", open(r, "alice"), "gate-west")
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			r.Scan("permit")
			r.At(12 * s)
			r.Scan("bob")
			r.At(36 * s)
			r.Scan("permit")
			r.At(40 * s)
		},
		want: `
			 2s  scan     alice
			 2s  light    amber
			 5s  scan     permit
			 5s  journal  permit-wrong-zone
			 5s  light    red slow
			 8s  light    blue
			12s  scan     bob
			12s  light    amber
			32s  journal  permit-needed
			32s  light    red slow
			35s  light    blue
			36s  scan     permit
			36s  journal  malformed
			36s  light    red slow
			39s  light    blue`,
	},
	{
		name: "the clock leaps by decades, and no deadline with it",
		setup: func(r *gatetest.Rig) {
			r.Person("yan", gate.Yellow)
			r.Policy.PermitRequired = true
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			// A disk that takes its time, so that what it does is told apart from the lights.
			r.Journal.Hook(func(gate.Record) error { <-time.After(100 * time.Millisecond); return nil })
			r.At(2 * s)
			noErr(t, r.Guard(gate.GuardPass, gate.NoPhone))
			r.At(3 * s)
			r.Clock.Leap(50 * 365 * 24 * time.Hour)
			r.At(10 * s)
			r.Contact(gate.ExitButton, true)
			r.At(11 * s)
			r.Clock.Leap(-50 * 365 * 24 * time.Hour)
			r.At(20 * s)
			r.Scan("alice")
			r.At(21 * s)
			r.Clock.Leap(-50 * 365 * 24 * time.Hour)
			r.At(50 * s)
			r.Clock.Leap(50 * 365 * 24 * time.Hour)
			r.Scan("yan")
			r.At(51 * s)
			r.Clock.Leap(50 * 365 * 24 * time.Hour)
			r.At(120 * s)
		},
		want: `
			2.1s  act        guard admit guard-1 no-phone
			2.1s  turnstile  released
			2.1s  light      green
			7.1s  turnstile  locked
			7.1s  light      blue
			7.2s  journal    key
			8.2s  outcome    not-turned
			10s  contact    exit-button
			10s  exit       released
			10s  light      green
			10.1s  act        exit-button
			12.1s  journal    key
			15s  exit       locked
			15s  light      blue
			20s  scan       alice
			20s  light      amber
			40.1s  journal    permit-needed
			40.1s  light      red slow
			43.1s  light      blue
			43.2s  journal    key
			50s  scan       yan
			50.1s  journal    key
			50.2s  journal    yellow
			50.2s  light      amber slow
			1m50.2s  light      blue
			1m50.3s  outcome    not-turned
			1m50.4s  journal    key`,
	},
	{
		name: "midnight while somebody is held: one person, one pseudonym",
		setup: func(r *gatetest.Rig) {
			r.Person("yan", gate.Yellow)
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(16*time.Hour - 10*s)
			r.Scan("yan")
			r.At(16*time.Hour + 10*s)
			noErr(t, r.Guard(gate.GuardAdmit, gate.CallConfirmed))
			r.At(16*time.Hour + 12*s)
			r.Turn()
			r.At(16*time.Hour + 20*s)
			r.Scan("yan") // passback does not reach across midnight
			r.At(16*time.Hour + 21*s)
			records := r.Journal.Records()
			var who [][]byte
			for _, rec := range records {
				if rec.Kind == gate.DecisionRecord || rec.Kind == gate.ActRecord {
					who = append(who, rec.Sealed.Pseudonym)
				}
			}
			if len(who) != 3 || string(who[0]) != string(who[1]) || string(who[1]) == string(who[2]) {
				t.Errorf("pseudonyms %x", who)
			}
		},
		want: `
			15h59m50s  scan       yan
			15h59m50s  journal    yellow
			15h59m50s  light      amber slow
			16h0m10s   act        guard admit guard-1 call-confirmed
			16h0m10s   turnstile  released
			16h0m10s   light      green
			16h0m12s   contact    passage
			16h0m12s   turnstile  locked
			16h0m12s   light      blue
			16h0m12s   journal    key
			16h0m13s   outcome    turned
			16h0m20s   scan       yan
			16h0m20s   journal    yellow
			16h0m20s   light      amber slow`,
	},
	{
		name: "during a fire nobody counts who leaves",
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Turn()
			r.At(5 * s)
			r.Fire(true)
			r.At(60 * s)
			r.Fire(false)
			r.At(70 * s)
			r.Scan("alice")
			r.At(71 * s)
		},
		want: `
			 2s    scan       alice
			 2s    journal    valid
			 2s    turnstile  released
			 2s    light      green
			 3s    contact    passage
			 3s    turnstile  locked
			 3s    light      blue
			 4s    outcome    turned
			 5s    contact    fire
			 5s    turnstile  released
			 5s    exit       released
			 5s    light      green
			 5s    act        fire
			1m0s   contact    fire over
			1m0s   turnstile  locked
			1m0s   exit       locked
			1m0s   light      blue
			1m0s   outcome    unknown
			1m10s  scan       alice
			1m10s  journal    valid
			1m10s  turnstile  released
			1m10s  light      green`,
	},
	{
		name: "the first leaves, and the next shows code and permit in the first one's time",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Permit("alice's permit", open(r, "alice"), gatetest.Zone)
			r.Permit("bob's permit", open(r, "bob"), gatetest.Zone)
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(5 * s)
			r.Scan("bob")
			if v := r.Screen.View(); v.State != gate.AwaitPermit || v.Name != "a*" {
				t.Errorf("at 5s the screen shows %s to %s", v.State, v.Name)
			}
			r.At(7 * s)
			r.Scan("bob's permit") // nobody passes on two people's codes
			r.At(12 * s)
			r.Scan("bob")
			r.At(14 * s)
			r.Scan("bob's permit")
			r.At(15 * s)
			r.Turn()
			r.At(20 * s)
			r.Scan("alice") // and bob's passage left nothing on alice
			r.At(22 * s)
			r.Scan("alice's permit")
			r.At(23 * s)
		},
		want: `
			 2s  scan       alice
			 2s  light      amber
			 5s  scan       bob
			 7s  scan       bob's permit
			 7s  journal    permit-not-holders
			 7s  light      red slow
			10s  light      blue
			12s  scan       bob
			12s  light      amber
			14s  scan       bob's permit
			14s  journal    valid
			14s  turnstile  released
			14s  light      green
			15s  contact    passage
			15s  turnstile  locked
			15s  light      blue
			16s  outcome    turned
			20s  scan       alice
			20s  light      amber
			22s  scan       alice's permit
			22s  journal    valid
			22s  turnstile  released
			22s  light      green`,
	},
	{
		name: "a gate without a zone, under a policy that asks for permits",
		setup: func(r *gatetest.Rig) {
			r.Policy.PermitRequired = true
			r.Config.Zone = ""
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green`,
	},
	{
		name: "fire and the way out, while the screen and the log hang",
		setup: func(r *gatetest.Rig) {
			r.Screen.OnShow = func(gate.View) { <-time.After(10 * time.Minute) }
			r.Log = hanging{}
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			r.Contact(gate.Tamper, true)
			r.Contact(gate.ExitButton, true)
			r.At(20 * s)
			r.Fire(true)
			r.At(21 * s)
		},
		want: `
			 2s  scan       alice
			 2s  journal    valid
			 2s  turnstile  released
			 2s  light      green
			 3s  contact    tamper
			 3s  contact    exit-button
			 3s  exit       released
			 3s  act        exit-button
			 7s  turnstile  locked
			 8s  exit       locked
			 8s  light      blue
			 8s  outcome    not-turned
			20s  contact    fire
			20s  turnstile  released
			20s  exit       released
			20s  light      green
			20s  act        fire`,
		hangs: true,
	},
	{
		name: "the clock is not set, and a dynamic code needs more than the floor",
		setup: func(r *gatetest.Rig) {
			r.Clock.Grade(gate.ClockUnset)
			r.Bound("dora")
		},
		play: func(t *testing.T, r *gatetest.Rig) {
			r.At(2 * s)
			r.Scan("alice")
			r.At(3 * s)
			noErr(t, r.Guard(gate.GuardRefuse, gate.SentAway))
			r.Clock.Grade(gate.ClockFloor)
			r.At(7 * s)
			r.Scan("dora")
			r.At(8 * s)
		},
		want: `
			 2s  scan     alice
			 2s  journal  clock-unset
			 2s  light    amber slow
			 3s  light    red slow
			 3s  act      guard refuse guard-1 sent-away
			 6s  light    blue
			 7s  scan     dora
			 7s  journal  clock-unset
			 7s  light    amber slow`,
	},
}

func TestStories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := gatetest.NewRig(t)
				if story.setup != nil {
					story.setup(r)
				}
				r.Start()
				story.play(t, r)
				r.Check(story.want)
				stopped := r.Lane.Outputs().View.FaultCode == "stopped"
				if !stopped {
					if err := r.Stop(); (err != nil) != story.hangs {
						t.Errorf("Run: %v", err)
					}
					if story.hangs {
						<-time.After(24 * time.Hour)
					}
				}
				if o := r.Actuator.Outputs(); o.Entry || o.Exit || o.Light != (gate.Light{}) {
					t.Errorf("after Run the actuator stands at %+v", o)
				}
				checkOutcomes(t, r.Journal.Records())
			})
		})
	}
}

// checkOutcomes demands exactly one outcome for each decision that admits, and
// for each admission by a guard.
func checkOutcomes(t *testing.T, records []gate.Record) {
	t.Helper()
	outcomes := map[uint64]int{}
	for _, r := range records {
		if r.Kind == gate.OutcomeRecord {
			outcomes[r.Of]++
		}
	}
	for i, r := range records {
		admits := r.Verdict == gate.Admit &&
			(r.Kind == gate.DecisionRecord || r.Kind == gate.ActRecord && r.Reason == gate.ByGuard)
		if n := outcomes[uint64(i+1)]; admits && n != 1 {
			t.Errorf("record %d (%s %s) has %d outcomes, want 1", i+1, r.Kind, r.Reason, n)
		}
	}
}

// hanging is where a log goes whose reader hangs.
type hanging struct{}

func (hanging) Write(p []byte) (int, error) {
	<-time.After(10 * time.Minute)
	return len(p), nil
}

var tooFar = gatetest.Measurement{Reading: gate.Reading{Object: 27000, Adjusted: 27000, Ambient: 22000, TooFar: true}}

// thermometer gives the rig one that takes 300 ms and reads these first.
func thermometer(script ...gatetest.Measurement) func(*gatetest.Rig) {
	return func(r *gatetest.Rig) {
		r.Thermometer = &gatetest.Thermometer{Takes: 300 * time.Millisecond}
		r.Thermometer.Script(script...)
	}
}

func scanAlice(until time.Duration) func(*testing.T, *gatetest.Rig) {
	return func(t *testing.T, r *gatetest.Rig) {
		r.At(2 * s)
		r.Scan("alice")
		r.At(until)
	}
}

func open(r *gatetest.Rig, raw string) *pass.Credential {
	c, err := r.Opener.Open([]byte(raw), time.Time{})
	if err != nil {
		panic(err)
	}
	return c
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestGuardErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Person("yan", gate.Yellow)
		r.Person("ruth", gate.Red)
		r.Start()
		act := func(a gate.GuardAct) error { return r.Lane.Guard(context.Background(), a) }
		want := func(got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		want(r.Guard(gate.GuardAdmit, gate.CallConfirmed), gate.ErrNothingHeld)
		want(act(gate.GuardAct{Action: gate.GuardPass, Reason: "because", Guard: "g"}), gate.ErrNotAllowed)
		want(act(gate.GuardAct{Action: gate.GuardPass, Reason: gate.NoPhone}), gate.ErrNotAllowed)
		want(act(gate.GuardAct{Action: gate.GuardPass, Reason: gate.SentAway, Guard: "g"}), gate.ErrNotAllowed)
		want(act(gate.GuardAct{Action: 9, Reason: gate.NoPhone, Guard: "g"}), gate.ErrNotAllowed)

		r.Scan("yan")
		seen := r.Screen.View().Count
		want(r.Guard(gate.GuardPass, gate.NoPhone), gate.ErrNotAllowed)
		want(act(gate.GuardAct{Action: gate.GuardAdmit, Reason: gate.CallConfirmed, Guard: "g", Count: seen - 1}), gate.ErrViewChanged)
		want(act(gate.GuardAct{Action: gate.GuardAdmit, Reason: gate.CallConfirmed, Guard: "g", Count: seen + 1}), gate.ErrViewChanged)
		// Another view of the same hold is still the same person.
		r.Scan("bob")
		if v := r.Screen.View(); v.Count == seen || len(v.Decision.Notices) != 1 || v.Decision.Notices[0] != gate.Busy {
			t.Errorf("a second scan shows %+v", v)
		}
		want(act(gate.GuardAct{Action: gate.GuardRefuse, Reason: gate.SentAway, Guard: "g", Count: seen}), nil)
		synctest.Wait()
		<-time.After(4 * s)

		r.Scan("ruth")
		want(r.Guard(gate.GuardAdmit, gate.CallConfirmed), gate.ErrNotAllowed)
		<-time.After(4 * s)
		p := r.Policy
		p.RedOverride = true
		r.Authority.SetPolicy(p)
		r.Scan("ruth")
		if !r.Screen.View().GuardMayAdmit {
			t.Error("with RedOverride the guard may not admit")
		}
		want(r.Guard(gate.GuardAdmit, gate.CallConfirmed), nil)
		if got := r.Screen.View(); got.State != gate.Released {
			t.Errorf("state %s, want released", got.State)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		want(r.Guard(gate.GuardPass, gate.NoPhone), gate.ErrNotRunning)
	})
}

// The day's key is on disk before the first decision under it, and a new day
// brings a new one.
func TestDayKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Start()
		r.Scan("alice")
		r.At(20 * time.Hour)
		r.Scan("alice")
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		var kinds []gate.RecordKind
		var keys, names [][]byte
		for _, rec := range r.Journal.Records() {
			kinds = append(kinds, rec.Kind)
			switch rec.Kind {
			case gate.KeyRecord:
				keys = append(keys, rec.Sealed.DayKey)
			case gate.DecisionRecord:
				names = append(names, rec.Sealed.Pseudonym)
				if rec.Of != 0 || rec.List != 7 || rec.Sealed.CodeKind != "static" || rec.Sealed.Colour != gate.Green || rec.Sealed.Region != "330106" {
					t.Errorf("record %+v", rec)
				}
			}
		}
		want := []gate.RecordKind{"key", "decision", "outcome", "key", "decision", "outcome"}
		if len(kinds) != len(want) {
			t.Fatalf("records %v, want %v", kinds, want)
		}
		for i := range want {
			if kinds[i] != want[i] {
				t.Fatalf("records %v, want %v", kinds, want)
			}
		}
		if len(keys[0]) != 32 || string(keys[0]) == string(keys[1]) {
			t.Errorf("day keys %x", keys)
		}
		if len(names[0]) != 16 || string(names[0]) == string(names[1]) {
			t.Errorf("pseudonyms %x of two days", names)
		}
		if r.Beats < 20*3600/2 {
			t.Errorf("%d beats in 20 hours", r.Beats)
		}
	})
}

// A flood of scans neither blocks a reader nor hides a fire.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Opener.OnOpen = func(string) { <-time.After(500 * time.Millisecond) }
		r.Start()
		for range 10_000 {
			r.Lane.Scan(gate.Scan{Raw: make([]byte, 5000), At: time.Now()})
		}
		r.Lane.Input(gate.Input{Contact: gate.FireInput, Active: true, At: time.Now()})
		r.Lane.Input(gate.Input{Contact: gate.FireInput, Active: false, At: time.Now()})
		synctest.Wait()
		c := r.Lane.Counters()
		if c.Fires != 1 {
			t.Errorf("%d fires, want 1: a short one counts", c.Fires)
		}
		if c.Scans+c.Dropped != 10_000 {
			t.Errorf("%d scans and %d dropped, want 10000 together", c.Scans, c.Dropped)
		}
		r.At(2 * s)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A fire is never lost, although so many other events wait that some are.
func TestFireAmongInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Opener.OnOpen = func(string) {
			for range 1000 {
				r.Lane.Input(gate.Input{Contact: gate.Tamper, Active: true, At: time.Now()})
			}
			r.Lane.Input(gate.Input{Contact: gate.FireInput, Active: true, At: time.Now()})
		}
		r.Start()
		r.Scan("alice")
		if v := r.Lane.Outputs().View; v.State != gate.FireOpen {
			t.Errorf("state %s", v.State)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// The guard sees who is held although the lights hang, and that they do.
func TestHeldWhileActuatorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Person("yan", gate.Yellow)
		r.Start()
		r.Actuator.Hook(func(gate.Outputs) error { <-time.After(5 * s); return nil })
		r.At(2 * s)
		r.Scan("yan")
		r.At(3 * s)
		if v := r.Screen.View(); v.State != gate.Held || v.FaultCode != "actuator-timeout" {
			t.Errorf("at 3s the screen shows %s %q", v.State, v.FaultCode)
		}
		r.Actuator.Hook(nil)
		r.At(8 * s)
		if v := r.Screen.View(); v.State != gate.Held || v.FaultCode != "" {
			t.Errorf("at 8s the screen shows %s %q", v.State, v.FaultCode)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A screen and a log that were slow for a while: the screen ends at the latest
// view, and the log says what it lacks.
func TestSlowScreenAndLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		log := &slowLog{until: time.Now().Add(time.Hour)}
		r.Log = log
		r.Screen.OnShow = func(gate.View) { <-time.After(time.Until(log.until)) }
		r.Start()
		for i := range 500 {
			r.At(time.Duration(i) * 6 * s)
			r.Contact(gate.Tamper, true)
			r.Contact(gate.ExitButton, true)
		}
		r.At(2 * time.Hour)
		if got, want := r.Screen.View(), r.Lane.Outputs().View; got.Count != want.Count {
			t.Errorf("the screen shows view %d, the latest is %d", got.Count, want.Count)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.text.String(), "housing"); n < 200 || n >= 500 || !strings.Contains(log.text.String(), "lines of the log lost") {
			t.Errorf("%d lines of 500, and the end is %.200q", n, log.text.String()[max(0, log.text.Len()-200):])
		}
	})
}

// slowLog hangs until a moment.
type slowLog struct {
	until time.Time
	text  strings.Builder
}

func (l *slowLog) Write(p []byte) (int, error) {
	<-time.After(time.Until(l.until))
	return l.text.Write(p)
}

// A part that panics is a fault, not the end of the lane.
func TestPanickingParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Start()
		r.Opener.OnOpen = func(raw string) { panic("while opening " + raw) }
		r.Scan("alice")
		if v := r.Screen.View(); v.State != gate.Refused || v.Decision.Reason != gate.Fault || v.FaultCode != "internal" {
			t.Errorf("view %+v", v)
		}
		r.At(4 * s)
		r.Opener.OnOpen = nil
		r.Journal.Hook(func(gate.Record) error { panic("no disk") })
		r.Scan("bob")
		if v := r.Screen.View(); v.State != gate.OutOfService || v.FaultCode != "journal-error" {
			t.Errorf("view %+v", v)
		}
		r.Journal.Hook(nil)
		r.At(6 * s)
		if v := r.Screen.View(); v.State != gate.Idle {
			t.Errorf("view %+v", v)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Run tells when the actuator did not confirm the safe outputs.
func TestStopWithHangingActuator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Start()
		r.Actuator.Hook(func(gate.Outputs) error { <-time.After(30 * s); return nil })
		r.Scan("alice")
		r.At(s)
		if v := r.Screen.View(); v.State != gate.OutOfService || v.FaultCode != "actuator-timeout" {
			t.Errorf("view %+v", v)
		}
		if err := r.Stop(); err == nil {
			t.Error("Run returned nil")
		}
		if r.Lane.Outputs().Entry {
			t.Error("outputs released")
		}
		<-time.After(60 * s)
	})
}

func TestDecisionEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Opener.OnOpen = func(string) { <-time.After(30 * time.Millisecond) }
		r.Journal.OnAppend = func(gate.Record) error { <-time.After(20 * time.Millisecond); return nil }
		r.Actuator.OnApply = func(gate.Outputs) error { <-time.After(5 * time.Millisecond); return nil }
		r.Start()
		r.At(s)
		r.Scan("alice")
		r.At(2 * s)
		if len(r.Events) != 1 {
			t.Fatalf("events %+v", r.Events)
		}
		e := r.Events[0]
		if e.Decision.Reason != gate.Valid || e.Sequence != 2 ||
			e.Decided.Sub(e.Scanned) != 30*time.Millisecond ||
			e.Durable.Sub(e.Decided) != 20*time.Millisecond ||
			e.Applied.Sub(e.Durable) != 5*time.Millisecond {
			t.Errorf("event %+v", e)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A second person leaves while the way out still stands open for the first:
// the actuator hears of it, or a controller that counts pulses would keep the
// second one in.
func TestOverlappingExitsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gatetest.NewRig(t)
		r.Start()
		r.At(2 * s)
		r.Contact(gate.ExitButton, true)
		r.At(3 * s)
		if o := r.Actuator.Outputs(); !o.Exit || o.Exits != 1 {
			t.Fatalf("after the first: exit %v, release %d", o.Exit, o.Exits)
		}
		r.Contact(gate.ExitButton, false)
		r.Contact(gate.ExitButton, true)
		r.At(4 * s)
		if o := r.Actuator.Outputs(); !o.Exit || o.Exits != 2 {
			t.Fatalf("after the second: exit %v, release %d", o.Exit, o.Exits)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}
