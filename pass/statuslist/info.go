package statuslist

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrInfo: not what [Info.Marshal] writes.
var ErrInfo = errors.New("malformed status list info")

// Bounds of an Info.
const (
	// MaxInfo is the most bytes of an Info as JSON.
	MaxInfo = 4096
	// MaxURI is the most bytes of a list's URI.
	MaxURI = 256
	// MaxSequence is the last generation. JSON numbers are exact up to here.
	MaxSequence = 1<<53 - 1
)

// second is how times stand in signed lists: RFC 3339, UTC, whole seconds.
const second = "2006-01-02T15:04:05Z"

// Info describes one generation of one status list, as the authority signed it.
type Info struct {
	// URI names the list in the codes that point into it.
	URI string `json:"uri"`
	// Sequence counts the generations of this list from 1.
	Sequence uint64 `json:"sequence"`
	// Issued is when this generation was made: a code issued later is newer than the list.
	Issued time.Time `json:"issued"`
	// Expires is when it must no longer be accepted.
	Expires time.Time `json:"expires"`
	// Bits a code: 1, 2, 4 or 8. Colours take 2.
	Bits int `json:"bits"`
	// Size is the number of raw (unpacked, uncompressed) bytes.
	Size int64 `json:"size"`
	// SHA256 of the raw bytes.
	SHA256 [32]byte `json:"-"`
}

// infoJSON is an Info in its signed form.
type infoJSON struct {
	URI      string `json:"uri"`
	Sequence uint64 `json:"sequence"`
	Issued   string `json:"issued"`
	Expires  string `json:"expires"`
	Bits     int    `json:"bits"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

// Marshal writes the Info as JSON: the custom part of a TUF target. Times are
// RFC 3339 in UTC and whole seconds, the digest is lower-case hex. It writes
// nothing that [ParseInfo] would refuse.
func (i Info) Marshal() ([]byte, error) {
	i.Issued, i.Expires = i.Issued.UTC(), i.Expires.UTC()
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	data, err := json.Marshal(i.signed())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	return data, nil
}

func (i Info) signed() infoJSON {
	return infoJSON{i.URI, i.Sequence, i.Issued.UTC().Format(second), i.Expires.UTC().Format(second),
		i.Bits, i.Size, hex.EncodeToString(i.SHA256[:])}
}

// ParseInfo reads an Info. White space and the order of names are free, as
// metadata may be written again on its way; the rest is as Marshal writes it,
// with each name exactly once. Every error is [ErrInfo].
func ParseInfo(data []byte) (Info, error) {
	i, err := parseInfo(data)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	return i, nil
}

func parseInfo(data []byte) (i Info, err error) {
	err = parseDocument(data, MaxInfo, func(dec *json.Decoder) error { return i.parse(dec, nil) })
	return i, err
}

// parse reads the members of an Info; more reads those of other names, which
// are its keys, each of which may be left out.
func (i *Info) parse(dec *json.Decoder, more map[string]func(*json.Decoder) error) error {
	err := parseMembers(dec, infoNames, func(name string) error {
		value, err := dec.Token()
		if err != nil {
			return errors.New("not JSON")
		}
		return i.set(name, value)
	}, more)
	if err != nil {
		return err
	}
	return i.check()
}

var infoNames = []string{"uri", "sequence", "issued", "expires", "bits", "size", "sha256"}

// parseDocument reads one JSON object and nothing behind it.
func parseDocument(data []byte, limit int, object func(*json.Decoder) error) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes", len(data))
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := object(dec); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("trailing data")
	}
	return nil
}

// parseMembers reads an object in which each of the names stands once, and
// each of more at most once. It goes token by token, since encoding/json takes
// a name twice and in the wrong case.
func parseMembers(dec *json.Decoder, names []string, set func(name string) error, more map[string]func(*json.Decoder) error) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	names, more = slices.Clone(names), maps.Clone(more)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return errors.New("not JSON")
		}
		name, _ := token.(string)
		if read := more[name]; read != nil {
			delete(more, name)
			if err := read(dec); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		at := slices.Index(names, name)
		if at < 0 {
			return errors.New("an unknown name, or one twice")
		}
		names = slices.Delete(names, at, at+1)
		if err := set(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return errors.New("not a JSON object")
	}
	if len(names) > 0 {
		return fmt.Errorf("no %s", names[0])
	}
	return nil
}

// set takes one member.
func (i *Info) set(name string, value json.Token) (err error) {
	switch name {
	case "uri":
		s, ok := value.(string)
		if !ok {
			return errors.New("not text")
		}
		i.URI = s
	case "sequence":
		i.Sequence, err = wholeNumber(value)
	case "bits":
		var n uint64
		n, err = wholeNumber(value)
		i.Bits = int(min(n, 9)) // 9 is refused like all above
	case "size":
		i.Size, err = size(value)
	case "issued":
		i.Issued, err = parseSecond(value)
	case "expires":
		i.Expires, err = parseSecond(value)
	case "sha256":
		i.SHA256, err = digest(value)
	}
	return err
}

// wholeNumber reads a number without sign, fraction or exponent.
func wholeNumber(value json.Token) (uint64, error) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseUint(number.String(), 10, 53)
	if err != nil {
		return 0, errors.New("not a whole number")
	}
	return n, nil
}

func size(value json.Token) (int64, error) {
	n, err := wholeNumber(value)
	return int64(n), err
}

// digest reads a SHA-256 in its one form.
func digest(value json.Token) (sum [32]byte, err error) {
	s, ok := value.(string)
	if !ok {
		return sum, errors.New("not text")
	}
	b, bad := hex.DecodeString(s)
	if bad != nil || len(b) != len(sum) || hex.EncodeToString(b) != s {
		return sum, errors.New("not a digest in lower-case hex")
	}
	return [32]byte(b), nil
}

// parseSecond reads a time in its one form.
func parseSecond(value json.Token) (time.Time, error) {
	s, ok := value.(string)
	if !ok {
		return time.Time{}, errors.New("not text")
	}
	t, err := time.Parse(second, s)
	if err != nil || t.Format(second) != s {
		return time.Time{}, errors.New("not a time in whole seconds, UTC")
	}
	return t, nil
}

// check reports what an Info must not say.
func (i *Info) check() error {
	switch {
	case !validURI(i.URI):
		return errors.New("uri is not 1 to 256 printable ASCII characters")
	case i.Sequence < 1 || i.Sequence > MaxSequence:
		return errors.New("sequence out of range")
	case i.Issued.Year() < 1970 || i.Expires.Year() > 9999 || !i.Issued.Before(i.Expires):
		return errors.New("expires is not after issued")
	case !validBits(i.Bits):
		return errors.New("bits is not 1, 2, 4 or 8")
	case i.Size < 1 || i.Size > MaxSize:
		return errors.New("size out of range")
	}
	return nil
}

// validURI reports whether s can name a list: printable ASCII without space.
func validURI(s string) bool {
	if len(s) < 1 || len(s) > MaxURI {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
