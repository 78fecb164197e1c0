package pass

import (
	"errors"
	"testing"
	"time"
)

// prefixFormat is a format that opens all that begins with its byte.
type prefixFormat struct {
	first byte
	asked int
}

func (f *prefixFormat) Claims(raw []byte) bool { return len(raw) > 0 && raw[0] == f.first }

func (f *prefixFormat) Open([]byte, time.Time) (*Credential, error) {
	f.asked++
	return &Credential{Format: string(f.first)}, nil
}

func TestReader(t *testing.T) {
	a, b := &prefixFormat{first: 'a'}, &prefixFormat{first: 'b'}
	r := NewReader(a, b)
	if c, err := r.Open([]byte("b..."), day); err != nil || c.Format != "b" || a.asked != 0 {
		t.Errorf("got %+v, %v, first format asked %d times", c, err, a.asked)
	}
	for _, c := range []struct {
		raw []byte
		err error
	}{
		{nil, ErrUnreadable},
		{[]byte("c"), ErrUnreadable},
		{append([]byte("a"), make([]byte, MaxRaw)...), ErrTooLong},
		{append([]byte("c"), make([]byte, MaxRaw)...), ErrMalformed},
	} {
		if got, err := r.Open(c.raw, day); !errors.Is(err, c.err) || got != nil {
			t.Errorf("%d bytes: %+v, %v; want %v", len(c.raw), got, err, c.err)
		}
	}
	if _, err := NewReader().Open([]byte("a"), day); !errors.Is(err, ErrUnreadable) {
		t.Errorf("no formats: %v", err)
	}
}
