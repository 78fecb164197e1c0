package pass

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// ErrKeySet: a key list that is not what [MarshalKeySet] writes.
var ErrKeySet = errors.New("malformed key list")

// Bounds of a key list.
const (
	// MaxKeySet is the most bytes of a key list.
	MaxKeySet = 64 << 20
	// MaxKeys is the most keys of a key list.
	MaxKeys = 100_000

	maxKeyID      = 32 // bytes of a kid
	maxKeyText    = 32 // bytes of an enterprise number or a zone
	maxKeyZones   = 64 // zones of one key
	maxKeyNumbers = 6  // digits of a region
)

// second is how times stand in signed lists: RFC 3339, UTC, whole seconds.
const second = "2006-01-02T15:04:05Z"

// KeyMap finds keys by their kid. It implements [Keys].
type KeyMap map[string][]Key

// NewKeyMap returns the keys, found by kid.
func NewKeyMap(keys []Key) KeyMap {
	m := make(KeyMap, len(keys))
	for _, k := range keys {
		m[string(k.ID)] = append(m[string(k.ID)], k)
	}
	return m
}

// Keys returns all keys with this kid.
func (m KeyMap) Keys(kid []byte) []Key { return m[string(kid)] }

// keyJSON is one key of a key list.
type keyJSON struct {
	ID         string   `json:"kid"`
	Algorithm  string   `json:"alg"`
	Public     string   `json:"public"`
	Use        string   `json:"use"`
	Region     string   `json:"region"`
	NotBefore  string   `json:"not_before"`
	NotAfter   string   `json:"not_after"`
	Enterprise string   `json:"enterprise,omitempty"`
	Zones      []string `json:"zones,omitempty"`
}

// MarshalKeySet writes a key list:
//
//	{"keys":[{"kid":"...","alg":"EdDSA","public":"...","use":"code","region":"33",
//	  "not_before":"2020-02-11T00:00:00Z","not_after":"2021-02-11T00:00:00Z"}]}
//
// kid and public are base64url without padding; public is 32 bytes of Ed25519
// or an uncompressed point of P-256 (SEC 1 section 2.3.3). A permit key also
// has "enterprise" and "zones". It writes no list that [ParseKeySet] would
// refuse.
func MarshalKeySet(keys []Key) ([]byte, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%w: %d keys", ErrKeySet, len(keys))
	}
	list := struct {
		Keys []keyJSON `json:"keys"`
	}{make([]keyJSON, 0, len(keys))}
	for i := range keys {
		k := &keys[i]
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrKeySet, i, err)
		}
		j := keyJSON{
			ID:         base64.RawURLEncoding.EncodeToString(k.ID),
			Algorithm:  "EdDSA",
			Use:        string(k.Use),
			Region:     k.Region,
			NotBefore:  k.NotBefore.UTC().Format(second),
			NotAfter:   k.NotAfter.UTC().Format(second),
			Enterprise: k.Enterprise,
			Zones:      k.Zones,
		}
		switch pub := k.Public.(type) {
		case ed25519.PublicKey:
			j.Public = base64.RawURLEncoding.EncodeToString(pub)
		case *ecdsa.PublicKey:
			point, err := pub.Bytes()
			if err != nil {
				return nil, fmt.Errorf("%w: key %d: %w", ErrKeySet, i, err)
			}
			j.Algorithm = "ES256"
			j.Public = base64.RawURLEncoding.EncodeToString(point)
		}
		list.Keys = append(list.Keys, j)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	if len(data) > MaxKeySet {
		return nil, fmt.Errorf("%w: %d bytes", ErrKeySet, len(data))
	}
	return data, nil
}

// ParseKeySet reads a key list. It takes white space, any order of names and
// compressed points of P-256; everything else is as [MarshalKeySet] writes it,
// and every error is [ErrKeySet].
func ParseKeySet(data []byte) ([]Key, error) {
	if len(data) > MaxKeySet {
		return nil, fmt.Errorf("%w: %d bytes", ErrKeySet, len(data))
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrKeySet)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	keys := []Key{}
	list := false
	err := object(dec, func(name string) error {
		if name != "keys" {
			return errors.New("unknown name beside keys")
		}
		list = true
		return array(dec, func() error {
			if len(keys) == MaxKeys {
				return errors.New("too many keys")
			}
			k, err := parseKey(dec)
			if err != nil {
				return fmt.Errorf("key %d: %w", len(keys), err)
			}
			keys = append(keys, k)
			return nil
		})
	})
	if err == nil && !list {
		err = errors.New("no keys")
	}
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = errors.New("trailing data")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	return keys, nil
}

// parseKey reads one key of the list.
func parseKey(dec *json.Decoder) (k Key, err error) {
	var j keyJSON
	err = object(dec, func(name string) (err error) {
		switch name {
		case "kid":
			j.ID, err = text(dec)
		case "alg":
			j.Algorithm, err = text(dec)
		case "public":
			j.Public, err = text(dec)
		case "use":
			j.Use, err = text(dec)
		case "region":
			j.Region, err = text(dec)
		case "not_before":
			j.NotBefore, err = text(dec)
		case "not_after":
			j.NotAfter, err = text(dec)
		case "enterprise":
			j.Enterprise, err = text(dec)
		case "zones":
			err = array(dec, func() error {
				z, err := text(dec)
				if len(j.Zones) == maxKeyZones {
					return errors.New("too many zones")
				}
				j.Zones = append(j.Zones, z)
				return err
			})
		default:
			err = errors.New("unknown name")
		}
		return err
	})
	if err != nil {
		return k, err
	}
	k = Key{Use: Use(j.Use), Region: j.Region, Enterprise: j.Enterprise, Zones: j.Zones}
	if k.ID, err = base64url(j.ID); err != nil {
		return k, fmt.Errorf("kid: %w", err)
	}
	point, err := base64url(j.Public)
	if err != nil {
		return k, fmt.Errorf("public: %w", err)
	}
	switch j.Algorithm {
	case "EdDSA":
		k.Algorithm = EdDSA
		k.Public = ed25519.PublicKey(point)
	case "ES256":
		k.Algorithm = ES256
		if k.Public, err = p256(point); err != nil {
			return k, err
		}
	default:
		return k, errors.New("unknown algorithm")
	}
	if k.NotBefore, err = seconds(j.NotBefore); err != nil {
		return k, fmt.Errorf("not_before: %w", err)
	}
	if k.NotAfter, err = seconds(j.NotAfter); err != nil {
		return k, fmt.Errorf("not_after: %w", err)
	}
	return k, k.check()
}

// check reports what keeps a key out of a key list.
func (k *Key) check() error {
	if len(k.ID) < 1 || len(k.ID) > maxKeyID {
		return fmt.Errorf("kid of %d bytes", len(k.ID))
	}
	switch pub := k.Public.(type) {
	case ed25519.PublicKey:
		if k.Algorithm != EdDSA || len(pub) != ed25519.PublicKeySize {
			return errors.New("not an Ed25519 key for EdDSA")
		}
	case *ecdsa.PublicKey:
		if k.Algorithm != ES256 || pub == nil || pub.Curve != elliptic.P256() {
			return errors.New("not a P-256 key for ES256")
		}
	default:
		return errors.New("no public key")
	}
	if len(k.Region) > maxKeyNumbers || len(k.Region)%2 != 0 {
		return errors.New("region is not 0, 2, 4 or 6 digits")
	}
	for i := range len(k.Region) {
		if k.Region[i] < '0' || k.Region[i] > '9' {
			return errors.New("region is not digits")
		}
	}
	if k.NotBefore.Year() < 1970 || k.NotAfter.Year() > 9999 || k.NotAfter.Before(k.NotBefore) {
		return errors.New("period ends before it begins")
	}
	switch k.Use {
	case UseCode:
		if k.Enterprise != "" || len(k.Zones) != 0 {
			return errors.New("an authority's key with enterprise or zones")
		}
		return nil
	case UsePermit:
		if !keyText(k.Enterprise) {
			return errors.New("no enterprise number")
		}
		if len(k.Zones) < 1 || len(k.Zones) > maxKeyZones {
			return fmt.Errorf("%d zones", len(k.Zones))
		}
		for i, z := range k.Zones {
			if !keyText(z) || slices.Contains(k.Zones[:i], z) {
				return errors.New("bad zone")
			}
		}
		return nil
	}
	return errors.New("unknown use")
}

// keyText reports whether s is 1 to 32 bytes of UTF-8 without control
// characters.
func keyText(s string) bool {
	if len(s) < 1 || len(s) > maxKeyText || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// p256 reads a point, compressed or not (SEC 1 section 2.3.4).
func p256(point []byte) (*ecdsa.PublicKey, error) {
	if len(point) == 33 {
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), point)
		if x == nil {
			return nil, errors.New("not a point of P-256")
		}
		full := make([]byte, 65)
		full[0] = 4
		x.FillBytes(full[1:33])
		y.FillBytes(full[33:])
		point = full
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errors.New("not a point of P-256")
	}
	return pub, nil
}

// base64url reads base64url without padding, in its one form.
func base64url(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	// The decoder skips line ends and takes spare bits; writing again does not.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, errors.New("not base64url")
	}
	return b, nil
}

// seconds reads a time of a signed list.
func seconds(s string) (time.Time, error) {
	t, err := time.Parse(second, s)
	if err != nil || t.Format(second) != s {
		return time.Time{}, errors.New("not a time in whole seconds, UTC")
	}
	return t, nil
}

// object reads a JSON object and hands each name to member, which reads the
// value. encoding/json takes a name twice, and in the wrong case; this does not.
func object(dec *json.Decoder, member func(name string) error) error {
	if err := delimiter(dec, '{'); err != nil {
		return err
	}
	var seen [16]string // more names than any object here has
	n := 0
	for dec.More() {
		name, err := text(dec)
		if err != nil {
			return err
		}
		if slices.Contains(seen[:n], name) || n == len(seen) {
			return errors.New("a name twice")
		}
		seen[n] = name
		n++
		if err := member(name); err != nil {
			return err
		}
	}
	return delimiter(dec, '}')
}

// array reads a JSON array; element reads each value.
func array(dec *json.Decoder, element func() error) error {
	if err := delimiter(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return delimiter(dec, ']')
}

// delimiter reads one bracket.
func delimiter(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	if t != want {
		return fmt.Errorf("no %s where one must be", want)
	}
	return nil
}

// text reads a JSON string.
func text(dec *json.Decoder) (string, error) {
	t, err := dec.Token()
	if err != nil {
		return "", errors.New("not JSON")
	}
	s, ok := t.(string)
	if !ok {
		return "", errors.New("no text where one must be")
	}
	return s, nil
}
