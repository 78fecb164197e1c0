// Package healthcode issues and opens the native codes of greengate: health
// codes and entry permits.
//
// A code is the text "JKM1:" and the base45 (RFC 9285) of a COSE_Sign1
// message (RFC 9052) whose payload is a CBOR Web Token (RFC 8392), all in the
// QR code's alphanumeric set. Nothing is compressed.
//
//	protected     {1: alg, 4: kid}      alg -8, -19 or -7; kid 1 to 32 bytes
//	unprotected   {}
//
// The claims, with the bytes each takes. Claims below -65536 are private use
// (RFC 8392 section 9.1). No other claim is allowed.
//
//	claim   name        value                                     bytes    in
//	4       exp         seconds since 1970                        6        both
//	6       iat         seconds since 1970                        6        both
//	8       cnf         {1: {1: 1, -1: 6, -2: Ed25519 key}}       43       code, optional
//	65535   status      {"status_list": {"idx": n, "uri": text}}  30+uri   both
//	-65537  name        text, up to 64 bytes, masked              6+text   code, optional
//	-65538  region      number of six digits, GB/T 2260           10       code; permit, optional
//	-65539  category    text, up to 32 bytes                      6+text   code, optional
//	-65540  paper       true                                      6        code, optional
//	-65541  zones       1 to 16 ascending texts, up to 32 bytes   6+texts  permit
//	-65542  holder      {"idx": n, "uri": text}                   18+uri   permit
//	-65543  enterprise  text, up to 32 bytes, the key's           6+text   permit, optional
//	3       aud         text, fixed                               11       proof
//	6       iat         seconds since 1970                        6        proof
//	-65544  code        the issuer's COSE_Sign1 message           7+code   proof
//
// There is no colour inside: the colour is the entry of the status list.
//
// A code with zones and holder is a permit. A code with cnf is bound to the
// holder's key and must come inside the holder's proof, which is another
// COSE_Sign1 message, signed by that key, with a kid of no bytes, the three
// claims at the end of the table, and again "JKM1:" before it.
//
// There is one encoding for each code: whatever opens is what encoding it
// again would make, down to the lower s of an ES256 signature.
package healthcode
