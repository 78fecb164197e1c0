package gate

import "time"

const (
	// maxPresent is how many people the gate remembers as inside; beyond it
	// the one who entered first is forgotten.
	maxPresent = 200_000
	// maxProofs is how many proofs the gate remembers: more than a lane can
	// release within the time they are remembered for.
	maxProofs = 4096
)

// presence remembers who turned inwards and has not left.
type presence struct {
	limit int
	seen  map[Pseudonym]time.Time
	order []arrival // oldest first; may name people who left or came again
}

type arrival struct {
	who Pseudonym
	at  time.Time
}

func newPresence(limit int) *presence {
	return &presence{limit: limit, seen: make(map[Pseudonym]time.Time)}
}

func (p *presence) enter(who Pseudonym, at time.Time) {
	p.seen[who] = at
	p.order = append(p.order, arrival{who, at})
	for len(p.seen) > p.limit || len(p.order) > 2*p.limit {
		p.dropOldest()
	}
}

func (p *presence) dropOldest() {
	a := p.order[0]
	p.order = p.order[1:]
	if p.seen[a.who].Equal(a.at) {
		delete(p.seen, a.who)
	}
}

func (p *presence) leave(who Pseudonym) { delete(p.seen, who) }

// last returns when this person entered, zero if the gate does not know.
func (p *presence) last(who Pseudonym) time.Time { return p.seen[who] }

func (p *presence) clear() {
	clear(p.seen)
	p.order = nil
}

// proofs remembers the holders' proofs that let somebody through, each until
// it would be stale anyway.
type proofs struct {
	limit int
	until map[[32]byte]time.Time
	order [][32]byte
}

func newProofs(limit int) *proofs {
	return &proofs{limit: limit, until: make(map[[32]byte]time.Time)}
}

func (p *proofs) remember(id [32]byte, now time.Time, keep time.Duration) {
	for len(p.order) > 0 && (len(p.order) >= p.limit || !p.known(p.order[0], now)) {
		delete(p.until, p.order[0])
		p.order = p.order[1:]
	}
	p.until[id] = now.Add(keep)
	p.order = append(p.order, id)
}

func (p *proofs) known(id [32]byte, now time.Time) bool {
	until, ok := p.until[id]
	return ok && now.Before(until)
}

func (p *proofs) forget(id [32]byte) { delete(p.until, id) }
