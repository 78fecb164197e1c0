package healthcode

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"time"

	"greengate/pass"
)

// Signer is an issuer's private key with what its public half may sign.
type Signer struct {
	// Key is the public half as the signed key list gives it. Issue refuses
	// to sign what a gate with this key would refuse.
	Key pass.Key
	// Private is an ed25519.PrivateKey, an *ecdsa.PrivateKey on P-256, or a
	// device that signs for one of them.
	Private crypto.Signer
}

// Claims is what a health code says.
type Claims struct {
	// Issued and Expires bound its validity; whole seconds, Issued before Expires.
	Issued, Expires time.Time
	// Status is the entry of the status list that holds its colour.
	Status pass.StatusRef
	// Name is the masked name, at most 64 bytes of UTF-8; may be empty.
	Name string
	// Region is the holder's county, six digits of GB/T 2260.
	Region string
	// Category of the holder, at most 32 bytes of UTF-8; may be empty.
	Category string
	// Paper marks a code made to be printed. A paper code has no HolderKey.
	Paper bool
	// HolderKey binds the code to its holder; nil for a static or paper code.
	HolderKey ed25519.PublicKey
}

// PermitClaims is what an entry permit says. Its enterprise is the key's.
type PermitClaims struct {
	// Issued and Expires bound its validity; whole seconds, Issued before Expires.
	Issued, Expires time.Time
	// Status is the permit's own entry of a status list.
	Status pass.StatusRef
	// Region the permit is for, six digits of GB/T 2260. It may be empty when
	// the enterprise's key is not bound to a region.
	Region string
	// Zones it opens, 1 to 16, each among the key's; in any order, no two alike.
	Zones []string
	// Holder is the status entry of the health code it is issued for.
	Holder pass.StatusRef
}

// Issue returns a signed health code, ready to be shown as a QR code.
func Issue(s Signer, c Claims) (string, error) { return "", errors.ErrUnsupported }

// IssuePermit returns a signed entry permit, ready to be shown as a QR code.
func IssuePermit(s Signer, p PermitClaims) (string, error) { return "", errors.ErrUnsupported }

// Prove wraps a bound code into its holder's proof: the code to show at this
// moment. The audience is [DefaultAudience] when empty.
func Prove(holder ed25519.PrivateKey, code string, at time.Time, audience string) (string, error) {
	return "", errors.ErrUnsupported
}
