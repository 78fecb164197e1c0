package hashlist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxCRL is the most bytes of an issuer's Card Revocation List.
const MaxCRL = 64 << 20

// ErrCRL: not a Card Revocation List of method rid.
var ErrCRL = errors.New("malformed card revocation list")

// CRL is a SMART Health Card issuer's /.well-known/crl/KID.json.
type CRL struct {
	// KeyID is the kid as lists have it.
	KeyID string
	// Counter is how often the file has been updated, from 1. The issuer's
	// key set names it as crlVersion.
	Counter uint64
	// Entries as [Normal] leaves them.
	Entries []Entry
}

// ParseCRL reads a Card Revocation List. White space and the order of names
// are the issuer's, and an identifier may stand twice. Every error is [ErrCRL].
func ParseCRL(data []byte) (CRL, error) {
	c, err := parseCRL(data)
	if err != nil {
		return CRL{}, fmt.Errorf("%w: %w", ErrCRL, err)
	}
	return c, nil
}

func parseCRL(data []byte) (c CRL, err error) {
	if len(data) > MaxCRL {
		return c, fmt.Errorf("%d bytes", len(data))
	}
	if !utf8.Valid(data) {
		return c, errors.New("not UTF-8")
	}
	r := reader{json.NewDecoder(bytes.NewReader(data))}
	r.UseNumber()
	var kid, method string
	err = r.object(map[string]func() error{
		"kid":    func() error { return r.text(&kid) },
		"method": func() error { return r.text(&method) },
		"ctr":    func() error { return r.number(&c.Counter) },
		"rids": func() error {
			if err := r.delim('['); err != nil {
				return err
			}
			for r.More() {
				var s string
				if err := r.text(&s); err != nil {
					return err
				}
				e, err := parseRID(s)
				if err != nil {
					return fmt.Errorf("number %d: %w", len(c.Entries)+1, err)
				}
				c.Entries = append(c.Entries, e)
			}
			return r.delim(']')
		},
	})
	if err != nil {
		return c, err
	}
	if _, err := r.Token(); err != io.EOF {
		return c, errors.New("trailing data")
	}
	if method != "rid" {
		return c, fmt.Errorf("method %.16q", method)
	}
	if c.Counter < 1 {
		return c, errors.New("ctr is 0")
	}
	if c.KeyID, err = SHCKeyID(kid); err != nil {
		return c, err
	}
	c.Entries = Normal(c.Entries)
	return c, nil
}

// parseRID reads an identifier with perhaps a time behind it.
func parseRID(s string) (e Entry, err error) {
	rid, at, timed := strings.Cut(s, ".")
	if e.Hash, err = SHCRevocationID(rid); err != nil {
		return e, err
	}
	if !timed {
		return e, nil
	}
	n, err := strconv.ParseUint(at, 10, 53)
	if err != nil || n < 1 || n > MaxSecond || strconv.FormatUint(n, 10) != at {
		return e, fmt.Errorf("time %.20q of a rid", at)
	}
	e.Before = int64(n)
	return e, nil
}
