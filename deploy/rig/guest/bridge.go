package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Reports of Silicon Labs' CP2112, an I²C bridge on USB (AN495), by their numbers.
const (
	reportLineDirections = 0x02
	reportLines          = 0x03
	reportSetLines       = 0x04
	reportVersion        = 0x05
	reportBusSettings    = 0x06
	reportRead           = 0x10
	reportWriteRead      = 0x11
	reportForceSend      = 0x12
	reportData           = 0x13
	reportWrite          = 0x14
	reportAskStatus      = 0x15
	reportStatus         = 0x16
	reportCancel         = 0x17
	reportUSBIDs         = 0x21
)

// States of a transfer (AN495, transfer status response).
const (
	transferBusy   = 1
	transferDone   = 2
	transferFailed = 3
)

// maxReport is the longest report, with its number.
const maxReport = 64

// errReport: the kernel's driver asked for what a CP2112 does not have.
var errReport = errors.New("no such report")

// slave is a chip on the bus.
type slave interface {
	// transfer writes to the chip and reads n bytes; false is a missing acknowledgement.
	transfer(address byte, written []byte, n int) ([]byte, bool)
}

// bridge is the CP2112's own side of its reports, without a cable.
type bridge struct {
	chip slave
	// hung: the bus is held low by somebody, and no transfer ends.
	hung bool

	directions, levels byte
	status             byte
	data               []byte // what the last transfer read and the host has not fetched
}

// reports are the numbers and sizes that the descriptor announces; size is without the number.
var reports = []struct {
	kind byte // item of a HID descriptor: 0x81 input, 0x91 output, 0xb1 feature
	id   byte
	size byte
}{
	{0x81, reportData, 63}, {0x81, reportStatus, 6},
	{0x91, reportRead, 3}, {0x91, reportWriteRead, 20}, {0x91, reportForceSend, 2},
	{0x91, reportWrite, 63}, {0x91, reportAskStatus, 1}, {0x91, reportCancel, 1},
	{0xb1, reportLineDirections, 4}, {0xb1, reportLines, 1}, {0xb1, reportSetLines, 2},
	{0xb1, reportVersion, 2}, {0xb1, reportBusSettings, 13}, {0xb1, 0x20, 1}, {0xb1, reportUSBIDs, 9},
	{0xb1, 0x22, 62}, {0xb1, 0x23, 62}, {0xb1, 0x24, 62},
}

// descriptor announces the reports: bytes in a page of the vendor's.
func descriptor() []byte {
	d := []byte{
		0x06, 0x00, 0xff, // usage page: vendor
		0x09, 0x01, 0xa1, 0x01, // usage, collection
		0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, // values 0 to 255, of 8 bits
	}
	for _, r := range reports {
		d = append(d, 0x85, r.id, 0x95, r.size, 0x09, 0x01, r.kind, 0x02)
	}
	return append(d, 0xc0)
}

// feature answers a question of the driver's.
func (b *bridge) feature(id byte) ([]byte, error) {
	switch id {
	case reportLineDirections:
		return []byte{id, b.directions, 0xff, 0, 0}, nil
	case reportLines:
		return []byte{id, b.levels}, nil
	case reportVersion:
		return []byte{id, 0x0c, 2}, nil // a 2112 that knows repeated starts
	case reportBusSettings:
		// 100 kHz, its own address, no automatic reading, no timeouts, one try.
		return []byte{id, 0x00, 0x01, 0x86, 0xa0, 0x02, 0, 0, 0, 0, 0, 0, 0, 1}, nil
	case 0x20:
		return []byte{id, 0}, nil
	case reportUSBIDs:
		return []byte{id, 0xc4, 0x10, 0x90, 0xea, 50, 0, 1, 0, 0}, nil
	}
	return nil, fmt.Errorf("%w: feature %#x", errReport, id)
}

// set takes a feature that the driver writes.
func (b *bridge) set(report []byte) {
	if len(report) < 2 {
		return
	}
	switch report[0] {
	case reportLineDirections:
		b.directions = report[1]
	case reportSetLines:
		if len(report) >= 3 {
			mask := report[2] & b.directions
			b.levels = b.levels&^mask | report[1]&mask
		}
	}
}

// output takes a report, and returns the one that answers it; nil where none does.
func (b *bridge) output(report []byte) []byte {
	// A report may come shorter than its size: what is missing is 0.
	var r [maxReport]byte
	copy(r[:], report)
	switch r[0] {
	case reportRead:
		b.transfer(r[1]>>1, nil, int(binary.BigEndian.Uint16(r[2:])))
	case reportWriteRead:
		b.transfer(r[1]>>1, r[5:5+min(r[4], 16)], int(binary.BigEndian.Uint16(r[2:])))
	case reportWrite:
		b.transfer(r[1]>>1, r[3:3+min(r[2], 61)], 0)
	case reportCancel:
		b.status, b.data = transferFailed, nil
	case reportAskStatus:
		// The second byte of a finished transfer says how: 5 is without fault.
		a := []byte{reportStatus, b.status, 0, 0, 0, 0, byte(len(b.data))}
		if b.status == transferDone {
			a[2] = 5
		}
		return a
	case reportForceSend:
		a := make([]byte, maxReport)
		a[0], a[1] = reportData, transferDone
		n := copy(a[3:], b.data)
		b.data, a[2] = b.data[n:], byte(n)
		return a
	}
	return nil
}

// transfer does what the bus does at once; the driver asks for its state later.
func (b *bridge) transfer(address byte, written []byte, n int) {
	b.data, b.status = nil, transferBusy
	if b.hung {
		return
	}
	data, ok := b.chip.transfer(address, written, n)
	if !ok {
		b.status = transferFailed
		return
	}
	b.data, b.status = data, transferDone
}
