package hashlist

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrDescription: not what [Description.Marshal] writes.
var ErrDescription = errors.New("malformed description of a revocation list")

// Bounds of a description.
const (
	// MaxDescription is the most bytes of a description as JSON.
	MaxDescription = 4096
	// MaxDeltas is the most deltas that one names.
	MaxDeltas = 8
	// MaxSequence is the last generation. JSON numbers are exact up to here.
	MaxSequence = 1<<53 - 1
)

// second is how times stand in signed lists: RFC 3339, UTC, whole seconds.
const second = "2006-01-02T15:04:05Z"

// Info describes one generation of one list, as the authority signed it.
type Info struct {
	ID
	// Sequence counts the generations of this list from 1.
	Sequence uint64
	// Issued is when this generation was made, Expires when it must no longer
	// be accepted.
	Issued, Expires time.Time
	// Entries is how many there are.
	Entries int64
	// SHA256 of the list's file.
	SHA256 [32]byte
}

// Size is how many bytes the list has as a file.
func (i Info) Size() int64 { return i.Scheme.FileSize(i.Entries) }

// DeltaInfo describes one delta of a list.
type DeltaInfo struct {
	// From is the oldest generation that the delta makes the described one
	// of; it does so of each one after it too. Issued is when that one was made.
	From   uint64
	Issued time.Time
	// Before is the SHA-256 of generation From.
	Before [32]byte
	// Size and SHA256 of the delta's file.
	Size   int64
	SHA256 [32]byte
}

// Description is the custom part of a list's TUF target.
type Description struct {
	Info
	// Deltas, from the oldest generation to the newest.
	Deltas []DeltaInfo
}

type deltaJSON struct {
	From   uint64 `json:"from"`
	Issued string `json:"issued"`
	Before string `json:"before"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type descriptionJSON struct {
	Scheme   Scheme      `json:"scheme"`
	KeyID    string      `json:"kid"`
	Part     string      `json:"part"`
	Sequence uint64      `json:"sequence"`
	Issued   string      `json:"issued"`
	Expires  string      `json:"expires"`
	Entries  int64       `json:"entries"`
	SHA256   string      `json:"sha256"`
	Deltas   []deltaJSON `json:"deltas"`
}

// Marshal writes the description as JSON. It writes nothing that
// [ParseDescription] would refuse.
func (d Description) Marshal() ([]byte, error) {
	d.Issued, d.Expires = d.Issued.UTC(), d.Expires.UTC()
	j := descriptionJSON{d.Scheme, d.KeyID, d.Part, d.Sequence, d.Issued.Format(second), d.Expires.Format(second),
		d.Entries, hex.EncodeToString(d.SHA256[:]), []deltaJSON{}}
	for _, x := range d.Deltas {
		j.Deltas = append(j.Deltas, deltaJSON{x.From, x.Issued.UTC().Format(second), hex.EncodeToString(x.Before[:]), x.Size, hex.EncodeToString(x.SHA256[:])})
	}
	data, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	if _, err := ParseDescription(data); err != nil {
		return nil, err
	}
	return data, nil
}

// ParseDescription reads a description. White space and the order of names are
// free, as metadata may be written again on its way; the rest is as Marshal
// writes it, with each name exactly once. Every error is [ErrDescription].
func ParseDescription(data []byte) (Description, error) {
	d, err := parseDescription(data)
	if err != nil {
		return Description{}, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	return d, nil
}

func parseDescription(data []byte) (d Description, err error) {
	if len(data) > MaxDescription {
		return d, fmt.Errorf("%d bytes", len(data))
	}
	if !utf8.Valid(data) {
		return d, errors.New("not UTF-8")
	}
	r := reader{json.NewDecoder(bytes.NewReader(data))}
	r.UseNumber()
	var scheme string
	err = r.object(map[string]func() error{
		"scheme":   func() error { return r.text(&scheme) },
		"kid":      func() error { return r.text(&d.KeyID) },
		"part":     func() error { return r.text(&d.Part) },
		"sequence": func() error { return r.number(&d.Sequence) },
		"issued":   func() error { return r.time(&d.Issued) },
		"expires":  func() error { return r.time(&d.Expires) },
		"entries":  func() error { return r.size(&d.Entries) },
		"sha256":   func() error { return r.digest(&d.SHA256) },
		"deltas":   func() error { return r.deltas(&d.Deltas) },
	})
	if err != nil {
		return d, err
	}
	if _, err := r.Token(); err != io.EOF {
		return d, errors.New("trailing data")
	}
	d.Scheme = Scheme(scheme)
	return d, d.check()
}

// check reports what a description must not say.
func (d *Description) check() error {
	if err := d.ID.Check(); err != nil {
		return err
	}
	switch {
	case d.Sequence < 1 || d.Sequence > MaxSequence:
		return errors.New("sequence out of range")
	case d.Issued.Year() < 1970 || d.Expires.Year() > 9999 || !d.Issued.Before(d.Expires):
		return errors.New("expires is not after issued")
	case d.Entries < 0 || d.Entries > int64(d.Scheme.MaxEntries()):
		return errors.New("entries out of range")
	case len(d.Deltas) > MaxDeltas:
		return errors.New("too many deltas")
	}
	last := uint64(0)
	for _, x := range d.Deltas {
		if x.From <= last || x.From >= d.Sequence || x.Size < deltaHeaderSize || x.Size > MaxDelta ||
			x.Issued.Year() < 1970 || x.Issued.After(d.Issued) {
			return errors.New("a delta out of range or order")
		}
		last = x.From
	}
	return nil
}

// reader reads JSON token by token, since encoding/json takes a name twice and
// in the wrong case.
type reader struct{ *json.Decoder }

func (r reader) delim(want json.Delim) error {
	if t, err := r.Token(); err != nil || t != want {
		return fmt.Errorf("no %q where one belongs", want.String())
	}
	return nil
}

// object reads an object with exactly these names.
func (r reader) object(names map[string]func() error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	for r.More() {
		t, err := r.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errors.New("not JSON")
		}
		read := names[name]
		if read == nil {
			return errors.New("an unknown name, or one twice")
		}
		delete(names, name)
		if err := read(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(names) > 0 {
		return errors.New("a name is missing")
	}
	return r.delim('}')
}

func (r reader) text(s *string) error {
	t, err := r.Token()
	v, ok := t.(string)
	if err != nil || !ok {
		return errors.New("not text")
	}
	*s = v
	return nil
}

// number reads whole numbers only: no sign, no fraction, no exponent.
func (r reader) number(n *uint64) error {
	t, err := r.Token()
	v, ok := t.(json.Number)
	if err != nil || !ok {
		return errors.New("not a number")
	}
	if *n, err = strconv.ParseUint(v.String(), 10, 53); err != nil {
		return errors.New("not a whole number")
	}
	return nil
}

func (r reader) size(n *int64) error {
	var u uint64
	err := r.number(&u)
	*n = int64(u)
	return err
}

func (r reader) time(t *time.Time) error {
	var s string
	if err := r.text(&s); err != nil {
		return err
	}
	v, err := time.Parse(second, s)
	if err != nil || v.Format(second) != s {
		return errors.New("not a time in whole seconds, UTC")
	}
	*t = v
	return nil
}

func (r reader) digest(d *[32]byte) error {
	var s string
	if err := r.text(&s); err != nil {
		return err
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) || hex.EncodeToString(b) != s {
		return errors.New("not a digest in lower-case hex")
	}
	copy(d[:], b)
	return nil
}

func (r reader) deltas(all *[]DeltaInfo) error {
	if err := r.delim('['); err != nil {
		return err
	}
	for r.More() {
		if len(*all) == MaxDeltas {
			return errors.New("too many")
		}
		var x DeltaInfo
		if err := r.object(map[string]func() error{
			"from":   func() error { return r.number(&x.From) },
			"issued": func() error { return r.time(&x.Issued) },
			"before": func() error { return r.digest(&x.Before) },
			"size":   func() error { return r.size(&x.Size) },
			"sha256": func() error { return r.digest(&x.SHA256) },
		}); err != nil {
			return err
		}
		*all = append(*all, x)
	}
	return r.delim(']')
}

// Delta returns the smallest delta that makes the described generation of the
// held one, if any does in fewer bytes than the list itself has.
func (d Description) Delta(held Info) (DeltaInfo, bool) {
	best, found := DeltaInfo{}, false
	if held.ID != d.ID || held.Sequence >= d.Sequence {
		return best, false
	}
	for _, x := range d.Deltas {
		fits := x.From < held.Sequence || x.From == held.Sequence && x.Before == held.SHA256
		if fits && x.Size < d.Size() && (!found || x.Size < best.Size) {
			best, found = x, true
		}
	}
	return best, found
}

// Same reports whether two infos are of the same generation, to the second.
func (i Info) Same(o Info) bool {
	return i.ID == o.ID && i.Sequence == o.Sequence && i.Entries == o.Entries && i.SHA256 == o.SHA256 &&
		i.Issued.Equal(o.Issued) && i.Expires.Equal(o.Expires)
}

// Sort orders lists by name.
func Sort(infos []Info) {
	slices.SortFunc(infos, func(a, b Info) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
}
