package wire

import (
	"io"
	"log/slog"
	"slices"
	"testing"

	"greengate/gate"
)

// TestReadersAttend: a reader that is told when to read is told by each view;
// the way in reads while a code would be taken, the way out always.
func TestReadersAttend(t *testing.T) {
	var in, out []bool
	g := &Gate{shown: make(chan struct{}), readers: []reader{
		{name: "in", direction: gate.Entry, attend: func(on bool) { in = append(in, on) }},
		{name: "camera", direction: gate.Entry},
		{name: "out", direction: gate.Exit, attend: func(on bool) { out = append(out, on) }},
	}}
	states := []gate.State{gate.OutOfService, gate.Idle, gate.ReadingCode, gate.AwaitPermit, gate.Measure, gate.Recording,
		gate.Released, gate.Idle, gate.Refused, gate.Held, gate.FireOpen}
	for _, s := range states {
		(*faces)(g).Show(gate.View{State: s})
	}
	if want := []bool{false, true, false, true, false, false, false, true, false, false, false}; !slices.Equal(in, want) {
		t.Errorf("in: %v, want %v in %v", in, want, states)
	}
	if want := slices.Repeat([]bool{true}, len(states)); !slices.Equal(out, want) {
		t.Errorf("out: %v, want always", out)
	}
}

func TestOpenReadersFamily(t *testing.T) {
	all, err := openReaders([]ReaderConfig{
		{Kind: "serial", Name: "plain", Device: "/dev/ttyUSB0"},
		{Kind: "serial", Name: "module", Device: "/dev/ttyUSB1", Family: "gm65", Direction: "exit"},
		{Kind: "keyboard", Name: "keys", Device: "/dev/input/event9"},
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false} {
		if told := all[i].attend != nil; told != want {
			t.Errorf("%s is told when to read: %v, want %v", all[i].name, told, want)
		}
	}
	if all[1].direction != gate.Exit {
		t.Errorf("direction %v, want exit", all[1].direction)
	}
}
