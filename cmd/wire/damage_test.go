package wire

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greengate/gate"
)

// hubBack puts the hub on the network again.
func (r *rig) hubBack() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.serveHub(l)
}

// A file that was damaged between two starts is set aside. While the hub is
// away people are held and told why, the guard sees it; with the hub the lists
// come again, and nobody has to do anything.
func TestDamageBetweenStarts(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"cut":             func(b []byte) []byte { return b[:5*4096+100] },
		"zeros":           func(b []byte) []byte { clear(b); return b },
		"both meta pages": func(b []byte) []byte { b[100] ^= 1; b[30] ^= 1; b[4096+30] ^= 1; return b },
		// Each page but the metas holds the one before it, as a controller
		// that has lost its table would give them.
		"pages moved": func(b []byte) []byte { copy(b[3*4096:], bytes.Clone(b[2*4096:])); return b },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			green, other := r.issue("green"), r.issue("green")
			r.publish()
			r.start()
			r.ready()
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(r.dir, "gate", "lists.db")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			r.stopHub()

			r.start()
			r.eventually("the reader is there", func() error {
				if s := r.gate.Status(); !strings.HasPrefix(s.Readers[0].State, "connected") || s.Lane != "idle" {
					return fmt.Errorf("reader %s, lane %s", s.Readers[0].State, s.Lane)
				}
				return nil
			})
			if s := r.gate.Status(); len(s.Lists) != 0 || !slices.Contains(s.Faults, "store-set-aside") {
				t.Errorf("%d lists, faults %v", len(s.Lists), s.Faults)
			}
			if h := r.gate.Health(); !h.Alarm() || h.Lists != gate.ListMissing {
				t.Errorf("the guard does not see it: %+v", h)
			}
			r.scan(green)
			v := r.untilState(gate.Held)
			if v.Decision.Reason != gate.ListsMissing {
				t.Errorf("held for %s", v.Decision.Reason)
			}

			r.hubBack()
			r.eventually("the lists are there again", func() error {
				if s := r.gate.Status(); len(s.Lists) == 0 || s.Trust.LastError != "" {
					return fmt.Errorf("%d lists; %s", len(s.Lists), s.Trust.LastError)
				}
				return nil
			})
			if err := r.gate.Lane().Guard(t.Context(), gate.GuardAct{Action: gate.GuardRefuse, Reason: gate.GuardReasons()[0], Guard: "li", Count: v.Count}); err != nil {
				t.Error(err)
			}
			r.untilState(gate.Idle)
			r.scan(other)
			r.untilState(gate.Released)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.ready()
			if s := r.gate.Status(); len(s.Faults) != 0 {
				t.Errorf("after another start: faults %v", s.Faults)
			}
		})
	}
}

// A file that is damaged under the running gate takes nothing from anybody:
// the lists answer on, another file is begun, a red code still arrives, and
// after a restart without the hub all of it is there.
func TestDamageUnderTheRunningGate(t *testing.T) {
	r := newRig(t)
	green := r.issue("green")
	r.publish()
	r.start()
	r.ready()
	file := filepath.Join(r.dir, "gate", "lists.db")
	// What is behind the two first pages cannot be read any more.
	if err := os.Truncate(file, 2*4096); err != nil {
		t.Fatal(err)
	}
	r.scan(green)
	r.untilState(gate.Released)
	red := r.issue("red")
	r.publish()
	r.ready()
	r.eventually("all is brought in and nothing fails", func() error {
		s := r.gate.Status()
		if s.Trust.LastError != "" || !slices.Contains(s.Faults, "store-set-aside") {
			return fmt.Errorf("faults %v; %s", s.Faults, s.Trust.LastError)
		}
		for _, role := range []string{"timestamp", "snapshot", "targets", "keys", "policy", "status-33"} {
			if r.gate.db.Metadata(role) == nil {
				return fmt.Errorf("no metadata of %s", role)
			}
		}
		return nil
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.stopHub()
	r.start()
	r.ready()
	r.scan(red)
	if v := r.untilState(gate.Refused); v.Decision.Reason != gate.RedCode {
		t.Errorf("after the restart: %s", v.Decision.Reason)
	}
}
