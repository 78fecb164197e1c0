package cose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// Algorithm is a COSE algorithm number (RFC 9053; RFC 9864 for -19).
type Algorithm int64

const (
	// ES256 is ECDSA with P-256 and SHA-256, RFC 9053 section 2.1. RFC 9053
	// allows other curves under this number; this package does not.
	ES256 Algorithm = -7
	// EdDSA is RFC 9053 section 2.2, here always with an Ed25519 key.
	EdDSA Algorithm = -8
	// Ed25519 is the fully specified name of the same thing, RFC 9864.
	Ed25519 Algorithm = -19
)

// SignatureSize is the length in bytes of every signature made here.
const SignatureSize = 64

var (
	// ErrAlgorithm: an algorithm that is not one of the three, or not the key's.
	ErrAlgorithm = errors.New("cose: algorithm does not fit the key")
	// ErrSignature: the signature does not verify.
	ErrSignature = errors.New("cose: bad signature")
)

// Verify checks a signature over message. For ES256 it takes the r‖s form of
// RFC 9053, and both of a signature's twins, as the standard does; see [LowS].
func Verify(alg Algorithm, key crypto.PublicKey, message, signature []byte) error {
	switch pub := key.(type) {
	case ed25519.PublicKey:
		if alg != EdDSA && alg != Ed25519 || len(pub) != ed25519.PublicKeySize {
			return ErrAlgorithm
		}
		if !ed25519.Verify(pub, message, signature) {
			return ErrSignature
		}
		return nil
	case *ecdsa.PublicKey:
		if alg != ES256 || pub == nil || pub.Curve != elliptic.P256() {
			return ErrAlgorithm
		}
		if len(signature) != SignatureSize {
			return ErrSignature
		}
		digest := sha256.Sum256(message)
		r := new(big.Int).SetBytes(signature[:32])
		s := new(big.Int).SetBytes(signature[32:])
		if !ecdsa.Verify(pub, digest[:], r, s) {
			return ErrSignature
		}
		return nil
	}
	return ErrAlgorithm
}

// Sign signs message with an ed25519.PrivateKey, an *ecdsa.PrivateKey on
// P-256, or a device that holds one. An ES256 signature is made with the low s.
func Sign(alg Algorithm, key crypto.Signer, message []byte) ([]byte, error) {
	if key == nil {
		return nil, fmt.Errorf("sign: no key: %w", ErrAlgorithm)
	}
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		if alg != EdDSA && alg != Ed25519 || len(pub) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("sign with algorithm %d: %w", alg, ErrAlgorithm)
		}
		sig, err := key.Sign(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		return sig, nil
	case *ecdsa.PublicKey:
		if alg != ES256 || pub == nil || pub.Curve != elliptic.P256() {
			return nil, fmt.Errorf("sign with algorithm %d: %w", alg, ErrAlgorithm)
		}
		digest := sha256.Sum256(message)
		der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		var rs struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(der, &rs); err != nil || len(rest) != 0 ||
			rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 256 || rs.S.BitLen() > 256 {
			return nil, fmt.Errorf("sign: the key made something else than an ECDSA signature: %w", ErrSignature)
		}
		if twin := new(big.Int).Sub(elliptic.P256().Params().N, rs.S); twin.Cmp(rs.S) < 0 {
			rs.S = twin
		}
		sig := make([]byte, SignatureSize)
		rs.R.FillBytes(sig[:32])
		rs.S.FillBytes(sig[32:])
		return sig, nil
	}
	return nil, fmt.Errorf("sign with algorithm %d: %w", alg, ErrAlgorithm)
}

// halfOrder is (n-1)/2 of P-256, big-endian (SEC 2 section 2.4.2).
var halfOrder = func() (b [32]byte) {
	new(big.Int).Rsh(elliptic.P256().Params().N, 1).FillBytes(b[:])
	return b
}()

// LowS reports whether an ES256 signature (r, s) has the lower of the two
// values of s that verify. With (r, s) always comes its twin (r, n-s), which
// anybody can compute; a form that wants one encoding for each message takes
// only the low one.
func LowS(signature []byte) bool {
	return len(signature) == SignatureSize && string(signature[32:]) <= string(halfOrder[:])
}
