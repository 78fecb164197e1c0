// Package hashlist holds the revocation lists of foreign codes: sorted hashes
// of what was revoked, for codes that do not point into a status list.
//
// [List] is one list, [Delta] what changed since an older one, [Description]
// what the authority signs about one generation. One list is of one scheme,
// one issuer key (kid) and one partition: the hashes that begin with none, one
// or two hexadecimal digits, so that no list grows beyond [MaxSize].
//
// # Schemes
//
// EU Digital COVID Certificates: SHA-256 cut to its first 128 bits, of the
// signature, of the certificate's identifier (UCI), or of the issuing country
// and the UCI; all three kinds lie in one list of a kid. Of an ECDSA signature
// only r is hashed: (r, n-s) is a signature of the same message too, and would
// escape. See Commission Implementing Decision (EU) 2022/483, annex, and the
// verifiers of the EU's own reference implementation
// (eu-digital-green-certificates/dgca-verifier-app-android, Util.kt).
//
// SMART Health Cards: an issuer publishes /.well-known/crl/KID.json with
// revocation identifiers of up to 24 characters, each perhaps with a time
// behind it: then only cards whose nbf is before it are revoked
// (smart-on-fhir/health-cards, section "Revocation", version 1.2.0 and later).
// An identifier is kept as its SHA-256, cut like the EU's.
//
// New Zealand's NZCP revokes no single pass.
package hashlist
