// Package passage is the record of a passage as it lies on the gate's disk and
// as it travels to the hub.
//
// A record has two parts. The clear part says that somebody was let in or not,
// when, and why; the technician may read it. The sealed part says who and what
// was measured; only the hub can open it. Both are canonical CBOR
// (RFC 8949 section 4.2.1) with integer keys, and whatever decodes encodes
// back to the same bytes.
//
// The sealed part is encrypted with AES-256-GCM under the data key of its
// journal segment. That key is made when the segment begins, is held in memory
// only, and is sealed to the hub once by HPKE (RFC 9180): a stolen disk opens
// nothing.
//
// The records of a gate are chained from the first:
//
//	chain(0) = SHA-256("greengate chain v1" || gate)
//	chain(n) = SHA-256(chain(n-1) || SHA-256(clear) || SHA-256(sealed))
//
// so that sealed parts may be destroyed, their digests kept, and the chain
// still verifies. A [Batch] carries a run of records and the gate's signature
// over the chain's head.
package passage
