package keyboard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/scanner"
)

var _ scanner.Source = (*Reader)(nil)

// event is one struct input_event of that size, as recorded, with a time in
// front.
func event(size int, kind, code uint16, value int32) []byte {
	b := bytes.Repeat([]byte{0x5e}, size)
	binary.NativeEndian.PutUint16(b[size-8:], kind)
	binary.NativeEndian.PutUint16(b[size-6:], code)
	binary.NativeEndian.PutUint32(b[size-4:], uint32(value))
	return b
}

// stroke presses and releases a key the way the kernel reports it: scan code,
// key, report.
func stroke(size int, code uint16) []byte {
	return bytes.Join([][]byte{
		event(size, 4, 4, 0x70000+int32(code)), event(size, evKey, code, pressed), event(size, 0, 0, 0),
		event(size, 4, 4, 0x70000+int32(code)), event(size, evKey, code, released), event(size, 0, 0, 0),
	}, nil)
}

// typing is what a scanner sends for text.
func typing(size int, text string) []byte {
	var out []byte
	for i := range len(text) {
		c := text[i]
		found := false
		for code, chars := range us {
			if code >= 55 && code != 57 { // the keypad types some again
				continue
			}
			switch c {
			case chars[0]:
				out = append(out, stroke(size, code)...)
			case chars[1]:
				out = append(out, event(size, evKey, keyLeftShift, pressed)...)
				out = append(out, stroke(size, code)...)
				out = append(out, event(size, evKey, keyLeftShift, released)...)
			default:
				continue
			}
			found = true
			break
		}
		if !found {
			panic(fmt.Sprintf("no key types %q", c))
		}
	}
	return out
}

// all is every character that a code may hold, and those of its prefixes.
const all = "JKM1:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./: HC1:shc:/abcdefghijklmnopqrstuvwxyz]\\_=~!@#^&(){}|;'\"<>?,`"

func TestKeys(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, size := range []int{16, 24} {
		press := func(code uint16, value int32) []byte { return event(size, evKey, code, value) }
		for _, tt := range []struct {
			name string
			in   []byte
			want string
		}{
			{"every character", typing(size, all), all},
			{"enter", typing(size, "A\r"), "A\r"},
			{"keypad", join(stroke(size, 79), stroke(size, 82), stroke(size, keyKPEnter)), "10\r"},
			{"right shift", join(press(keyRightShift, 1), stroke(size, 30), press(keyRightShift, 0), stroke(size, 30)), "Aa"},
			{"both shifts, one up", join(press(keyLeftShift, 1), press(keyRightShift, 1), press(keyLeftShift, 0), stroke(size, 30)), "A"},
			{"shift repeated", join(press(keyLeftShift, 1), press(keyLeftShift, 2), stroke(size, 30)), "A"},
			{"key repeated", join(press(30, 1), press(30, 2), press(30, 2), press(30, 0)), "a"},
			{"caps lock", join(stroke(size, keyCapsLock), stroke(size, 30), stroke(size, 2), press(keyLeftShift, 1), stroke(size, 30), press(keyLeftShift, 0), stroke(size, keyCapsLock), stroke(size, 30)), "A1aa"},
			{"ctrl types nothing", join(stroke(size, 29), stroke(size, 30)), "a"},
			{"a key without a character", join(stroke(size, 30), stroke(size, 59), stroke(size, 48)), "a\x1ab"},
			{"dropped by the kernel", join(press(keyLeftShift, 1), stroke(size, 30), event(size, evSyn, synDropped, 0), stroke(size, 30)), "A\x1aa"},
			{"other events", join(event(size, 2, 0, 5), event(size, 17, 0, 1)), ""},
			{"half an event", typing(size, "a")[:size+3], ""},
		} {
			for _, step := range []int{1, 7, size, 1 << 20} {
				k := keys{size: size}
				var got []byte
				for in := tt.in; len(in) > 0; {
					n := min(step, len(in))
					got = k.feed(got, in[:n])
					in = in[n:]
				}
				if string(got) != tt.want {
					t.Errorf("%s, events of %d bytes, %d at a time: got %q, want %q", tt.name, size, step, got, tt.want)
				}
			}
		}
	}
}

func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		devices := make(chan io.ReadCloser, 1)
		devices <- pr
		r := &Reader{Device: "/dev/input/event9", Direction: gate.Exit, Open: func(string) (io.ReadCloser, error) {
			select {
			case d := <-devices:
				return d, nil
			default:
				return nil, os.ErrNotExist
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error)
		go func() {
			done <- r.Run(ctx, func(s gate.Scan) { got = append(got, s.Reader+" "+s.Direction.String()+" "+string(s.Raw)) })
		}()
		pw.Write(typing(eventSize, "]Q1JKM1:A B \r"))
		for _, c := range "JKM1:SLOW" { // no Enter, a key every 100 ms
			pw.Write(typing(eventSize, string(c)))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		pw.Write(typing(eventSize, "LAST\r"))
		pw.CloseWithError(errors.New("no such device"))
		time.Sleep(time.Second)
		if up, _ := r.Connected(); up {
			t.Errorf("State() = %q with the scanner unplugged", r.State())
		}
		pr2, pw2 := io.Pipe()
		devices <- pr2
		pw2.Write(typing(eventSize, "BACK\r"))
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		want := []string{"keyboard exit JKM1:A B ", "keyboard exit JKM1:SLOW", "keyboard exit LAST", "keyboard exit BACK"}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	})
}

func TestReaderNoDevice(t *testing.T) {
	if err := new(Reader).Run(t.Context(), nil); err == nil {
		t.Error("Run without a device: no error")
	}
}

func TestOpenDevice(t *testing.T) {
	for device, want := range map[string]string{"/dev/null": "take it alone", filepath.Join(t.TempDir(), "event0"): "no such file"} {
		if f, err := openDevice(device); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", device, f, err, want)
		}
	}
}

func TestHint(t *testing.T) {
	dir := t.TempDir()
	if got := hint(dir); !strings.Contains(got, "no keyboard") {
		t.Errorf("hint() = %q without any", got)
	}
	name := filepath.Join(dir, "by-id", "usb-Scanner-event-kbd")
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := hint(dir); got != "keyboards here: "+name {
		t.Errorf("hint() = %q", got)
	}
}

// FuzzKeys feeds any bytes as events: what is typed is never more than the
// events that there are, and what is kept is never a whole event.
func FuzzKeys(f *testing.F) {
	f.Add(typing(24, "JKM1:A\r"), true)
	f.Add(typing(16, "]Q1a"), false)
	f.Add(event(24, evSyn, synDropped, 0), true)
	f.Fuzz(func(t *testing.T, in []byte, wide bool) {
		k := keys{size: 16}
		if wide {
			k.size = 24
		}
		got := k.feed(nil, in)
		if len(got) > len(in)/k.size || len(k.rest) >= k.size {
			t.Fatalf("%d characters out of %d bytes, %d kept", len(got), len(in), len(k.rest))
		}
		var framer scanner.Framer
		framer.Feed(got, time.Time{}, func(b []byte, _ time.Time) {
			if len(b) > pass.MaxRaw+1 {
				t.Fatalf("frame of %d bytes", len(b))
			}
		})
	})
}
