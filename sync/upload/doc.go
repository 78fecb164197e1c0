// Package upload carries passages from the gate's journal to the hub.
//
// # Life of a batch
//
// [Uploader.Once] reads up to 500 records behind the last acknowledged one,
// signs them as a [passage.Batch] and posts it over mutual TLS. The hub answers
// with the sequence up to which everything is on its disk, and only that is
// acknowledged to the journal, never more than was sent. A batch is identified
// by (gate, sequence), so a batch whose answer was lost is simply sent again:
// the hub knows what it has.
//
// Where full batches wait, [Uploader.Run] has four on their way at once, read,
// signed and compressed while the one before travels. They are acknowledged in
// their order; one that overtakes is a gap at the hub and is sent again.
//
// # What the hub may answer
//
//	200 {"acknowledged": N, "time": T}   all to N is on disk
//	400, 413, 422                        the batch is halved until the record is found; [ErrRecord]
//	415                                  batches are sent without compression from then on
//	401, 403                             no more passages are sent; [ErrForbidden]
//	409 {"error": "gap", "expected": N}  go back to N; [ErrGap] when the journal no longer has it
//	409 {"error": "fork"}                the hub holds another history of this gate; [ErrFork]
//	429, 503 with Retry-After            wait as told
//	anything else                        wait: 1 s doubling to 5 min, with jitter
//
// While nothing is to be sent, an empty contact every minute tells the hub that
// the gate lives and brings the hub's time. After a 401 or 403 only that
// contact is made, every five minutes; when it is welcome again, so are the
// passages. Nothing is ever dropped here: what is not acknowledged stays in
// the journal.
//
// A record whose clear part the hub cannot read does not come back as a refusal:
// the hub keeps its bytes in their place in the chain and counts it as a
// tombstone. One that it refuses three times, with pauses between, is set aside
// in the journal, counted and reported, and a tombstone with its digests takes
// its sequence, so that what is behind it goes on.
//
// Records that the journal itself no longer has are a [passage.Skip], signed
// with the batch behind them.
package upload
