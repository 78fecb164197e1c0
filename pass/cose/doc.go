// Package cose signs and verifies COSE_Sign1 messages (RFC 9052) with EdDSA
// over Ed25519 and with ES256.
//
// There are three layers. [Sign] and [Verify] are the signature algorithms of
// RFC 9053 themselves. [Message] is COSE_Sign1 in general, as other schemes
// write it. [Native] is the one narrow form that greengate's own codes have:
// tag 18, protected header exactly {1: alg, 4: kid}, unprotected header
// exactly {}, and one encoding for each message.
package cose
