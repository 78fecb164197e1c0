package scanner

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"greengate/pass"
)

// gap stands for a silence in the inputs below.
const gap = "<gap>"

// frames feeds in, one chunk at a time, and lists what came out.
func frames(f *Framer, in string) []string {
	var out []string
	emit := func(b []byte, _ time.Time) { out = append(out, string(b)) }
	at := time.Unix(0, 0)
	for i, part := range strings.Split(in, gap) {
		if i > 0 {
			f.Gap(emit)
		}
		f.Feed([]byte(part), at, emit)
	}
	return out
}

func TestFramerEnds(t *testing.T) {
	long := strings.Repeat("A", pass.MaxRaw)
	for _, tt := range []struct {
		name, in string
		codeID   byte
		want     []string
	}{
		{name: "CR", in: "JKM1:AB\r", want: []string{"JKM1:AB"}},
		{name: "LF", in: "JKM1:AB\n", want: []string{"JKM1:AB"}},
		{name: "CRLF", in: "JKM1:AB\r\nJKM1:CD\r\n", want: []string{"JKM1:AB", "JKM1:CD"}},
		{name: "TAB", in: "JKM1:AB\t", want: []string{"JKM1:AB"}},
		{name: "NUL", in: "JKM1:AB\x00", want: []string{"JKM1:AB"}},
		{name: "nothing behind", in: "JKM1:AB" + gap, want: []string{"JKM1:AB"}},
		{name: "not ended yet", in: "JKM1:AB", want: nil},
		{name: "mixed", in: "A\rB\nC\tD\x00E" + gap + "F\r\n", want: []string{"A", "B", "C", "D", "E", "F"}},
		{name: "half, then whole", in: "JKM1:A" + gap + "JKM1:AB\r", want: []string{"JKM1:A", "JKM1:AB"}},
		{name: "NULs alone", in: "\x00\x00\x00" + gap, want: nil},
		{name: "ends alone", in: "\r\n\t\r" + gap, want: nil},
		{name: "spaces stay", in: " JKM1:A B  \r\n", want: []string{" JKM1:A B  "}},
		{name: "STX ETX", in: "\x02JKM1:A\x03\x02JKM1:B\x03", want: []string{"JKM1:A", "JKM1:B"}},
		{name: "STX ETX CR", in: "\x02JKM1:A\x03\r", want: []string{"JKM1:A"}},
		{name: "ETX alone inside", in: "A\x03B\x03\r", want: []string{"A\x03B"}},
		{name: "AIM", in: "]Q1JKM1:A\r", want: []string{"JKM1:A"}},
		{name: "AIM, every QR modifier", in: "]Q0A\r]Q2B\r]Q3C\r]Q4D\r]Q5E\r]Q6F\r", want: []string{"A", "B", "C", "D", "E", "F"}},
		{name: "AIM of Data Matrix", in: "]d2HC1:A\r", want: []string{"HC1:A"}},
		{name: "AIM once", in: "]Q1]Q1A\r", want: []string{"]Q1A"}},
		{name: "AIM and nothing", in: "]Q1\r", want: nil},
		{name: "not AIM", in: "]QQA\r]1QA\r]Q\r", want: []string{"]QQA", "]1QA", "]Q"}},
		{name: "ECI", in: "\\000026JKM1:A\r", want: []string{"JKM1:A"}},
		{name: "AIM and ECI", in: "]Q2\\000001\\000026JKM1:A\r\n", want: []string{"JKM1:A"}},
		{name: "not ECI", in: "\\00002\r\\00002AB\r", want: []string{"\\00002", "\\00002AB"}},
		{name: "code identifier not set up", in: "QJKM1:A\r", want: []string{"QJKM1:A"}},
		{name: "code identifier", in: "QJKM1:A\r", codeID: 'Q', want: []string{"JKM1:A"}},
		{name: "code identifier set up but absent", in: "JKM1:A\r", codeID: 'Q', want: []string{"JKM1:A"}},
		{name: "longest", in: long + "\r", want: []string{long}},
		{name: "longest with prefixes", in: "\x02]Q2\\000026" + long + "\x03\r", want: []string{long}},
		{name: "one too long", in: long + "A\rJKM1:B\r", want: []string{long + "A", "JKM1:B"}},
		{name: "endless", in: strings.Repeat(long, 20) + "\rJKM1:B\r", want: []string{long + "A", "JKM1:B"}},
		{name: "endless, then silence", in: strings.Repeat(long, 20) + gap + "JKM1:B" + gap, want: []string{long + "A", "JKM1:B"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &Framer{CodeID: tt.codeID}
			if got := frames(f, tt.in); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("in %.80q\n got %.200q\nwant %.200q", tt.in, got, tt.want)
			}
		})
	}
}

func TestFramerCountsTooLong(t *testing.T) {
	var f Framer
	frames(&f, strings.Repeat("A", 3*pass.MaxRaw)+"\rA\r"+strings.Repeat("B", pass.MaxRaw+1)+"\r")
	if f.TooLong != 2 {
		t.Errorf("TooLong = %d, want 2", f.TooLong)
	}
}

func TestFramerTime(t *testing.T) {
	var f Framer
	var got time.Time
	emit := func(_ []byte, at time.Time) { got = at }
	first, second := time.Unix(1, 0), time.Unix(2, 0)
	f.Feed([]byte("A"), first, emit)
	if last, ok := f.Pending(); !ok || !last.Equal(first) {
		t.Errorf("Pending() = %v, %v, want %v, true", last, ok, first)
	}
	f.Feed([]byte("B\r"), second, emit)
	if !got.Equal(second) {
		t.Errorf("frame at %v, want %v, when its last byte came", got, second)
	}
	if _, ok := f.Pending(); ok {
		t.Error("pending after an end")
	}
}

// FuzzFramer checks that no input makes a frame outside its bounds, and that
// the way the input is cut into chunks makes no difference.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("]Q2\\000026JKM1:AB\r\nJKM1:C"), uint8(0), byte(0), uint8(3))
	f.Add([]byte("\x02QJKM1:AB\x03\x00"), uint8(2), byte('Q'), uint8(1))
	f.Add(bytes.Repeat([]byte("A"), 64), uint8(140), byte(0), uint8(7))
	f.Add([]byte{0xff, 0, 0x80, '\r', ']', 'Q'}, uint8(0), byte(']'), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, times uint8, codeID byte, step uint8) {
		if len(in) > 256 {
			return // repeated, these are long enough
		}
		in = bytes.Repeat(in, int(times)+1)
		collect := func(size int) (out [][]byte) {
			fr := &Framer{CodeID: codeID}
			emit := func(b []byte, _ time.Time) {
				if len(b) == 0 || len(b) > MaxFrame {
					t.Fatalf("frame of %d bytes, want 1 to %d", len(b), MaxFrame)
				}
				if i := bytes.IndexAny(b, "\r\n\t\x00"); i >= 0 {
					t.Fatalf("frame %q holds an end", b)
				}
				out = append(out, b)
			}
			for rest := in; len(rest) > 0; {
				n := min(size, len(rest))
				fr.Feed(rest[:n], time.Time{}, emit)
				rest = rest[n:]
			}
			fr.Gap(emit)
			if _, ok := fr.Pending(); ok {
				t.Fatal("pending after a gap")
			}
			return out
		}
		whole, cut := collect(len(in)+1), collect(int(step)+1)
		if len(whole) != len(cut) {
			t.Fatalf("%d frames in one chunk, %d in chunks of %d", len(whole), len(cut), int(step)+1)
		}
		for i := range whole {
			if !bytes.Equal(whole[i], cut[i]) {
				t.Fatalf("frame %d: %q in one chunk, %q in chunks of %d", i, whole[i], cut[i], int(step)+1)
			}
		}
	})
}
