package pass

import (
	"crypto"
	"time"
)

// Use says what a key may sign.
type Use string

const (
	// UseCode is an authority's key for health codes.
	UseCode Use = "code"
	// UsePermit is an enterprise's key for entry permits.
	UsePermit Use = "permit"
)

// Algorithm is a COSE algorithm number (RFC 9053; RFC 9864 for -19).
type Algorithm int

const (
	// EdDSA as in RFC 9053 section 2.2; with an Ed25519 key. Also accepted as -19.
	EdDSA Algorithm = -8
	// ES256 is ECDSA with P-256 and SHA-256, RFC 9053 section 2.1.
	ES256 Algorithm = -7
	// Ed25519 is the fully specified algorithm of RFC 9864; the same signatures as EdDSA with an Ed25519 key.
	Ed25519 Algorithm = -19
)

// Key is a verification key of an issuer, as the signed key list gives it.
type Key struct {
	// ID is the COSE kid, 1 to 32 bytes. Two keys may share one: a verifier tries each.
	ID []byte
	// Algorithm the key is bound to: EdDSA (which accepts -19 too) or ES256.
	Algorithm Algorithm
	// Public is an ed25519.PublicKey or an *ecdsa.PublicKey on P-256.
	Public crypto.PublicKey
	// Use is what it may sign.
	Use Use
	// Region is the prefix of the GB/T 2260 codes it may issue for: "" for all, "33" a province, "3301" a prefecture.
	// Under a key with a region, a permit must name one too.
	Region string
	// NotBefore and NotAfter bound the iat of what it signs.
	NotBefore, NotAfter time.Time
	// Enterprise is the number of the enterprise, for UsePermit.
	Enterprise string
	// Zones an enterprise's key may open, for UsePermit.
	Zones []string
}

// Keys finds verification keys.
type Keys interface {
	// Keys returns all keys with this kid, none if it is unknown. The result
	// is shared: callers do not change it.
	Keys(kid []byte) []Key
}
