package hashlist

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Scheme is a family of foreign codes.
type Scheme string

// The schemes that revoke by hash.
const (
	// EU Digital COVID Certificates.
	EU Scheme = "eu"
	// SHC is SMART Health Cards.
	SHC Scheme = "shc"
)

// Schemes lists them.
func Schemes() []Scheme { return []Scheme{EU, SHC} }

// Valid reports whether the scheme is one of ours.
func (s Scheme) Valid() bool { return s == EU || s == SHC }

// Width is how many bytes an entry takes: the hash, and in SHC the time.
func (s Scheme) Width() int {
	if s == SHC {
		return HashSize + 8
	}
	return HashSize
}

// HashSize is the bytes of a hash: 128 bits.
const HashSize = 16

// Hash is the first 128 bits of a SHA-256.
type Hash [HashSize]byte

func hashOf(data []byte) Hash {
	sum := sha256.Sum256(data)
	return Hash(sum[:HashSize])
}

var (
	// ErrID: no name of a list.
	ErrID = errors.New("malformed name of a revocation list")
	// ErrIdentifier: not what a code of the scheme is revoked by.
	ErrIdentifier = errors.New("malformed revocation identifier")
)

// The COSE algorithms of EU certificates (RFC 9053 section 2.1, RFC 8230 section 2).
const (
	es256 = -7
	es384 = -35
	es512 = -36
	ps256 = -37
)

// EUSignature returns the hash of type SIGNATURE. alg is the COSE algorithm of
// the key that verified the signature: of ECDSA only r is hashed, of RSA all.
func EUSignature(signature []byte, alg int) (Hash, error) {
	switch alg {
	case es256, es384, es512:
		if len(signature) < 2 || len(signature)%2 != 0 {
			return Hash{}, fmt.Errorf("%w: ECDSA signature of %d bytes", ErrIdentifier, len(signature))
		}
		return hashOf(signature[:len(signature)/2]), nil
	case ps256:
		if len(signature) == 0 {
			return Hash{}, fmt.Errorf("%w: empty signature", ErrIdentifier)
		}
		return hashOf(signature), nil
	}
	return Hash{}, fmt.Errorf("%w: algorithm %d", ErrIdentifier, alg)
}

// EUUCI returns the hash of type UCI, of the certificate identifier as it
// stands in the certificate.
func EUUCI(uci string) Hash { return hashOf([]byte(uci)) }

// EUCountryUCI returns the hash of type COUNTRYCODEUCI: of the issuing country
// (CWT iss) with the identifier behind it.
func EUCountryUCI(country, uci string) Hash { return hashOf([]byte(country + uci)) }

// maxRID is the most characters of an SHC revocation identifier.
const maxRID = 24

// SHCRevocationID returns the hash of a revocation identifier (vc.rid).
func SHCRevocationID(rid string) (Hash, error) {
	if len(rid) < 1 || len(rid) > maxRID || strings.ContainsFunc(rid, notBase64URL) {
		return Hash{}, fmt.Errorf("%w: rid is not 1 to %d characters of base64url", ErrIdentifier, maxRID)
	}
	return hashOf([]byte(rid)), nil
}

func notBase64URL(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
}

// ID names one list.
type ID struct {
	Scheme Scheme
	// KeyID is the issuer key's identifier in lower-case hex: the 8 bytes of
	// an EU kid, the 32 of an SHC key's thumbprint.
	KeyID string
	// Part is the beginning of the hashes in the list: none, one or two
	// lower-case hexadecimal digits.
	Part string
}

// MaxKeyID is the most bytes of a key's identifier.
const MaxKeyID = 32

// whole stands for the empty Part in paths.
const whole = "all"

var (
	keyID = regexp.MustCompile(`^(?:[0-9a-f]{2}){1,32}$`)
	part  = regexp.MustCompile(`^[0-9a-f]{0,2}$`)
	path  = regexp.MustCompile(`^revocation/([a-z]{2,8})/([0-9a-f]{2,64})/(all|[0-9a-f]{1,2})\.ghl$`)
)

// SHCKeyID returns the KeyID for the kid of an SHC key, which is base64url.
func SHCKeyID(kid string) (string, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(kid)
	if err != nil || len(b) < 1 || len(b) > MaxKeyID || strings.ContainsAny(kid, "\r\n") {
		return "", fmt.Errorf("%w: kid %.64q is not base64url of 1 to %d bytes", ErrID, kid, MaxKeyID)
	}
	return hex.EncodeToString(b), nil
}

// euKeyID is the bytes of an EU kid: the beginning of the certificate's SHA-256.
const euKeyID = 8

// ParseKID returns the KeyID for a kid as the scheme writes it, base64 in an EU
// trust list and base64url in an SHC key set, or in hex as a KeyID itself.
func (s Scheme) ParseKID(kid string) (string, error) {
	switch s {
	case SHC:
		// Base64url of so many digits would be more than a kid has.
		if len(kid) == 2*MaxKeyID && keyID.MatchString(kid) {
			return kid, nil
		}
		return SHCKeyID(kid)
	case EU:
		if len(kid) == 2*euKeyID && keyID.MatchString(kid) {
			return kid, nil
		}
		b, err := base64.StdEncoding.Strict().DecodeString(kid)
		if err != nil || len(b) != euKeyID || strings.ContainsAny(kid, "\r\n") {
			return "", fmt.Errorf("%w: kid %.64q is not base64 or lower-case hex of %d bytes", ErrID, kid, euKeyID)
		}
		return hex.EncodeToString(b), nil
	}
	return "", fmt.Errorf("%w: scheme %.8q, want %s or %s", ErrID, s, EU, SHC)
}

// KID is the key's identifier as the scheme writes it.
func (id ID) KID() string {
	b, err := hex.DecodeString(id.KeyID)
	if err != nil {
		return id.KeyID // no list's, and no kid either
	}
	if id.Scheme == SHC {
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Check reports a name that no list has.
func (id ID) Check() error {
	if !id.Scheme.Valid() || !keyID.MatchString(id.KeyID) || !part.MatchString(id.Part) {
		return fmt.Errorf("%w: %.8q, kid %.64q, part %.2q", ErrID, id.Scheme, id.KeyID, id.Part)
	}
	return nil
}

// String is the name in logs and reports: "eu/0c4b15512be91401/3f".
func (id ID) String() string {
	p := id.Part
	if p == "" {
		p = whole
	}
	return string(id.Scheme) + "/" + id.KeyID + "/" + p
}

// Path is where the list lies among the targets of a repository. It must never
// change: it stands in the delegation that offline keys signed.
func (id ID) Path() string { return "revocation/" + id.String() + ".ghl" }

// DeltaPath is where the delta from a generation lies.
func (id ID) DeltaPath(from uint64) string {
	return fmt.Sprintf("revocation/%s.%d.ghd", id, from)
}

// ParsePath is the inverse of Path.
func ParsePath(s string) (ID, error) {
	m := path.FindStringSubmatch(s)
	if m == nil {
		return ID{}, fmt.Errorf("%w: path %.128q", ErrID, s)
	}
	id := ID{Scheme: Scheme(m[1]), KeyID: m[2], Part: m[3]}
	if id.Part == whole {
		id.Part = ""
	}
	return id, id.Check()
}

// Contains reports whether the hash belongs into the list.
func (id ID) Contains(h Hash) bool {
	return strings.HasPrefix(hex.EncodeToString(h[:1]), id.Part)
}
