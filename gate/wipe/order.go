// Package wipe is the order with which an operator has a gate destroy all it
// holds: a gate that was stolen, sold or sent back.
//
// An [Order] names one gate and one certificate, so that no other gate obeys it,
// nor the same gate after it was enrolled anew. It is a COSE_Sign1 (RFC 9052)
// under the key of the hub's authority, whose certificate every gate has pinned
// since its enrolment; its type stands under the signature (RFC 9596), so that
// nothing else that this key signs is ever taken for one. The status of an
// answer is no order: whoever stands between gate and hub can make a 403.
package wipe

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"greengate/pass/cose"
)

const (
	// mediaType stands under the signature.
	mediaType = "application/vnd.greengate.wipe+cbor"
	// MaxOrder is the most bytes that Open reads. A real one has about 220.
	MaxOrder = 1 << 10
	// Life is how long an order is good. The hub signs it anew for each contact,
	// until the operator takes it back: one from a drawer is worth nothing.
	Life = 24 * time.Hour
)

// The ways in which an order is not obeyed.
var (
	// ErrOrder is wrapped by every error of [Open].
	ErrOrder = errors.New("not an order to wipe this gate")
	// ErrOld: the order's day is past. Only a gate that knows the time can say so.
	ErrOld = fmt.Errorf("%w: it is too old", ErrOrder)
)

// Order to wipe one gate.
type Order struct {
	// Gate is the gate's id.
	Gate string
	// Certificate is the SHA-256 of the gate's certificate (DER).
	Certificate [sha256.Size]byte
	// Issued is when the hub signed it, in whole seconds.
	Issued time.Time
}

// encoded is the order as it is signed: deterministic CBOR (RFC 8949 section 4.2.1).
type encoded struct {
	_           struct{} `cbor:",toarray"`
	Gate        string
	Certificate []byte
	Issued      int64
}

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: 16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options of this file
	}
	return v
}

// Sign returns the signed order. The authority's key is ECDSA on P-256.
func (o Order) Sign(authority crypto.Signer) ([]byte, error) {
	payload, err := encoding.Marshal(encoded{Gate: o.Gate, Certificate: o.Certificate[:], Issued: o.Issued.Unix()})
	if err != nil {
		return nil, fmt.Errorf("order to wipe %s: %w", o.Gate, err)
	}
	data, err := cose.Envelope{Algorithm: cose.ES256, Private: authority}.Sign(mediaType, payload)
	if err != nil {
		return nil, fmt.Errorf("order to wipe %s: %w", o.Gate, err)
	}
	return data, nil
}

// Open verifies an order for the gate with this certificate from this authority.
// now is zero where the gate does not know the time: then the order's age is not
// judged, for a thief could take the clock away. Errors wrap [ErrOrder].
func Open(data []byte, gate string, certificate, authority *x509.Certificate, now time.Time) (Order, error) {
	if len(data) > MaxOrder {
		return Order{}, fmt.Errorf("%w: %d bytes, at most %d", ErrOrder, len(data), MaxOrder)
	}
	key, ok := authority.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return Order{}, fmt.Errorf("%w: the authority's key is %T, want ECDSA on P-256", ErrOrder, authority.PublicKey)
	}
	payload, err := cose.Envelope{Algorithm: cose.ES256, Public: key}.Open(mediaType, data)
	if err != nil {
		return Order{}, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	var e encoded
	if err := decoding.Unmarshal(payload, &e); err != nil {
		return Order{}, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	if again, err := encoding.Marshal(e); err != nil || !bytes.Equal(again, payload) {
		return Order{}, fmt.Errorf("%w: not in its one form", ErrOrder)
	}
	o := Order{Gate: e.Gate, Issued: time.Unix(e.Issued, 0)}
	if copy(o.Certificate[:], e.Certificate) != sha256.Size || len(e.Certificate) != sha256.Size {
		return Order{}, fmt.Errorf("%w: a digest of %d bytes", ErrOrder, len(e.Certificate))
	}
	switch {
	case o.Gate != gate:
		return Order{}, fmt.Errorf("%w: it is for gate %.64q", ErrOrder, o.Gate)
	case o.Certificate != sha256.Sum256(certificate.Raw):
		return Order{}, fmt.Errorf("%w: it is for another certificate of it", ErrOrder)
	case !now.IsZero() && now.Sub(o.Issued) > Life:
		return Order{}, fmt.Errorf("%w: of %s", ErrOld, o.Issued.UTC().Format(time.DateTime))
	}
	return o, nil
}
