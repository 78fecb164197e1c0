package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// playedThermometer is one without the kernel's file.
func playedThermometer() *thermometer {
	t := &thermometer{chip: melexis{object: 28.01, ambient: 23}}
	t.bridge.chip = &t.chip
	return t
}

// ask does what the kernel's driver does for one word: write and read, ask for
// the state, have the data sent.
func ask(t *testing.T, p *thermometer) (status byte, data []byte) {
	t.Helper()
	event := func(report ...byte) []byte {
		e := make([]byte, uhidEventBytes)
		binary.LittleEndian.PutUint32(e, uhidOutput)
		copy(e[4:], report)
		binary.LittleEndian.PutUint16(e[4+uhidData:], uint16(len(report)))
		return p.event(e)
	}
	if a := event(reportWriteRead, melexisAddress<<1, 0, 3, 1, 0x07); a != nil {
		t.Fatalf("a transfer is answered: % x", a)
	}
	state := event(reportAskStatus, 1)
	if binary.LittleEndian.Uint32(state) != uhidInput2 || state[6] != reportStatus {
		t.Fatalf("state % x", state)
	}
	if state[7] != transferDone {
		return state[7], nil
	}
	sent := event(reportForceSend, 0, 3)
	return state[7], sent[9 : 9+sent[8]]
}

// TestTransfer: the datasheet's own example, 28.01 °C as D2 3A with PEC 30.
func TestTransfer(t *testing.T) {
	p := playedThermometer()
	good := []byte{0xd2, 0x3a, 0x30}
	for _, step := range []struct {
		order  string
		status byte
		data   []byte
	}{
		{"ok", transferDone, good},
		{"nack", transferFailed, nil},
		{"badpec", transferDone, []byte{0xd2, 0x3a, 0xcf}},
		{"hang", transferBusy, nil},
		{"ok", transferDone, good},
		{"temp 36.59", transferDone, []byte{0x7f, 0x3c, 0xd3}},
	} {
		if err := p.obey(step.order); err != nil {
			t.Fatal(err)
		}
		if status, data := ask(t, p); status != step.status || !bytes.Equal(data, step.data) {
			t.Errorf("%s: state %d data % x, want %d % x", step.order, status, data, step.status, step.data)
		}
	}
	if err := p.obey("melt"); err == nil {
		t.Error("an unknown order is obeyed")
	}
}

// TestEvents: reports of any length, and questions for what is not there.
func TestEvents(t *testing.T) {
	p := playedThermometer()
	for id := range 256 {
		for _, kind := range []uint32{uhidOutput, uhidGetReport, uhidSetReport} {
			e := make([]byte, uhidEventBytes)
			binary.LittleEndian.PutUint32(e, kind)
			for i := range e[4:] {
				e[4+i] = byte(id)
			}
			a := p.event(e)
			if kind == uhidGetReport {
				failed := binary.LittleEndian.Uint16(a[8:]) != 0
				if _, err := p.bridge.feature(byte(id)); failed != (err != nil) {
					t.Errorf("feature %#x: answer % x", id, a)
				}
			}
		}
	}
}
