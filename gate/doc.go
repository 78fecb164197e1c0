// Package gate is who passes and what the lane does.
//
// A scan becomes [Facts]; [Policy.Judge] makes a [Decision] of them, without a
// clock or a disk; the [Lane], a Moore machine in one goroutine, carries it
// out: the decision is on disk before the turnstile moves. Everything the lane
// touches is an interface declared in ports.go, and but for the clock none of
// them is trusted to answer in time: each is called in a worker, and what the
// lane waits for has a deadline; an answer that comes too late moves nothing,
// but is written down. The log is written by a worker too.
//
// The life of a scan: [Lane.Scan] queues it, the opener's worker opens it and
// looks it up, the machine judges (and waits for a permit, or measures, and
// looks up again), the journal's worker writes the decision, and only then the
// actuator's worker releases the turnstile, with a deadline. The contact says
// whether somebody turned it, and that outcome is written behind the decision.
//
// Past all this go the fire input and the way out, which wait for nothing, and
// the guard, who waits for the disk no longer than it may take; they are
// written down afterwards. A part that fails or hangs puts the lane out of
// service, locked, until it answers again; the way out still opens.
//
// Anti-passback and the memory of proofs are this gate's alone, in memory, and
// start empty. Pseudonyms change at local midnight, so passback does not reach
// across it.
package gate
