package serial

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/scanner"
)

// desk is a real reader at a pseudo-terminal, with somebody who does things to
// the cable.
type desk struct {
	*rig
	name   string
	module *played // nil of a plain scanner
	say    func(text string)
	unplug func()
	plugs  int
}

// plug plugs the scanner in and waits until the reader has it.
func (d *desk) plug() {
	d.t.Helper()
	var port string
	if d.module != nil {
		port, d.unplug = d.module.plugIn(d.t)
		d.say = d.module.say
	} else {
		p := newPlug(d.t)
		port = p.port
		d.unplug = func() { p.Close() }
		d.say = func(text string) { send(d.t, p, text) }
	}
	if err := os.Symlink(port, d.name); err != nil {
		d.t.Fatal(err)
	}
	d.plugs++
	d.log.await(d.t, "reader connected", d.plugs)
}

// pull pulls the plug, and waits until the reader has noticed.
func (d *desk) pull() {
	d.t.Helper()
	if err := os.Remove(d.name); err != nil {
		d.t.Fatal(err)
	}
	d.unplug()
	d.log.await(d.t, "reader lost", d.plugs)
}

// until takes scans up to this one, and fails when any before it is, or begins
// like, a code that nobody showed.
func (d *desk) until(code string, allowed func(scan string) bool) {
	d.t.Helper()
	for {
		s := string(d.next().Raw)
		if s == code {
			return
		}
		if !allowed(s) {
			d.t.Fatalf("delivered %.200q, which nobody showed", s)
		}
	}
}

// showAgain shows a code without a suffix, and again as a person does to whom
// nothing happens, until it is read.
func (d *desk) showAgain(code string) {
	d.t.Helper()
	end := time.After(patience)
	for {
		select {
		case s := <-d.scans:
			if string(s.Raw) == code {
				return
			}
		case <-time.After(time.Second):
			d.say(code)
		case <-end:
			d.t.Fatalf("not read in %v; log:\n%s", patience, d.log)
		}
	}
}

// noise is what is no code.
func noise(scan string) bool { return !strings.Contains(scan, "JKM1:") }

// TestSerialFaults plays each fault of a serial line on the real reader over a
// real descriptor, of a plain scanner and of a GM65. Each heals by itself: at
// the end a code is read as ever. What is delivered on the way is what was
// shown, or what no gate takes for a code.
func TestSerialFaults(t *testing.T) {
	const gap = 500 * time.Millisecond
	const rubbish = "\xff\xfe\x80UU\x01"
	long := strings.Repeat("A", 10<<10)
	for _, tt := range []struct {
		name string
		// gap is the reader's idle gap: long where pieces belong together however
		// busy this machine is, shorter where it is what ends a code.
		gap  time.Duration
		only Family // both when empty
		play func(d *desk)
	}{
		{"split at every byte", time.Minute, "", func(d *desk) {
			for i := range code {
				d.say(code[:i])
				d.say(code[i:] + "\r")
				d.want(code)
			}
			for _, b := range []byte(code + "\r\n") {
				d.say(string(b))
			}
			d.want(code)
		}},
		{"noise before a code", gap, "", func(d *desk) {
			d.say(rubbish)
			d.want(rubbish) // ended by silence
			d.say(code + "\r")
			d.want(code)
		}},
		{"noise between codes", time.Minute, "", func(d *desk) {
			d.say(code + "\r" + rubbish + "\r" + code + "\r\x00\x00\r\n\t\r" + code + "\r")
			d.want(code, rubbish, code, code)
		}},
		{"noise on a code", time.Minute, "", func(d *desk) {
			d.say(rubbish + code + "\r")
			d.say(code[:50] + rubbish + code[50:] + "\r")
			d.want(rubbish+code, code[:50]+rubbish+code[50:]) // refused, and shown again
		}},
		{"noise without end", time.Minute, "", func(d *desk) {
			b := make([]byte, 64<<10)
			rand.NewChaCha8([32]byte{2}).Read(b)
			d.say(string(b))
			d.say("\r" + code + "\r")
			d.until(code, noise)
		}},
		{"no suffix", gap, "", func(d *desk) {
			for range 3 {
				d.say(code)
				d.want(code) // ended by silence
			}
		}},
		{"a line of 10 kB", time.Minute, "", func(d *desk) {
			d.say(long + "\r" + code + "\r")
			d.want(long[:scanner.MaxFrame], code)
			d.say(long[:5000])
			d.say(long[5000:] + "\n" + code + "\n")
			d.want(long[:scanner.MaxFrame], code)
		}},
		{"a line of 10 kB without suffix", gap, "", func(d *desk) {
			d.say(long)
			d.want(long[:scanner.MaxFrame])
			d.showAgain(code) // what comes before the silence belongs to the line
		}},
		{"wrong baud", gap, "", func(d *desk) {
			if d.module == nil {
				// The scanner is set to another speed, and back.
				garbled := []byte(code + "\r")
				for i := range garbled {
					garbled[i] |= 0x80
				}
				d.say(string(garbled))
				d.want(string(garbled))
				return
			}
			// The module is set to another speed behind the gate's back.
			d.module.speed(9600)
			d.say(code + "\r")
			d.log.await(d.t, "reader connected", 2)
			d.say("\r" + code + "\r")
			d.until(code, noise)
		}},
		{"ack in a code", time.Minute, GM65, func(d *desk) {
			for i := 0; i <= len(code); i += 3 {
				d.say(code[:i] + ack + code[i:] + "\r")
				d.say(ack + code[:i])
				d.say(ack[:3])
				d.say(ack[3:] + code[i:] + ack + "\r")
				d.want(code, code)
			}
		}},
		{"damaged ack before a code", time.Minute, GM65, func(d *desk) {
			d.say(ack[:6] + "\x30" + code + "\r")
			d.say(ack[:3] + code + "\r")
			d.want(code, code)
		}},
		{"cut ack and silence", gap, GM65, func(d *desk) {
			for i := 2; i < len(ack); i++ {
				d.say(ack[:i])
				d.say(code + "\r")
				// Cut in its data, it takes bytes of the code with it: refused.
				d.until(map[bool]string{true: code, false: code[len(ack)-i:]}[i < 4], func(string) bool { return false })
			}
		}},
		{"unplugged in mid-code", time.Minute, "", func(d *desk) {
			for i := 1; i < len(code); i += len(code) / 3 {
				d.say(code[:i])
				d.pull()
				d.plug()
				d.say(code[i:] + "\r") // and the rest of it: two halves make no code
				d.until(code[i:], func(s string) bool { return s == code[:i] })
			}
		}},
		{"unplugged again and again", time.Minute, "", func(d *desk) {
			for range 3 {
				d.pull()
				d.plug()
			}
		}},
	} {
		for _, family := range []Family{Plain, GM65} {
			if tt.only != "" && tt.only != family {
				continue
			}
			kind := "plain"
			if family == GM65 {
				kind = "gm65"
			}
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				d := &desk{name: filepath.Join(t.TempDir(), "scanner")}
				if family == GM65 {
					d.module = newPlayed()
					d.module.speed(115200)
				}
				d.rig = start(t, &Reader{Port: d.name, Baud: 115200, IdleGap: tt.gap, Family: family})
				d.plug()
				tt.play(d)
				last := code + "LAST"
				if d.module != nil {
					d.module.show(last) // read at a trigger
				} else {
					d.say(last + "\r")
				}
				d.want(last)
			})
		}
	}
}
