// Package gate is who passes and what the lane does.
//
// A scan becomes [Facts]; [Policy.Judge] makes a [Decision] of them, without a
// clock or a disk; the [Lane], a Moore machine in one goroutine, carries it
// out: the decision is on disk before the turnstile moves. Everything the lane
// touches is an interface declared in ports.go, and none of them is trusted to
// answer in time.
package gate
