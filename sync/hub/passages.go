package hub

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate"
	"greengate/gate/passage"
)

// Headers of a stored batch. They must never change.
const (
	headerFirst = "Greengate-First" // first sequence that is new in this message
	headerLast  = "Greengate-Last"  // last sequence in this message
	headerHead  = "Greengate-Head"  // head of the chain after it, hex
)

// gapError: the batch begins too late.
type gapError struct{ expected uint64 }

func (e *gapError) Error() string { return fmt.Sprintf("gap: expected record %d", e.expected) }

var (
	// errFork: the batch contradicts what is stored.
	errFork = errors.New("fork: the batch contradicts the stored history")
	// errForeign: the batch is of another gate, or signed by another.
	errForeign = errors.New("batch is not this gate's")
)

// head is where a gate's stored history ends.
type head struct {
	message  uint64 // stream sequence of its last message, 0 for none
	last     uint64
	chain    [32]byte
	received time.Time // zero where this hub stored it itself
}

// head reads where a gate stands from its last message.
func (h *Hub) head(ctx context.Context, id string) (head, error) {
	m, err := h.store.passages.GetLastMsgForSubject(ctx, passagesPrefix+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return head{chain: passage.Genesis(id)}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("last passages of gate %s: %w", id, err)
	}
	out := head{message: m.Sequence, received: m.Time}
	if _, out.last, out.chain, err = parseHeaders(m.Header); err != nil {
		return head{}, fmt.Errorf("last passages of gate %s: %w", id, err)
	}
	return out, nil
}

// headFor is the head to store a batch behind; g.ingest is held. What this hub
// stored last is taken where the batch follows on it: if another hub has stored
// since, the compare-and-set is refused, and the server is asked. Anything else
// that a batch may be (a gap, a fork, one that is there already) is judged by what
// the server says alone, since nothing would refuse a judgement by an old head.
func (h *Hub) headFor(ctx context.Context, g *gateState, b *passage.Batch) (head, error) {
	if g.head != nil && b.First() == g.head.last+1 && b.Prev == g.head.chain {
		return *g.head, nil
	}
	h.ingested.asked.Add(1)
	return h.head(ctx, b.Gate)
}

func parseHeaders(header nats.Header) (first, last uint64, chain [32]byte, err error) {
	if first, err = strconv.ParseUint(header.Get(headerFirst), 10, 64); err != nil {
		return 0, 0, chain, fmt.Errorf("%s: %w", headerFirst, err)
	}
	if last, err = strconv.ParseUint(header.Get(headerLast), 10, 64); err != nil {
		return 0, 0, chain, fmt.Errorf("%s: %w", headerLast, err)
	}
	b, err := hex.DecodeString(header.Get(headerHead))
	if err != nil || len(b) != len(chain) {
		return 0, 0, chain, fmt.Errorf("%s: not 64 hex digits", headerHead)
	}
	copy(chain[:], b)
	return first, last, chain, nil
}

// ingest stores a gate's batch and returns the sequence up to which
// everything is on disk.
func (h *Hub) ingest(ctx context.Context, id string, rec gateRecord, body []byte) (uint64, *passage.Batch, error) {
	b, err := passage.ParseBatch(body)
	if err != nil {
		return 0, nil, err
	}
	n, err := h.keep(ctx, id, rec, b)
	return n, b, err
}

// keep is ingest after parsing. The keys are stored apart and first: a record
// whose key is not there could not be opened for as long as it may be, and a
// key without its records is destroyed with its day.
func (h *Hub) keep(ctx context.Context, id string, rec gateRecord, b *passage.Batch) (uint64, error) {
	if b.Gate != id {
		// What name it has instead is for the evidence, not for the log.
		return 0, errors.Join(fmt.Errorf("%w: it has another's name", errForeign), h.refuse(ctx, id, breakForeign, wording{"a batch in the name of another gate", "一批以另一台闸机名义发送的记录"}, b))
	}
	key, err := publicKey(rec.Certificate)
	if err != nil {
		return 0, err
	}
	if err := b.Verify(key); err != nil {
		if errors.Is(err, passage.ErrSignature) && verifyFormer(b, rec.others()) == nil {
			// Signed before the gate's certificate was replaced, or by the next one
			// over a connection that the gate made before.
		} else {
			return 0, errors.Join(fmt.Errorf("%w: %w", errForeign, err), h.refuse(ctx, id, breakForeign, wording{"a batch with a signature that is not this gate's", "一批签名不属于该闸机的记录"}, b))
		}
	}
	body, err := b.MarshalStored()
	if err != nil {
		return 0, err
	}
	g := h.fleet.gate(id)
	g.ingest.Lock()
	defer g.ingest.Unlock()
	for try := range maxTries {
		if err := giveWay(ctx, try); err != nil {
			return 0, err
		}
		// What the server shows now may be what it failed to flush.
		if h.store.down.Load() {
			return 0, ErrStorage
		}
		at, err := h.headFor(ctx, g, b)
		if err != nil {
			return 0, err
		}
		skips := b.Skip != nil && b.Skip.First <= at.last+1 && b.First() > at.last+1
		switch {
		case skips:
			// The gate owns up to what it no longer has, and signed that.
		case b.First() > at.last+1:
			return at.last, &gapError{at.last + 1}
		case b.First() == at.last+1 && b.Prev != at.chain && b.Skip != nil && b.Skip.Why == passage.Damaged:
			// It lost what is here already, and with it the head of its chain. It goes
			// on from where it signed; that is taken, and shown.
			skips = true
		case b.First() == at.last+1 && b.Prev != at.chain:
			return at.last, h.fork(ctx, id, breakFork, b)
		case b.First() <= at.last:
			same, err := h.agrees(ctx, id, at, b)
			if err != nil {
				return 0, err
			}
			if !same {
				return at.last, h.fork(ctx, id, breakFork, b)
			}
			if b.Last() <= at.last {
				return at.last, nil // it is all there: the answer was lost
			}
		}
		if err := h.keepKeys(ctx, id, b); err != nil {
			return 0, err
		}
		if skips {
			// Told before it is stored: what is stored is not told again.
			if err := h.skipped(ctx, id, passage.Skip{First: at.last + 1, Last: b.Skip.Last, Why: b.Skip.Why}); err != nil {
				return 0, err
			}
		}
		chain := b.Head()
		m := &nats.Msg{Subject: passagesPrefix + id, Data: body, Header: nats.Header{}}
		first := at.last + 1
		if skips {
			first = b.First()
		}
		m.Header.Set(headerFirst, strconv.FormatUint(first, 10))
		m.Header.Set(headerLast, strconv.FormatUint(b.Last(), 10))
		m.Header.Set(headerHead, hex.EncodeToString(chain[:]))
		// Whatever comes of it, only its acknowledgement says where the history ends now.
		g.head = nil
		ack, err := h.store.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(at.message))
		if isConflict(err) {
			h.ingested.lost.Add(1)
			continue // another hub was faster: look again
		}
		if err != nil {
			return 0, fmt.Errorf("store batch %d-%d of gate %s: %w", b.First(), b.Last(), id, err)
		}
		if ack.Stream != passagesStream {
			return 0, fmt.Errorf("store batch %d-%d of gate %s: stored in %q", b.First(), b.Last(), id, ack.Stream)
		}
		g.head = &head{message: ack.Sequence, last: b.Last(), chain: chain}
		return b.Last(), nil
	}
	return 0, fmt.Errorf("store batch %d-%d of gate %s: %w", b.First(), b.Last(), id, ErrConflict)
}

func publicKey(der []byte) (crypto.PublicKey, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate in the registry: %w", err)
	}
	return cert.PublicKey, nil
}

// verifyFormer tries the certificates that a gate had before.
func verifyFormer(b *passage.Batch, former [][]byte) error {
	err := error(passage.ErrSignature)
	for _, der := range former {
		key, kerr := publicKey(der)
		if kerr != nil {
			return kerr
		}
		if err = b.Verify(key); err == nil {
			return nil
		}
	}
	return err
}

// agrees reports whether a batch that begins inside the stored history is the
// same history: the heads of both chains are equal at one sequence, and so is
// all before it.
func (h *Hub) agrees(ctx context.Context, id string, at head, b *passage.Batch) (bool, error) {
	seq := min(at.last, b.Last())
	mine := b.Entries[seq-b.First()].Chain
	if seq == at.last {
		return mine == at.chain, nil
	}
	s, err := h.holding(ctx, id, at, seq)
	if err != nil {
		return false, err
	}
	if s == nil || s.batch.Last() < b.First() {
		// Nothing of it is here to be compared: it is past its retention, or was
		// under way while the gate gave its records up.
		return true, nil
	}
	seq = min(seq, s.batch.Last())
	return s.batch.Entries[seq-s.batch.First()].Chain == b.Entries[seq-b.First()].Chain, nil
}

// holding finds the message that holds a sequence, or the last one before it
// where that was skipped; nil where there is neither, as past its retention. The
// stream is bisected, so that a gate which sends its whole history again does
// not make the hub read it as often.
func (h *Hub) holding(ctx context.Context, id string, at head, seq uint64) (*stored, error) {
	var below *jetstream.RawStreamMsg
	low, high := uint64(1), at.message // the first message at or behind low that is this gate's, to high
	for low <= high {
		middle := low + (high-low)/2
		m, err := h.store.passages.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(passagesPrefix+id))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			high = middle - 1
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stored passages of gate %s: %w", id, err)
		}
		first, last, _, err := parseHeaders(m.Header)
		if err != nil {
			return nil, fmt.Errorf("stored passages of gate %s, message %d: %w", id, m.Sequence, err)
		}
		switch {
		case seq < first:
			high = middle - 1
		case seq > last:
			low, below = m.Sequence+1, m
		default:
			s, err := parseStored(id, m.Header, m.Data, m.Sequence, m.Time)
			return &s, err
		}
	}
	if below == nil {
		return nil, nil
	}
	s, err := parseStored(id, below.Header, below.Data, below.Sequence, below.Time)
	return &s, err
}

// skipped raises an alarm: records are lost, and the gate says so itself.
func (h *Hub) skipped(ctx context.Context, id string, s passage.Skip) error {
	why := chinese.word(s.Why)
	what := wording{fmt.Sprintf("records %d-%d are lost: %s at the gate", s.First, s.Last, s.Why), fmt.Sprintf("记录 %d-%d 丢失：闸机%s", s.First, s.Last, why)}
	if s.First > s.Last {
		what = wording{fmt.Sprintf("the chain begins anew behind record %d: %s at the gate", s.Last, s.Why), fmt.Sprintf("链在记录 %d 之后重新开始：闸机%s", s.Last, why)}
	}
	h.log.Error("records lost at a gate", "gate", id, "first", s.First, "last", s.Last, "why", string(s.Why))
	if err := h.raise(ctx, id, AlarmLost, what); err != nil {
		return err
	}
	return h.audit(ctx, "gate "+id, "records-"+string(s.Why), fmt.Sprintf("%s %d-%d", id, s.First, s.Last))
}

// fork keeps the batch and an alarm, and refuses.
func (h *Hub) fork(ctx context.Context, id, why string, b *passage.Batch) error {
	what := worded("two histories: records %d-%d contradict what is stored", "两份历史：记录 %d-%d 与已存的不符", b.First(), b.Last())
	if err := h.refuse(ctx, id, why, what, b); err != nil {
		return err
	}
	return errFork
}

// stored is one message.
type stored struct {
	batch    *passage.Batch
	first    uint64 // what is before it was stored by an earlier message
	message  uint64
	received time.Time
}

// records are the clear parts of what is new in the message.
func (s stored) records() []Passage {
	var out []Passage
	for _, e := range s.batch.Entries {
		if e.Seq >= s.first {
			out = append(out, passageOf(s.batch.Gate, e, s.received))
		}
	}
	return out
}

func parseStored(id string, header nats.Header, data []byte, message uint64, received time.Time) (stored, error) {
	fail := func(err error) (stored, error) {
		return stored{}, fmt.Errorf("stored passages of gate %s, message %d: %w", id, message, err)
	}
	first, last, chain, err := parseHeaders(header)
	if err != nil {
		return fail(err)
	}
	b, err := passage.ParseStored(data)
	if err != nil {
		return fail(err)
	}
	if b.Gate != id || b.Last() != last || b.Head() != chain || first < b.First() || first > last {
		return fail(errors.New("headers and batch do not fit together"))
	}
	return stored{batch: b, first: first, message: message, received: received}, nil
}

// messages reads a gate's stored batches in their order.
func (h *Hub) messages(ctx context.Context, id string) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		for seq := uint64(1); ; {
			m, err := h.store.passages.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(passagesPrefix+id))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(stored{}, fmt.Errorf("stored passages of gate %s: %w", id, err))
				return
			}
			s, err := parseStored(id, m.Header, m.Data, m.Sequence, m.Time)
			if !yield(s, err) || err != nil {
				return
			}
			seq = m.Sequence + 1
		}
	}
}

const (
	// receivedAhead is how many stored batches are on their way from the storage
	// at a time; each has up to a megabyte.
	receivedAhead = 16
	// progressEvery is how often a long look at what is stored says how far it is.
	progressEvery = time.Second
)

// received reads the batches that came since a time, of one gate or of all, up to
// what is there now, each gate's in order. It says now and then how many it has read.
func (h *Hub) received(ctx context.Context, since time.Time, id string, each func(stored) error, progress func(read, of uint64)) error {
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since}
	if id != "" {
		config.FilterSubjects = []string{passagesPrefix + id}
	}
	c, err := h.store.passages.OrderedConsumer(ctx, config)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	of := info.NumPending
	if of == 0 {
		return nil
	}
	// Retention may take some of them while they are read, and gates bring more: the
	// end is a place, not a count. A gate's last batch is never taken.
	state, err := h.store.passages.Info(ctx)
	if err != nil {
		return err
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(receivedAhead))
	if err != nil {
		return err
	}
	defer messages.Stop()
	told := h.options.Now()
	for read, end := uint64(1), false; !end; read++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > state.State.LastSeq {
			break
		}
		end = meta.Sequence.Stream == state.State.LastSeq || meta.NumPending == 0
		s, err := parseStored(strings.TrimPrefix(m.Subject(), passagesPrefix), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		if err != nil {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
		if now := h.options.Now(); now.Sub(told) >= progressEvery {
			told = now
			progress(min(read, of), of)
		}
	}
	progress(of, of)
	return nil
}

// All reads the clear parts of a gate's records behind a sequence, in order.
func (h *Hub) All(ctx context.Context, id string, after uint64) iter.Seq2[Passage, error] {
	return func(yield func(Passage, error) bool) {
		for s, err := range h.messages(ctx, id) {
			if err != nil {
				yield(Passage{}, err)
				return
			}
			if s.batch.Last() <= after {
				continue
			}
			for _, p := range s.records() {
				if p.Sequence > after && !yield(p, nil) {
					return
				}
			}
		}
	}
}

// Passages reads stored passages of a gate.
func (h *Hub) Passages(ctx context.Context, r PassagesRequest) ([]Passage, error) {
	if _, err := h.gate(ctx, r.Gate); err != nil {
		return nil, err
	}
	if r.Max < 0 || r.Max > 1000 {
		return nil, invalid("max %d: want 1 to 1000", r.Max)
	}
	if r.Max == 0 {
		r.Max = 100
	}
	out := []Passage{}
	for p, err := range h.All(ctx, r.Gate, r.After) {
		if err != nil {
			return nil, err
		}
		if out = append(out, p); len(out) == r.Max {
			break
		}
	}
	return out, nil
}

// Verify replays all that is stored of a gate: chain, signatures, and whether
// each sequence is there exactly once.
func (h *Hub) Verify(ctx context.Context, r GateRef) (Verification, error) {
	rec, err := h.gate(ctx, r.Gate)
	if err != nil {
		return Verification{}, err
	}
	certs := append([][]byte{rec.Certificate}, rec.others()...)
	cut, err := h.checkpoint(ctx, r.Gate)
	if err != nil {
		return Verification{}, err
	}
	v := Verification{Gate: r.Gate, Chain: true, Signatures: true, Purged: cut.Last, Last: cut.Last}
	chain := cut.Chain
	for s, err := range h.messages(ctx, r.Gate) {
		if err != nil {
			return Verification{}, err
		}
		if err := verifyFormer(s.batch, certs); errors.Is(err, passage.ErrSignature) {
			v.Signatures = false
		} else if err != nil {
			return Verification{}, err
		}
		for _, e := range s.batch.Entries {
			if e.Seq < s.first {
				continue
			}
			switch skip := s.batch.Skip; {
			case e.Seq <= v.Last:
				v.Duplicates++
			case skip != nil && skip.First <= v.Last+1 && skip.Last+1 == e.Seq:
				// The gate owned up to it; its chain goes on from what it says.
				v.Lost += e.Seq - v.Last - 1
				chain = s.batch.Prev
			case e.Seq > v.Last+1:
				v.Gaps += e.Seq - v.Last - 1
			}
			if next := e.Next(chain); next != e.Chain {
				v.Chain = false
			}
			chain = e.Chain
			v.Last = max(v.Last, e.Seq)
			v.Records++
			p := passageOf(r.Gate, e, s.received)
			switch {
			case p.Tombstone:
				v.Tombstones++
			case p.Kind == gate.DecisionRecord:
				v.Decisions++
			case p.Kind == gate.GapRecord && p.Of == 0:
				v.Dropped += p.Dropped
			}
		}
	}
	v.Head = chain[:]
	return v, nil
}

// UnsealCounts opens the sealed parts of a gate's records and counts kinds of
// code, colours, and the acts of each guard. The call is written to the audit trail before anything
// is opened.
func (h *Hub) UnsealCounts(ctx context.Context, r GateRef) (UnsealedCounts, error) {
	if err := checkBy(r.By); err != nil {
		return UnsealedCounts{}, err
	}
	if _, err := h.gate(ctx, r.Gate); err != nil {
		return UnsealedCounts{}, err
	}
	out := UnsealedCounts{Kinds: map[string]uint64{}, Colours: map[string]uint64{}, Guards: map[string]uint64{}}
	err := h.unseal(ctx, r.By, r.Gate, func(p Passage, sealed gate.Sealed, err error) {
		switch {
		case err != nil:
			out.Failed++
		case p.Kind == gate.DecisionRecord:
			// A decided scan that did not open has no kind.
			kind := sealed.CodeKind
			if kind == "" {
				kind = "none"
			}
			out.Kinds[kind]++
			out.Colours[sealed.Colour.String()]++
		case p.Kind == gate.ActRecord && sealed.Guard != "":
			out.Guards[sealed.Guard]++
		}
	})
	return out, err
}

// unseal opens the sealed part of each readable record.
func (h *Hub) unseal(ctx context.Context, by, id string, each func(Passage, gate.Sealed, error)) error {
	if err := h.audit(ctx, by, "unseal", id); err != nil {
		return err
	}
	var u *passage.Unsealer
	var segment uint64
	for s, err := range h.messages(ctx, id) {
		if err != nil {
			return err
		}
		for _, e := range s.batch.Entries {
			if e.Seq < s.first {
				continue
			}
			p := passageOf(id, e, s.received)
			if p.Tombstone {
				continue
			}
			if u == nil || segment != e.Segment {
				if u, err = h.unsealer(ctx, id, e.Segment); err != nil && !errors.Is(err, passage.ErrSealed) {
					return err
				}
				segment = e.Segment
			}
			if u == nil {
				each(p, gate.Sealed{}, passage.ErrSealed)
				continue
			}
			sealed, err := u.Open(e)
			each(p, sealed, err)
		}
	}
	return nil
}
