package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"greengate/pass/base45"
	"greengate/pass/healthcode"
	"greengate/sync/hub"

	"rig/console"
)

// scenario is one row of the table. They are played in their order, on one
// board after the other, and each leaves the lane idle.
type scenario struct {
	name string
	// short ones are played in the short form too.
	short bool
	play  func(*play) error
}

// Bounds of what is proven. The board is emulated on a busy host: they tell
// right from wrong, and say nothing of a board's own times.
const (
	bootWithin    = 3 * time.Minute
	serviceWithin = 90 * time.Second
	// safeWithin is for what the kernel does when a process is gone.
	safeWithin = 3 * time.Second
	// hangWithin is WatchdogSec and TimeoutStopSec of the unit, and some room.
	hangWithin = 25 * time.Second
	// postFailed is what the board's first process says when ExecStopPost fails.
	postFailed = "unit: ExecStopPost:"
)

func scenarios() []scenario {
	return []scenario{
		{"power on, an empty card: lists are fetched, the first person", true, powerOn},
		{"codes on the UART", true, onUART},
		{"codes on the USB scanner", false, onUSB},
		{"a code with one bit changed", false, forged},
		{"exit button", false, exitPressed},
		{"fire loop opens, and closes again", false, fire},
		{"USB scanner pulled out in mid-code, and put back", false, pulledOut},
		{"thermometer pulled out, no answer, wrong checksums, hung bus; back", false, thermometerGone},
		{"fever, twice measured", false, fever},
		{"SIGTERM while somebody is let in", false, terminated},
		{"kill -9 while somebody is let in", false, killed},
		{"hang (SIGSTOP) while somebody is let in", false, hung},
		{"power cut while somebody is let in; power on, lists on the card", false, powerCut},
		{"every decision is with the hub, once", false, recorded},
	}
}

// powerOn: from the power to the first person, and nothing moves before.
func powerOn(p *play) error {
	if err := p.start(); err != nil {
		return err
	}
	return firstPerson(p)
}

// firstPerson watches the relays from the power on until the first person.
func firstPerson(p *play) error {
	up := make(chan error, 1)
	go func() {
		_, err := p.board.answer(bootWithin)
		up <- err
	}()
	for waiting := true; waiting; {
		select {
		case err := <-up:
			if err != nil {
				return err
			}
			waiting = false
		case <-time.After(look):
			if err := p.locked(); err != nil {
				return fmt.Errorf("before the gate runs: %w", err)
			}
		}
	}
	p.say("machine up")
	p.figure("system up", time.Since(p.board.began))
	if _, err := p.serves(bootWithin); err != nil {
		return err
	}
	p.figure("in service", time.Since(p.board.began))
	if err := p.locked(); err != nil {
		return err
	}
	if _, err := p.admitted(p.board.uart, "uart"); err != nil {
		return err
	}
	p.figure("first person", time.Since(p.board.began))
	return errors.Join(p.walks(), p.rest())
}

// onUART: a queue.
func onUART(p *play) error {
	var times []time.Duration
	for range 10 {
		took, err := p.passes(p.board.uart, "uart")
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	p.figure("scan to relay", times...)
	return nil
}

func onUSB(p *play) error {
	var times []time.Duration
	for range 3 {
		took, err := p.passes(p.board.usb, "usb")
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	p.figure("scan to relay", times...)
	return nil
}

// forged: one bit of the signature is another.
func forged(p *play) error {
	code, err := p.site.code()
	if err != nil {
		return err
	}
	raw, err := base45.Decode(code[len(healthcode.Prefix):])
	if err != nil {
		return err
	}
	raw[len(raw)-20] ^= 1
	if err := p.types(p.board.uart, "uart, forged", healthcode.Prefix+base45.Encode(raw)); err != nil {
		return err
	}
	if err := p.stays(4 * time.Second); err != nil {
		return err
	}
	return p.rest()
}

func exitPressed(p *play) error {
	p.say("button")
	if err := p.board.wire(exitButton, false); err != nil {
		return err
	}
	took, err := p.until(exitRelay, "exit relay", true, answerWithin)
	if err != nil {
		return err
	}
	p.figure("button to relay", took)
	if err := p.board.wire(exitButton, true); err != nil {
		return err
	}
	_, err = p.until(exitRelay, "exit relay", false, answerWithin)
	return errors.Join(err, p.rest())
}

// fire: both relays, for as long as the loop is open.
func fire(p *play) error {
	p.say("fire")
	if err := p.board.wire(fireInput, true); err != nil {
		return err
	}
	took, err := p.until(entryRelay, "entry relay", true, answerWithin)
	if err != nil {
		return err
	}
	p.figure("loop to relay", took)
	if _, err := p.until(exitRelay, "exit relay", true, time.Second); err != nil {
		return err
	}
	// Longer than any release and than the relay's own maximum.
	if err := pause(p.ctx, 6*time.Second); err != nil {
		return err
	}
	for _, relay := range []line{entryRelay, exitRelay} {
		if on, err := p.board.energised(relay); err != nil || !on {
			return errors.Join(err, fmt.Errorf("GPIO%d locks while it burns", relay))
		}
	}
	p.say("fire over")
	if err := p.board.wire(fireInput, false); err != nil {
		return err
	}
	if took, err = p.until(entryRelay, "entry relay", false, answerWithin); err != nil {
		return err
	}
	p.figure("closed to locked", took)
	if err := p.rest(); err != nil {
		return err
	}
	_, err = p.passes(p.board.uart, "uart")
	return err
}

// pulledOut: half a code, and the other reader goes on; then the whole of another.
func pulledOut(p *play) error {
	code, err := p.site.code()
	if err != nil {
		return err
	}
	p.say("scan       usb, the first half")
	if _, err := p.board.usb.Write([]byte(code[:len(code)/2])); err != nil {
		return err
	}
	if err := p.order("usb", "", 0); err != nil {
		return err
	}
	if _, err := p.passes(p.board.uart, "uart"); err != nil {
		return fmt.Errorf("with the USB scanner out: %w", err)
	}
	back := time.Now()
	if err := p.order("usb", "", 1); err != nil {
		return err
	}
	if _, err := p.serves(serviceWithin); err != nil {
		return err
	}
	p.figure("put back to healed", time.Since(back))
	_, err = p.passes(p.board.usb, "usb")
	return err
}

// thermometerGone: nobody is let in without a temperature, whatever is wrong
// with it, and everybody again when it is back.
func thermometerGone(p *play) error {
	for _, w := range []struct{ wrong, right string }{{"unplug", "plug"}, {"nack", "ok"}, {"badpec", "ok"}, {"hang", "ok"}} {
		if err := p.order("sensor", w.wrong, 0); err != nil {
			return err
		}
		if err := p.shows(p.board.uart, "uart"); err != nil {
			return err
		}
		// Longer than a measurement may take, tried again with all its pauses.
		if err := p.stays(7 * time.Second); err != nil {
			return fmt.Errorf("thermometer %s: %w", w.wrong, err)
		}
		back := time.Now()
		if err := p.order("sensor", w.right, 0); err != nil {
			return err
		}
		if err := p.rest(); err != nil {
			return err
		}
		if _, err := p.passes(p.board.uart, "uart"); err != nil {
			return fmt.Errorf("after %s: %w", w.wrong, err)
		}
		if w.wrong == "unplug" {
			p.figure("put back to the next one in", time.Since(back))
		}
	}
	return nil
}

func fever(p *play) error {
	if err := p.order("sensor", "temp 38.6", 0); err != nil {
		return err
	}
	if err := p.shows(p.board.uart, "uart"); err != nil {
		return err
	}
	if err := p.stays(7 * time.Second); err != nil {
		return err
	}
	if err := p.order("sensor", "temp 36.4", 0); err != nil {
		return err
	}
	if err := p.rest(); err != nil {
		return err
	}
	_, err := p.passes(p.board.uart, "uart")
	return err
}

// terminated: what systemctl stop and a shutdown do.
func terminated(p *play) error {
	if _, err := p.admitted(p.board.uart, "uart"); err != nil {
		return err
	}
	stopped := time.Now()
	if err := p.order("stop", "", 0); err != nil {
		return err
	}
	if _, err := p.until(entryRelay, "entry relay", false, safeWithin); err != nil {
		return err
	}
	p.figure("to safe lines", time.Since(stopped))
	if err := p.stays(2 * time.Second); err != nil {
		return err
	}
	if err := p.order("start", "", 0); err != nil {
		return err
	}
	return p.returns(time.Now())
}

// returns sees the gate come back by itself, and let the next person in.
func (p *play) returns(since time.Time) error {
	if err := p.stays(time.Second); err != nil {
		return err
	}
	if _, err := p.serves(serviceWithin); err != nil {
		return err
	}
	p.figure("back in service", time.Since(since))
	a, err := p.board.order(console.Order{Do: "log"})
	if err != nil {
		return err
	}
	// The kernel played here takes a dead process's lines back by itself, so that
	// it ran is all that shows.
	if !strings.Contains(a.Text, "gated -safe") || strings.Contains(a.Text, postFailed) {
		return fmt.Errorf("ExecStopPost did not make the lane safe: %s", a.Text)
	}
	if err := p.rest(); err != nil {
		return err
	}
	_, err = p.passes(p.board.uart, "uart")
	return err
}

// killed: nothing of the gate runs any more. The kernel takes the lines back.
func killed(p *play) error {
	if _, err := p.admitted(p.board.uart, "uart"); err != nil {
		return err
	}
	at := time.Now()
	if err := p.order("kill", "", int(syscall.SIGKILL)); err != nil {
		return err
	}
	if _, err := p.until(entryRelay, "entry relay", false, safeWithin); err != nil {
		return err
	}
	p.figure("to safe lines", time.Since(at))
	return p.returns(at)
}

// hung: the process is there and does nothing, with the relay on. Its own
// timers stand still too, so only the watchdog helps.
func hung(p *play) error {
	if _, err := p.admitted(p.board.uart, "uart"); err != nil {
		return err
	}
	at := time.Now()
	if err := p.order("kill", "", int(syscall.SIGSTOP)); err != nil {
		return err
	}
	if err := pause(p.ctx, 5*time.Second); err != nil {
		return err
	}
	if on, err := p.board.energised(entryRelay); err != nil || !on {
		return errors.Join(err, errors.New("the relay fell by itself: nothing hangs, and this tells nothing"))
	}
	if _, err := p.until(entryRelay, "entry relay", false, hangWithin); err != nil {
		return err
	}
	p.figure("to safe lines", time.Since(at))
	return p.returns(at)
}

// powerCut: all at once, and the same card again.
func powerCut(p *play) error {
	if _, err := p.admitted(p.board.uart, "uart"); err != nil {
		return err
	}
	p.say("power cut")
	p.board.cut()
	if err := p.start(); err != nil {
		return err
	}
	return firstPerson(p)
}

// recorded: each person who was shown a verdict stands in the hub's log,
// across kills, hangs and the power cut.
func recorded(p *play) error {
	want := uint64(p.site.shown)
	var v hub.Verification
	for began := time.Now(); ; {
		var err error
		if v, err = p.site.hub.Verify(p.ctx, hub.GateRef{Gate: gateName, By: "rig"}); err != nil {
			return err
		}
		if v.Decisions >= want {
			break
		}
		if time.Since(began) > serviceWithin {
			return fmt.Errorf("%d decisions of %d are with the hub", v.Decisions, want)
		}
		if err := pause(p.ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	p.figures = append(p.figures, fmt.Sprintf("%d decisions, %d records", v.Decisions, v.Records))
	if v.Gaps+v.Lost+v.Duplicates+v.Tombstones > 0 || !v.Chain || !v.Signatures {
		return fmt.Errorf("gaps %d, lost %d, doubled %d, unreadable %d, chain %v, signatures %v",
			v.Gaps, v.Lost, v.Duplicates, v.Tombstones, v.Chain, v.Signatures)
	}
	return nil
}
