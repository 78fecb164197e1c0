package serial

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// TestFrames has the maker's own examples (GM65 manual, ch. 8 and appendix A),
// and those worked out from its rule.
func TestFrames(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    command
		want string
	}{
		{"read zone 0x000A", read(0x0a, 1), "7E 00 07 01 00 0A 01 EE 8A"},
		{"write zone 0x000A", write(0x0a, 0x3e), "7E 00 08 01 00 0A 3E 4C CF"},
		{"save", save(), "7E 00 09 01 00 00 00 DE C8"},
		{"read the speed", read(zoneBaud, 2), "7E 00 07 01 00 2A 02 D8 0F"},
		{"9600", write(zoneBaud, 0x39, 0x01), "7E 00 08 02 00 2A 39 01 A7 EA"},
		{"115200", write(zoneBaud, 0x1a, 0x00), "7E 00 08 02 00 2A 1A 00 E4 7E"},
		{"trigger", write(zoneTrigger, 0x01), "7E 00 08 01 00 02 01 02 DA"},
		{"lock the setup barcodes", write(zoneSetup, 0x02), "7E 00 08 01 00 03 02 01 88"},
		{"factory settings", write(0xd9, 0x55), "7E 00 08 01 00 D9 55 D1 76"},
	} {
		if got := fmt.Sprintf("% X", tt.c.frame()); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// parts feeds in, cut into pieces of size, and returns codes and replies.
func parts(in []byte, size int) (codes []byte, replies []string, damaged uint64) {
	var s splitter
	for len(in) > 0 {
		n := min(size, len(in))
		codes = s.feed(codes, in[:n], func(data []byte) { replies = append(replies, hex.EncodeToString(data)) })
		in = in[n:]
	}
	codes = s.quiet(codes)
	return codes, replies, s.damaged
}

func TestSplitter(t *testing.T) {
	const baud = "\x02\x00\x00\x02\x39\x01\xc1\x4c" // recorded
	for _, tt := range []struct {
		name, in, codes string
		replies         string
		damaged         uint64
	}{
		{"a code", "JKM1:A\r", "JKM1:A\r", "", 0},
		{"ack before a code", ack + "JKM1:A\r", "JKM1:A\r", "00", 0},
		{"ack inside a code", "JKM1" + ack + ":A\r", "JKM1:A\r", "00", 0},
		{"ack behind a code", "JKM1:A\r" + ack, "JKM1:A\r", "00", 0},
		{"acks alone", ack + ack, "", "00 00", 0},
		{"speed", "A\r" + baud + ack, "A\r", "3901 00", 0},
		{"a zone", "\x02\x00\x00\x01\x3e\xe4\xac", "", "3e", 0},
		{"STX and ETX", "\x02JKM1:A\x03", "\x02JKM1:A\x03", "", 0},
		{"STX at the end", "A\x02", "A\x02", "", 0},
		{"STX before an ack", "\x02" + ack + "A\r", "\x02A\r", "00", 0},
		{"wrong CRC", "\x02\x00\x00\x01\x00\x33\x32JKM1:A\r", "JKM1:A\r", "", 1},
		{"cut short", ack[:5], "", "", 1},
		{"cut, then a code", ack[:3] + "JKM1:A\r", "JKM1:A\r", "", 1},
		{"cut, then whole", ack[:2] + ack + "A\r", "A\r", "00", 1},
		{"a length nobody asked for", "\x02\x00\x00\x40JKM1:A\r", "@JKM1:A\r", "", 1},
		{"NULs are the framer's", "A\x00\x00B", "A\x00\x00B", "", 0},
	} {
		for size := 1; size <= len(tt.in); size++ {
			codes, replies, damaged := parts([]byte(tt.in), size)
			if string(codes) != tt.codes || strings.Join(replies, " ") != tt.replies || damaged != tt.damaged {
				t.Errorf("%s, %d at a time: codes %q, replies %q, damaged %d; want %q, %q, %d",
					tt.name, size, codes, replies, damaged, tt.codes, tt.replies, tt.damaged)
			}
		}
	}
}

// FuzzSplitter checks that no input makes it hold back more than a reply, or
// hand out a reply whose sum is wrong or a byte that did not come in; that the
// way the input is cut makes no difference; and that a stream without the two
// bytes that a reply begins with comes out as it came in.
func FuzzSplitter(f *testing.F) {
	f.Add([]byte("JKM1:A\r"+ack), uint8(3))
	f.Add([]byte(ack[:4]+ack), uint8(1))
	f.Add([]byte("\x02\x00\x00\x0e0123456789abcd\x00\x00\x02\x02\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		var s splitter
		var codes []byte
		var replies []string
		for _, b := range in {
			codes = s.feed(codes, []byte{b}, func(data []byte) {
				if !asked(byte(len(data))) {
					t.Fatalf("reply of %d bytes", len(data))
				}
				frame := append([]byte{2, 0, 0, byte(len(data))}, data...)
				if frame = binary.BigEndian.AppendUint16(frame, crc(frame[2:])); !bytes.Contains(in, frame) {
					t.Fatalf("reply % x is not in % x", frame, in)
				}
				replies = append(replies, hex.EncodeToString(data))
			})
			if len(s.held) > maxReply {
				t.Fatalf("%d bytes held back", len(s.held))
			}
		}
		codes = s.quiet(codes)
		again, repliesAgain, damaged := parts(in, int(step)+1)
		if !bytes.Equal(codes, again) || strings.Join(replies, " ") != strings.Join(repliesAgain, " ") || damaged != s.damaged {
			t.Fatalf("cut otherwise: %q %q, not %q %q", again, repliesAgain, codes, replies)
		}
		if len(codes) > len(in) {
			t.Fatalf("%d bytes of codes out of %d", len(codes), len(in))
		}
		if !bytes.Contains(in, []byte{2, 0}) && !bytes.Equal(codes, in) {
			t.Fatalf("%q came out as %q", in, codes)
		}
	})
}
