package statuslist

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"

	"greengate/pass/cose"
)

// TokenType is the typ header of the CWT form (draft section 5.2).
const TokenType = "application/statuslist+cwt"

var (
	// ErrMalformed: not a status list in CBOR, or not a status list token.
	ErrMalformed = errors.New("malformed status list")
	// ErrTrailing: bytes behind the end of the CBOR or of the compressed
	// list. It is ErrMalformed.
	ErrTrailing = fmt.Errorf("%w: trailing bytes", ErrMalformed)
	// ErrTokenExpired: now is at or after the token's exp.
	ErrTokenExpired = errors.New("status list token expired")
	// ErrTokenNotYetValid: now is before the token's iat.
	ErrTokenNotYetValid = errors.New("status list token not yet valid")
)

// Token is a status list in the CWT form of the draft's section 5.2.
type Token struct {
	// Subject is the list's URI (sub).
	Subject string
	// Issued is when it was made (iat), to the second.
	Issued time.Time
	// Expires is when it is no longer valid (exp); zero where it does not say.
	Expires time.Time
	// TTL is how long a copy may be kept, in whole seconds; zero where it does not say.
	TTL time.Duration
	// List is the list itself.
	List *List
}

// compressed is the list as CBOR, draft section 4.3.
type compressed struct {
	Bits        uint64 `cbor:"bits"`
	List        []byte `cbor:"lst"`
	Aggregation string `cbor:"aggregation_uri,omitempty"`
}

// tokenClaims is the payload of the token.
type tokenClaims struct {
	Subject string          `cbor:"2,keyasint"`
	Expires int64           `cbor:"4,keyasint,omitempty"`
	Issued  int64           `cbor:"6,keyasint"`
	List    cbor.RawMessage `cbor:"65533,keyasint"`
	TTL     uint64          `cbor:"65534,keyasint,omitempty"`
}

// latest is the last second that RFC 3339 can write.
const latest = 253402300799

// options of reading strangers' CBOR; claims that are not ours are skipped.
var options = cbor.DecOptions{
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	IndefLength:       cbor.IndefLengthForbidden,
	TagsMd:            cbor.TagsForbidden,
	MaxNestedLevels:   6,
	MaxArrayElements:  64,
	MaxMapPairs:       32,
	FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
}

var decMode = func() cbor.DecMode {
	m, err := options.DecMode()
	if err != nil {
		panic(err) // the options above are constants
	}
	return m
}()

var encMode = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// MarshalCBOR writes the list as CBOR, {"bits", "lst"}, compressed at zlib's
// default level: the highest one takes a tenth less and twelve times as long.
func (l *List) MarshalCBOR() ([]byte, error) {
	if !validBits(l.bits) || len(l.raw) == 0 {
		return nil, fmt.Errorf("write status list: %w", ErrSize)
	}
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevel(&buf, zlib.DefaultCompression)
	if err != nil {
		return nil, fmt.Errorf("write status list: %w", err)
	}
	if _, err := w.Write(l.raw); err != nil {
		return nil, fmt.Errorf("write status list: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write status list: %w", err)
	}
	data, err := encMode.Marshal(compressed{Bits: uint64(l.bits), List: buf.Bytes()})
	if err != nil {
		return nil, fmt.Errorf("write status list: %w", err)
	}
	return data, nil
}

// maxInflate is how many bytes one of zlib's can stand for at most (zlib's
// technical notes, "maximum compression factor").
const maxInflate = 1032

// ParseCBOR reads a list of at most limit raw bytes, and never more than
// [MaxSize]. It reads no further than limit, however much is packed inside.
func ParseCBOR(data []byte, limit int64) (*List, error) {
	limit = min(limit, MaxSize)
	var c compressed
	if err := unmarshal(data, &c); err != nil {
		return nil, err
	}
	if c.Bits > 8 || !validBits(int(c.Bits)) {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, ErrBits)
	}
	in := bytes.NewReader(c.List)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// One byte more than allowed tells a list at the bound from one above it;
	// at the bound it also makes the reader check the digest behind the data.
	var out bytes.Buffer
	// Room at once, since growing copies all again and again: as much as is
	// allowed, and no more than zlib can have packed into so few bytes.
	out.Grow(int(min(limit+1, maxInflate*int64(len(c.List)))) + bytes.MinRead)
	if _, err := io.Copy(&out, io.LimitReader(z, limit+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if int64(out.Len()) > limit {
		return nil, fmt.Errorf("%w: more than %d raw bytes: %w", ErrMalformed, limit, ErrSize)
	}
	// zlib's reader stops at its end and says nothing of what follows.
	if in.Len() > 0 {
		return nil, fmt.Errorf("compressed list: %w", ErrTrailing)
	}
	l, err := FromRaw(out.Bytes(), int(c.Bits))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return l, nil
}

// unmarshal reads CBOR. The decoder's text may quote what it read, so it is
// not kept.
func unmarshal(data []byte, v any) error {
	err := decMode.Unmarshal(data, v)
	var extra *cbor.ExtraneousDataError
	switch {
	case errors.As(err, &extra):
		return ErrTrailing
	case err != nil:
		return fmt.Errorf("%w: bad CBOR", ErrMalformed)
	}
	return nil
}

// SignToken writes the token and signs it with the envelope's private key.
func SignToken(e cose.Envelope, t Token) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("sign status list token: %w", err)
	}
	list, err := t.List.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("sign status list token: %w", err)
	}
	c := tokenClaims{Subject: t.Subject, Issued: t.Issued.Unix(), List: list, TTL: uint64(t.TTL / time.Second)}
	if !t.Expires.IsZero() {
		c.Expires = t.Expires.Unix()
	}
	payload, err := encMode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("sign status list token: %w", err)
	}
	data, err := e.Sign(TokenType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign status list token: %w", err)
	}
	return data, nil
}

// OpenToken verifies a token with the envelope's public key and reads its
// list of at most limit raw bytes. Besides the errors of this package it
// returns those of package cose.
func OpenToken(e cose.Envelope, data []byte, now time.Time, limit int64) (*Token, error) {
	payload, err := e.Open(TokenType, data)
	if err != nil {
		return nil, fmt.Errorf("status list token: %w", err)
	}
	var c tokenClaims
	if err := unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("status list token: %w", err)
	}
	if c.Issued < 1 || c.Issued > latest || c.Expires < 0 || c.Expires > latest || c.TTL > latest/1000 || len(c.List) == 0 {
		return nil, fmt.Errorf("status list token: %w", ErrMalformed)
	}
	t := &Token{Subject: c.Subject, Issued: time.Unix(c.Issued, 0).UTC(), TTL: time.Duration(c.TTL) * time.Second}
	if c.Expires != 0 {
		t.Expires = time.Unix(c.Expires, 0).UTC()
	}
	// Before the list is unpacked: an old one is not worth the work.
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return nil, fmt.Errorf("status list token of %s: %w", t.Issued.Format(time.RFC3339), ErrTokenExpired)
	}
	if now.Before(t.Issued) {
		return nil, fmt.Errorf("status list token of %s: %w", t.Issued.Format(time.RFC3339), ErrTokenNotYetValid)
	}
	if t.List, err = ParseCBOR(c.List, limit); err != nil {
		return nil, fmt.Errorf("status list token: %w", err)
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("status list token: %w", err)
	}
	return t, nil
}

// check reports what a token must not say.
func (t *Token) check() error {
	switch {
	case !validURI(t.Subject):
		return fmt.Errorf("%w: subject", ErrMalformed)
	case t.Issued.Unix() < 1 || t.Issued.Unix() > latest:
		return fmt.Errorf("%w: issued", ErrMalformed)
	case !t.Expires.IsZero() && (!t.Issued.Before(t.Expires) || t.Expires.Unix() > latest):
		return fmt.Errorf("%w: expires is not after issued", ErrMalformed)
	case t.TTL < 0:
		return fmt.Errorf("%w: ttl", ErrMalformed)
	case t.List == nil:
		return fmt.Errorf("%w: no list", ErrMalformed)
	}
	return nil
}
