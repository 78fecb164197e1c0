package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"greengate/gate"
	"greengate/sync/hub"
)

// visit is one person at the gate, and what must come of it.
type visit struct {
	who    string
	reader string // serial or camera
	code   func() (string, error)
	permit string
	// object temperatures in thousandths of a degree: the first reading, and the second where there is one.
	object, second gate.MilliCelsius
	verdict        gate.Verdict
	reason         gate.Reason
	// guard resolves a hold.
	guard  string // "admit" or "refuse"
	why    gate.GuardReason
	noWalk bool
}

// now presents a holder's code as it is at this moment.
func now(h *holder) func() (string, error) {
	return func() (string, error) { return h.present(time.Now()) }
}

// fixed presents the same bytes whenever it is shown.
func fixed(code string) func() (string, error) {
	return func() (string, error) { return code, nil }
}

const normal gate.MilliCelsius = 36500

// meet lets one person come to the gate, prints the line, and counts what was not as expected.
func (d *demo) meet(ctx context.Context, v visit) error {
	if err := d.lane.state(ctx, 30*time.Second, gate.Idle); err != nil {
		return err
	}
	if v.object == 0 {
		v.object = normal
	}
	if err := d.lane.do(command{Do: "temperature", Object: v.object, Ambient: 23000}); err != nil {
		return err
	}
	code, err := v.code()
	if err != nil {
		return err
	}
	if err := d.scan(v.reader, code, 0); err != nil {
		return err
	}
	shown := code
	var times *gate.DecisionEvent
	var failed error
	final := func(s gate.State) bool { return s == gate.Released || s == gate.Refused || s == gate.Held }
	decided := func(e event) bool {
		if e.Times != nil {
			times = e.Times
		}
		if e.View != nil {
			switch {
			case e.View.State == gate.AwaitPermit && v.permit != "" && shown != v.permit:
				shown = v.permit
				failed = d.scan(v.reader, shown, 0)
			case e.View.State == gate.MeasureAgain && v.second != 0:
				failed = d.lane.do(command{Do: "temperature", Object: v.second, Ambient: 23000})
			}
		}
		return failed != nil || final(d.lane.view.State) && times != nil
	}
	for turns, end := 0, time.Now().Add(15*time.Second); ; {
		err := d.lane.until(ctx, 1500*time.Millisecond, "a verdict for "+v.who, decided)
		if err := errors.Join(err, failed); err != nil && (!errors.Is(err, errLate) || time.Now().After(end)) {
			return err
		}
		if err == nil {
			break
		}
		// One picture in fifty is not read, where something in it looks like a
		// corner of the code: people then turn what they hold.
		waits := d.lane.view.State == gate.Idle || d.lane.view.State == gate.AwaitPermit && shown == v.permit
		if v.reader == "camera" && waits && d.looked() {
			turns++
			d.say("%50s the camera did not read it; it is turned and shown again", "")
			if err := d.scan(v.reader, shown, turns); err != nil {
				return err
			}
		}
	}
	d.report(v, d.lane.view, times)
	switch view := d.lane.view; {
	case view.State == gate.Released && !v.noWalk:
		return d.walk(ctx)
	case view.State == gate.Held && v.guard != "":
		if err := d.post(ctx, "/guard/act", map[string]any{"action": v.guard, "reason": v.why, "count": view.Count}); err != nil {
			return fmt.Errorf("guard: %w", err)
		}
		if v.guard == "refuse" {
			return d.lane.state(ctx, 10*time.Second, gate.Refused, gate.Idle)
		}
		if err := d.lane.state(ctx, 10*time.Second, gate.Released); err != nil {
			return err
		}
		d.say("%50s the guard lets the person through (%s)", "", v.why)
		return d.walk(ctx)
	}
	return nil
}

// walk is the person going through.
func (d *demo) walk(ctx context.Context) error {
	if err := d.lane.do(command{Do: "walk"}); err != nil {
		return err
	}
	if err := d.lane.until(ctx, 10*time.Second, "a step through the gate", func(e event) bool { return e.Done == "walk" }); err != nil {
		return err
	}
	return d.lane.state(ctx, 10*time.Second, gate.Idle)
}

func (d *demo) heading() {
	d.say("\n%-34s %-8s %-8s %-8s %-6s  %-7s %-18s %9s", "who", "reader", "code", "colour", "°C", "verdict", "reason", "scan→gate")
	d.say("%s", strings.Repeat("─", 106))
}

// report prints the line of one person.
func (d *demo) report(v visit, view gate.View, times *gate.DecisionEvent) {
	d.people++
	temperature, kind, colour := "–", view.Kind, view.Colour.String()
	if view.Reading != nil {
		temperature = view.Reading.Adjusted.String()
	}
	if kind == "" {
		kind = "–"
	}
	if view.Colour == gate.StatusUnknown {
		colour = "–"
	}
	took := times.Applied.Sub(times.Scanned)
	mark := ""
	if view.Decision.Verdict != v.verdict || view.Decision.Reason != v.reason {
		d.failures++
		mark = fmt.Sprintf("  ✗ expected %s %s", v.verdict, v.reason)
	}
	if d.slowest < took && view.Reading == nil && view.Decision.Reason != gate.PermitNeeded {
		d.slowest = took
	}
	d.say("%-34s %-8s %-8s %-8s %-6s  %s %-18s %6.1f ms%s", v.who, v.reader, kind, colour, temperature,
		d.painted(view.Decision.Verdict), view.Decision.Reason, float64(took.Microseconds())/1000, mark)
}

// painted is a verdict in its colour where a person looks, seven columns wide.
func (d *demo) painted(v gate.Verdict) string {
	text := fmt.Sprintf("%-7s", v)
	if !d.colours {
		return text
	}
	return map[gate.Verdict]string{gate.Admit: "\x1b[1;32m", gate.Hold: "\x1b[1;33m", gate.Refuse: "\x1b[1;31m"}[v] + text + "\x1b[0m"
}

// play is the scripted queue.
func (d *demo) play(ctx context.Context) error {
	people := map[string]*holder{}
	for _, o := range []order{
		{name: "王建明", kind: "dynamic", colour: "green", permit: true},
		{name: "李秀英", kind: "paper", colour: "green", permit: true},
		{name: "陈静", kind: "static", colour: "green", permit: true},
		{name: "刘洋", kind: "dynamic", colour: "yellow"},
		{name: "张伟", kind: "static", colour: "red"},
		{name: "赵磊", kind: "static", colour: "green", valid: 2 * time.Second},
		{name: "孙丽", kind: "dynamic", colour: "green", permit: true},
		{name: "周杰", kind: "dynamic", colour: "green", permit: true},
		{name: "吴敏", kind: "dynamic", colour: "green", permit: true},
		{name: "郑强", kind: "dynamic", colour: "green"},
		{name: "冯涛", kind: "dynamic", colour: "green"},
		{name: "温州来", kind: "static", colour: "green", region: "330382"},
		{name: "绍兴来", kind: "static", colour: "green", region: "330624", permit: true},
		{name: "离线一", kind: "dynamic", colour: "green", permit: true},
		{name: "离线二", kind: "paper", colour: "green", permit: true},
		{name: "离线三", kind: "dynamic", colour: "green", permit: true},
		{name: "断电", kind: "dynamic", colour: "green", permit: true},
	} {
		h, err := d.issue(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		people[o.name] = h
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	first := people["王建明"]
	shot, err := first.present(time.Now())
	if err != nil {
		return err
	}
	old, err := people["孙丽"].present(time.Now().Add(-5 * time.Minute))
	if err != nil {
		return err
	}
	forged, err := forge(people["陈静"].code)
	if err != nil {
		return err
	}
	selfMade, err := selfIssue(people["陈静"].status)
	if err != nil {
		return err
	}

	d.heading()
	if err := d.queue(ctx, []visit{
		{who: "green, dynamic, permit", reader: "serial", code: fixed(shot), permit: first.permit, verdict: gate.Admit, reason: gate.Valid},
		{who: "green, on paper, by camera", reader: "camera", code: now(people["李秀英"]), permit: people["李秀英"].permit, verdict: gate.Admit, reason: gate.Valid},
		{who: "yellow", reader: "camera", code: now(people["刘洋"]), verdict: gate.Hold, reason: gate.YellowCode, guard: "refuse", why: gate.SentAway},
		{who: "red", reader: "serial", code: now(people["张伟"]), verdict: gate.Refuse, reason: gate.RedCode},
		{who: "expired", reader: "serial", code: now(people["赵磊"]), verdict: gate.Refuse, reason: gate.Expired},
		{who: "forged: one bit of a green one", reader: "camera", code: fixed(forged), verdict: gate.Refuse, reason: gate.BadSignature},
		{who: "forged: a key of one's own", reader: "serial", code: fixed(selfMade), verdict: gate.Refuse, reason: gate.UnknownKey},
		{who: "an advertisement", reader: "serial", code: fixed("https://example.com/free-masks"), verdict: gate.Refuse, reason: gate.Unreadable},
		{who: "half a code", reader: "serial", code: fixed(first.code[:len(first.code)/2]), verdict: gate.Refuse, reason: gate.Malformed},
		{who: "screenshot of five minutes ago", reader: "camera", code: fixed(old), verdict: gate.Refuse, reason: gate.ProofStale},
		{who: "screenshot of the first one", reader: "serial", code: fixed(shot), verdict: gate.Refuse, reason: gate.Replayed},
		{who: "the holder's proof stripped off", reader: "serial", code: fixed(people["孙丽"].code), verdict: gate.Refuse, reason: gate.ProofMissing},
		{who: "fever", reader: "serial", code: now(people["孙丽"]), permit: people["孙丽"].permit, object: 38400, second: 38300, verdict: gate.Hold, reason: gate.Fever, guard: "admit", why: gate.SecondDevice},
		{who: "warm from the sun, measured again", reader: "serial", code: now(people["周杰"]), permit: people["周杰"].permit, object: 37600, second: 36700, verdict: gate.Admit, reason: gate.Valid},
		{who: "no permit", reader: "serial", code: now(people["郑强"]), verdict: gate.Refuse, reason: gate.PermitNeeded},
		{who: "another person's permit", reader: "serial", code: now(people["冯涛"]), permit: people["吴敏"].permit, verdict: gate.Refuse, reason: gate.PermitNotHolders},
		{who: "from a county in red on the map", reader: "camera", code: now(people["温州来"]), verdict: gate.Hold, reason: gate.RiskHighRegion, guard: "refuse", why: gate.SentAway},
		{who: "from a county in yellow", reader: "serial", code: now(people["绍兴来"]), permit: people["绍兴来"].permit, verdict: gate.Admit, reason: gate.RiskMediumRegion},
		{who: "the first one, twice in a row", reader: "serial", code: now(first), verdict: gate.Hold, reason: gate.Passback, guard: "refuse", why: gate.SentAway},
	}); err != nil {
		return err
	}
	if err := d.revoked(ctx, people["陈静"]); err != nil {
		return err
	}
	if err := d.newer(ctx); err != nil {
		return err
	}
	if err := d.leave(ctx); err != nil {
		return err
	}
	if err := d.killed(ctx, people["断电"]); err != nil {
		return err
	}
	if err := d.offline(ctx, []*holder{people["离线一"], people["离线二"], people["离线三"]}); err != nil {
		return err
	}
	if err := d.reconcile(ctx); err != nil {
		return err
	}
	d.say("\n%d people; slowest verdict without permit or thermometer: %.1f ms", d.people, float64(d.slowest.Microseconds())/1000)
	if d.failures > 0 {
		return fmt.Errorf("%d of %d verdicts were not the expected ones", d.failures, d.people)
	}
	d.say("every verdict was the expected one, and every record is at the hub exactly once")
	return nil
}

func (d *demo) queue(ctx context.Context, visits []visit) error {
	for _, v := range visits {
		if err := d.meet(ctx, v); err != nil {
			return fmt.Errorf("%s: %w", v.who, err)
		}
	}
	return nil
}

// publish makes the hub's changes visible and waits until the gate has them.
func (d *demo) publish(ctx context.Context) error {
	if _, err := d.hub.Publish(ctx); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	lists, err := d.hub.Lists(ctx)
	if err != nil {
		return err
	}
	return d.eventually(ctx, 20*time.Second, "the gate has the lists", func() error {
		s, err := d.control.Status(ctx)
		if err != nil {
			return err
		}
		have := map[string]uint64{}
		for _, l := range s.Lists {
			have[l.URI] = l.Sequence
		}
		for _, l := range lists {
			if have[l.URI] < l.Sequence {
				return fmt.Errorf("list %s is at %d, published is %d; %s", l.URI, have[l.URI], l.Sequence, s.Trust.LastError)
			}
		}
		return nil
	})
}

// revoked is a code made void a moment before it is shown.
func (d *demo) revoked(ctx context.Context, h *holder) error {
	if _, err := d.hub.Revoke(ctx, hub.RevokeRequest{Status: &h.status, By: "demo"}); err != nil {
		return err
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	return d.meet(ctx, visit{who: "revoked a second ago", reader: "camera", code: now(h), verdict: gate.Refuse, reason: gate.VoidCode})
}

// newer is a code that was issued after the list the gate holds: held, and
// admitted as soon as the list has come.
func (d *demo) newer(ctx context.Context) error {
	// Issue times count in seconds: the next one is after the list's.
	if err := pause(ctx, 1100*time.Millisecond); err != nil {
		return err
	}
	h, err := d.issue(ctx, order{name: "新来的", kind: "dynamic", colour: "green", permit: true})
	if err != nil {
		return err
	}
	if err := d.meet(ctx, visit{who: "newer than the list", reader: "serial", code: now(h), verdict: gate.Hold, reason: gate.NewerThanList, guard: "refuse", why: gate.SentAway}); err != nil {
		return err
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	return d.meet(ctx, visit{who: "… and when the list has come", reader: "serial", code: now(h), permit: h.permit, verdict: gate.Admit, reason: gate.Valid})
}

// leave is somebody going out by the exit button.
func (d *demo) leave(ctx context.Context) error {
	if err := d.lane.state(ctx, 10*time.Second, gate.Idle); err != nil {
		return err
	}
	if err := d.lane.do(command{Do: "exit-button"}); err != nil {
		return err
	}
	if err := d.lane.until(ctx, 5*time.Second, "the way out", func(e event) bool { return e.Done == "exit-button" }); err != nil {
		return err
	}
	d.say("%-34s %-8s %s", "somebody leaves", "button", "the way out opens, nothing is asked")
	return nil
}

// killed cuts the gate's power between the verdict and the turn, and lets the
// same person try again.
func (d *demo) killed(ctx context.Context, h *holder) error {
	if err := d.meet(ctx, visit{who: "green, and then kill -9 the gate", reader: "serial", code: now(h), permit: h.permit, verdict: gate.Admit, reason: gate.Valid, noWalk: true}); err != nil {
		return err
	}
	if err := d.gateProc.stop(syscall.SIGKILL); err != nil {
		return err
	}
	d.lane.close()
	begin := time.Now()
	if err := d.startGate(ctx); err != nil {
		return fmt.Errorf("after kill -9: %w", err)
	}
	d.say("%-34s the gate is back after %.1f s, with its journal", "", time.Since(begin).Seconds())
	return d.meet(ctx, visit{who: "… the same person tries again", reader: "serial", code: now(h), permit: h.permit, verdict: gate.Admit, reason: gate.Valid})
}

// offline pulls the network, lets people through, and shows the backlog drain.
func (d *demo) offline(ctx context.Context, people []*holder) error {
	d.say("%s network pulled", strings.Repeat("─", 40))
	d.network.pull()
	for i, h := range people {
		if err := d.meet(ctx, visit{who: fmt.Sprintf("green, without a network (%d)", i+1), reader: []string{"serial", "camera"}[i%2], code: now(h), permit: h.permit, verdict: gate.Admit, reason: gate.Valid}); err != nil {
			return err
		}
	}
	s, err := d.control.Status(ctx)
	if err != nil {
		return err
	}
	if s.Upload.Backlog < uint64(2*len(people)) {
		return fmt.Errorf("the backlog is %d after %d people without a network", s.Upload.Backlog, len(people))
	}
	d.say("%s backlog %d records, %s", strings.Repeat("─", 40), s.Upload.Backlog, bar(s.Upload.Backlog))
	d.network.plug()
	d.say("%s network back", strings.Repeat("─", 40))
	last := s.Upload.Backlog
	return d.eventually(ctx, 60*time.Second, "the backlog drains", func() error {
		s, err := d.control.Status(ctx)
		if err != nil {
			return err
		}
		if s.Upload.Backlog != last {
			last = s.Upload.Backlog
			d.say("%s backlog %d records %s", strings.Repeat("─", 40), last, bar(last))
		}
		if last > 0 {
			return fmt.Errorf("%d records left; %s", last, s.Upload.LastError)
		}
		return nil
	})
}

func bar(n uint64) string { return strings.Repeat("▇", int(min(n, 40))) }

// reconcile compares the gate's journal with the hub's, record by record.
func (d *demo) reconcile(ctx context.Context) error {
	if err := d.lane.state(ctx, 10*time.Second, gate.Idle); err != nil {
		return err
	}
	var s uint64
	if err := d.eventually(ctx, 30*time.Second, "all records are at the hub", func() error {
		st, err := d.control.Status(ctx)
		if err != nil {
			return err
		}
		if st.Upload.Backlog > 0 || st.Counts.Waiting > 0 {
			return fmt.Errorf("%d records left", st.Upload.Backlog)
		}
		s = st.Journal.Next - 1
		return nil
	}); err != nil {
		return err
	}
	v, err := d.hub.Verify(ctx, hub.GateRef{Gate: gateName, By: "demo"})
	if err != nil {
		return err
	}
	d.say("\nhub: %d records, %d decisions, duplicates %d, gaps %d, chain %v, signatures %v; gate: %d records", v.Records, v.Decisions, v.Duplicates, v.Gaps, v.Chain, v.Signatures, s)
	switch {
	case !v.OK():
		return errors.New("the hub's copy is not whole")
	case v.Records != s:
		return fmt.Errorf("the gate wrote %d records, the hub has %d", s, v.Records)
	case v.Decisions < uint64(d.people):
		return fmt.Errorf("%d people were decided on, the hub has %d decisions", d.people, v.Decisions)
	}
	counts, err := d.hub.UnsealCounts(ctx, hub.GateRef{Gate: gateName, By: "demo"})
	if err != nil {
		return err
	}
	if counts.Failed > 0 {
		return fmt.Errorf("%d sealed parts do not open at the hub", counts.Failed)
	}
	d.say("sealed parts, opened at the hub: kinds %v, colours %v", counts.Kinds, counts.Colours)
	return nil
}

// stay keeps everything up for the browser, with a person now and then.
func (d *demo) stay(ctx context.Context) error {
	token, err := hub.OperatorToken(d.dir + "/hub")
	if err != nil {
		return err
	}
	d.say("\nup until Ctrl-C:\n  the gate        http://%s/\n  the guard       http://%s/guard   PIN %s\n  the operator    http://%s/   token %s\n  technician      bin/gatectl -socket %s/gate/control.sock status\n",
		d.pages, d.pages, d.pin, d.operator, token, d.dir)
	d.heading()
	for i := 0; ; i++ {
		if pause(ctx, 5*time.Second) != nil {
			return nil
		}
		o := order{name: fmt.Sprintf("路人%d", i), kind: "dynamic", colour: []string{"green", "green", "red", "green", "yellow"}[i%5], permit: true}
		h, err := d.issue(ctx, o)
		if err == nil {
			err = d.publish(ctx)
		}
		v := visit{who: o.colour, reader: []string{"serial", "camera"}[i%2], code: now(h), permit: "", verdict: gate.Admit, reason: gate.Valid}
		if err == nil {
			v.permit = h.permit
			switch o.colour {
			case "red":
				v.verdict, v.reason = gate.Refuse, gate.RedCode
			case "yellow": // the guard at the browser may resolve it
				v.verdict, v.reason = gate.Hold, gate.YellowCode
			}
			err = d.meet(ctx, v)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			d.say("%v", err)
		}
	}
}
