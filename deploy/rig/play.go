package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"rig/console"
)

// play is one scenario under way: the board, the site, and what was seen when.
type play struct {
	ctx   context.Context
	board *board
	site  *site
	start func() error // switches the board on, with the card as it is

	began    time.Time
	timeline strings.Builder
	figures  []string
	again    int // how often the next one had to try, because the host was late
}

var errLate = errors.New("did not happen")

// say puts a line on the timeline.
func (p *play) say(format string, args ...any) {
	fmt.Fprintf(&p.timeline, "%8.3fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// figure puts a time into the table.
func (p *play) figure(what string, d ...time.Duration) {
	slices.Sort(d)
	text := fmt.Sprintf("%s %s", what, short(d[len(d)/2]))
	if len(d) > 1 {
		text = fmt.Sprintf("%s %s, at most %s (of %d)", what, short(d[len(d)/2]), short(d[len(d)-1]), len(d))
	}
	p.figures = append(p.figures, text)
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// look is how often the lines are read.
const look = time.Millisecond

// until waits for a line to be on or off, and says how long that took.
func (p *play) until(n line, name string, on bool, within time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		is, err := p.board.energised(n)
		if err != nil {
			return 0, err
		}
		took := time.Since(began)
		if is == on {
			p.say("%s %s", name, onOff(on))
			return took, nil
		}
		if took > within {
			return took, fmt.Errorf("%s %s %w within %v", name, onOff(on), errLate, within)
		}
		if err := pause(p.ctx, look); err != nil {
			return 0, err
		}
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stays watches that neither relay moves for so long.
func (p *play) stays(d time.Duration) error {
	for began := time.Now(); time.Since(began) < d; {
		if err := p.locked(); err != nil {
			return err
		}
		if err := pause(p.ctx, look); err != nil {
			return err
		}
	}
	p.say("locked for %v", d)
	return nil
}

var errOpen = errors.New("a relay is on")

func (p *play) locked() error {
	for _, relay := range []line{entryRelay, exitRelay} {
		on, err := p.board.energised(relay)
		if err != nil {
			return err
		}
		if on {
			return fmt.Errorf("%w: GPIO%d", errOpen, relay)
		}
	}
	return nil
}

// rest waits until the lane is idle, which its lights tell: red alone, both
// relays off, for longer than anything but idleness shows it.
func (p *play) rest() error {
	const idle = 1500 * time.Millisecond
	since := time.Now()
	for began := time.Now(); time.Since(since) < idle; {
		red, err := p.board.energised(redLight)
		if err != nil {
			return err
		}
		green, err := p.board.energised(greenLight)
		if err != nil {
			return err
		}
		amber, err := p.board.energised(amberLight)
		if err != nil {
			return err
		}
		if !red || green || amber || p.locked() != nil {
			since = time.Now()
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("idle %w within a minute", errLate)
		}
		if err := pause(p.ctx, 5*look); err != nil {
			return err
		}
	}
	return nil
}

// answerWithin is how long the gate may take for a code. The processor is
// emulated on a busy host: this bounds what is wrong, and is no figure of a board's.
const answerWithin = 8 * time.Second

// shows has somebody hold a code up that nobody has shown before.
func (p *play) shows(scanner net.Conn, name string) error {
	code, err := p.site.code()
	if err != nil {
		return err
	}
	p.site.shown++
	return p.types(scanner, name, code)
}

// types is what a scanner sends of a code.
func (p *play) types(scanner net.Conn, name, code string) error {
	p.say("scan       %s, %d bytes", name, len(code))
	_, err := scanner.Write([]byte(code + "\r"))
	return err
}

// tries of people whom the host's slowness kept out.
const tries = 3

// admitted lets somebody in who comes to a scanner, and says how long it took
// from the first byte of the code to the relay. On a busy host the board stands
// still now and then: the kernel gives the played bridge 50 ms for a transfer,
// and 60 ms of silence end a code in its middle. Then the gate holds or refuses,
// as it must, and the next one tries. The table counts them.
func (p *play) admitted(scanner net.Conn, name string) (time.Duration, error) {
	for try := 1; ; try++ {
		before, err := p.spoilt()
		if err != nil {
			return 0, err
		}
		if err := p.shows(scanner, name); err != nil {
			return 0, err
		}
		took, late := p.until(entryRelay, "entry relay", true, answerWithin)
		if late == nil || try == tries {
			return took, late
		}
		after, err := p.spoilt()
		if err != nil || after == before {
			return took, errors.Join(late, err)
		}
		p.say("not let in: no temperature, or half a code")
		p.again++
		if err := p.rest(); err != nil {
			return 0, err
		}
	}
}

// spoilt is how many people this gate has kept out because the thermometer was
// late, or because their code came in pieces.
func (p *play) spoilt() (int, error) {
	a, err := p.board.order(console.Order{Do: "get", Text: "/metrics"})
	if err != nil {
		return 0, err
	}
	sum := 0
	for line := range strings.Lines(a.Text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(name, "greengate_decisions_total{") ||
			!strings.Contains(name, `"thermometer-broken"`) && !strings.Contains(name, `"malformed"`) && !strings.Contains(name, `"unreadable"`) {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}

// walks turns the arm, and sees it locked behind the person.
func (p *play) walks() error {
	p.say("turn")
	if err := p.board.wire(passageContact, false); err != nil {
		return err
	}
	if _, err := p.until(entryRelay, "entry relay", false, answerWithin); err != nil {
		return err
	}
	return p.board.wire(passageContact, true)
}

// passes is somebody who is let in, walks, and leaves the lane idle.
func (p *play) passes(scanner net.Conn, name string) (time.Duration, error) {
	took, err := p.admitted(scanner, name)
	if err != nil {
		return took, err
	}
	return took, errors.Join(p.walks(), p.rest())
}

// order has something done in the machine.
func (p *play) order(do, text string, number int) error {
	p.say("%-10s %s %d", do, text, number)
	_, err := p.board.order(console.Order{Do: do, Text: text, Number: number})
	return err
}

// serves waits until the gate says of itself that it lacks nothing.
func (p *play) serves(within time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		a, err := p.board.order(console.Order{Do: "get", Text: "/readyz"})
		if errors.Is(err, errSilent) {
			return 0, err
		}
		took := time.Since(began)
		switch {
		case err == nil && a.Text == "ok\n":
			p.say("in service")
			return took, nil
		case took > within && err != nil:
			return took, fmt.Errorf("in service: %w within %v: %w", errLate, within, err)
		case took > within:
			return took, fmt.Errorf("in service: %w within %v: it lacks %q", errLate, within, a.Text)
		}
		if err := pause(p.ctx, 300*time.Millisecond); err != nil {
			return 0, err
		}
	}
}
