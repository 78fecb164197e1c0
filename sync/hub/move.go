package hub

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file carries what a hub collected in its own folder to a cluster. Until
// the last step nobody but it writes to either side, so it may fail anywhere and
// be done again.

const (
	// moveStream is on a cluster while a move to it is not used yet. Its metadata
	// say whose: all streams beside it are then copies that may be removed. The
	// first hub that serves from the cluster removes it before it writes. The name
	// must never change: a hub of another version would not remove it, and a move
	// that was done again would take the passages that came since for a copy.
	moveStream  = "GREENGATE_MOVE"
	moveSubject = "greengate.move"
	moveOwner   = "greengate.authority"

	// moveChunk is how much of a snapshot one message carries, and moveWindow how
	// much is under way at once.
	moveChunk, moveWindow = 128 << 10, 2 << 20
	// moveWait is how long either side may say nothing, and moveEnd how long the
	// cluster may take for what it has been sent.
	moveWait, moveEnd = 30 * time.Second, 5 * time.Minute
	// movePatience is how long nodes may stand still that have less than all of
	// what an earlier run left: then it is half of a stream.
	movePatience = time.Second
	// readAhead is about how many bytes, and maxReadAhead how many messages at
	// most, are fetched ahead to be compared.
	readAhead, maxReadAhead = 16 << 20, 4000
	// moveTaken is how long nobody may take a piece, asked every moveAgain: less
	// than the 5 s after which the servers at both ends give a copy up.
	moveTaken, moveAgain = 4 * time.Second, 20 * time.Millisecond
	// moveLook is how often the nodes are asked how far they are.
	moveLook = 200 * time.Millisecond
	// moveStale is how much longer than a move takes a message must be kept to be
	// compared, where old ones go by themselves.
	moveStale = 24 * time.Hour
)

// ErrNotWhole: what arrived at the cluster is not what left the hub.
var ErrNotWhole = errors.New("the copy on the cluster is not what the hub holds")

// MoveStep says how far a move is with one stream.
type MoveStep struct {
	Stream string
	// Bytes of so many are on their way or there.
	Bytes, Of uint64
	// Messages that it holds, once it is Done: all nodes have as many, from the first
	// to the last, and what one of them gives was compared.
	// Kept: an earlier run had brought it.
	Messages   uint64
	Done, Kept bool
}

// mover is one run of a move.
type mover struct {
	from, to  *storage
	system    *nats.Conn
	account   string // of the hub, on the cluster
	replicas  int
	authority *ca
	log       *slog.Logger
	began     time.Time
	said      func(MoveStep)
}

// Move carries everything that the hub in dir holds in its own folder to the
// cluster that o names: sequences, times and headers are as they were. The hub
// must not run. What lies on the cluster is compared with what lies here, its
// extent on each node, and only then the hub is one that serves from the cluster alone. A move
// that failed leaves the hub as it was, and is done again.
func Move(ctx context.Context, dir string, o Options, said func(MoveStep)) (err error) {
	o = o.withDefaults()
	p := paths{dir}
	defer func() {
		if err != nil {
			err = fmt.Errorf("move the hub in %s: %w", dir, err)
		}
	}()
	c, err := readConfig(p)
	if err != nil {
		return err
	}
	switch {
	case c.Cluster:
		return fmt.Errorf("%w: its registry lies on a cluster already\nhint: `gatehub serve -nats` with the addresses of its nodes", ErrConflict)
	case len(o.Cluster.URLs) == 0:
		return fmt.Errorf("%w: where to?\nhint: -nats with the addresses of the cluster's nodes, nats://HOST:PORT", ErrInvalid)
	case o.Cluster.Replicas == 1:
		return fmt.Errorf("%w: replicas 1: one node is no more than this machine; want 3 or 5", ErrInvalid)
	}
	lock, err := lockFile(p.lock())
	if err != nil {
		return fmt.Errorf("%w\nhint: stop the hub first; its gates keep what they have until it serves again", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	authority, err := openCA(p.ca(), c.Name, o.Now())
	if err != nil {
		return err
	}
	m := &mover{authority: authority, log: o.Log, began: o.Now(), said: said}
	if m.from, err = openEmbedded(ctx, p.jetstream(), o.Log); err != nil {
		return err
	}
	defer m.from.close()
	m.to, err = o.Cluster.reach(ctx, authority, o.Now, o.Log, func(s *storage, system *nats.Conn, replicas int) error {
		m.system, m.replicas = system, replicas
		return m.ready(ctx, s)
	})
	if err != nil {
		return err
	}
	defer m.to.close()
	if err := m.all(ctx); errors.Is(err, ErrForeignCluster) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w\nhint: the hub is as it was; `gatehub move` again goes on where it can", err)
	}
	// The one step that counts: from here on the hub serves from the cluster alone.
	c.Cluster = true
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(p.config(), append(data, '\n'))
}

// ready looks whether all nodes are there, and flush: a copy is made for all of them.
func (m *mover) ready(ctx context.Context, s *storage) error {
	n, err := flushed(ctx, m.system)
	if err != nil {
		return err
	}
	if n < m.replicas {
		return fmt.Errorf("%w: %d nodes say how they are set, and a move wants all %d", nats.ErrNoResponders, n, m.replicas)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return err
	}
	first, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := s.js.Stream(first, moveStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	m.account, err = accountOf(first, s.conn)
	return err
}

// accountOf asks in which account a connection is.
func accountOf(ctx context.Context, nc *nats.Conn) (string, error) {
	answer, err := nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return "", fmt.Errorf("which account: %w", err)
	}
	var user struct {
		Data struct {
			Account string `json:"account"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Data, &user); err != nil {
		return "", fmt.Errorf("which account: %w", err)
	}
	if user.Data.Account == "" {
		return "", errors.New("which account: the cluster does not say")
	}
	return user.Data.Account, nil
}

// all carries every stream. A bucket is a stream.
func (m *mover) all(ctx context.Context) error {
	var streams []*jetstream.StreamInfo
	list := m.from.js.ListStreams(ctx)
	for info := range list.Info() {
		streams = append(streams, info)
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("streams of the hub: %w", err)
	}
	there, err := m.there(ctx)
	if err != nil {
		return err
	}
	if err := m.claim(ctx, streams, there); err != nil {
		return err
	}
	for _, info := range streams {
		if err := m.stream(ctx, info, slices.Contains(there, info.Config.Name)); err != nil {
			return fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
	}
	// What is there must be there still, on disks that are flushed.
	for _, info := range streams {
		if err := m.onAllNodes(ctx, info, moveWait); err != nil {
			return fmt.Errorf("stream %s: %w", info.Config.Name, err)
		}
	}
	n, err := flushed(ctx, m.system)
	if err != nil {
		return err
	}
	if n < m.replicas || m.to.down.Load() || m.from.down.Load() {
		return fmt.Errorf("%w: %d of %d nodes are there at the end", ErrAway, n, m.replicas)
	}
	return nil
}

// there lists what the cluster has, half a stream included.
func (m *mover) there(ctx context.Context) ([]string, error) {
	var names []string
	list := m.to.js.StreamNames(ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("streams of the cluster: %w", err)
	}
	return names, nil
}

// claim makes sure that what lies on the cluster under the hub's names came by a
// move of this hub that was never used, before any of it is touched.
func (m *mover) claim(ctx context.Context, streams []*jetstream.StreamInfo, there []string) error {
	mark, err := m.to.js.Stream(ctx, moveStream)
	if err == nil {
		if err := checkMark(mark, m.authority); err != nil {
			return err
		}
		return m.areCopies(ctx, streams)
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("mark of a move: %w", err)
	}
	names := []string{filesStream}
	for _, info := range streams {
		names = append(names, info.Config.Name)
	}
	for _, name := range names {
		if slices.Contains(there, name) {
			return fmt.Errorf("%w: a hub keeps its stream %s there already, and nothing of it was touched\nhint: a move wants nodes that no hub has written to; `gatehub node add` makes them", ErrForeignCluster, name)
		}
	}
	if _, err := m.to.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: moveStream, Subjects: []string{moveSubject}, Storage: jetstream.FileStorage, Replicas: m.replicas,
		Metadata: map[string]string{moveOwner: ownerOf(m.authority)}, MaxMsgs: 1,
	}); err != nil {
		return fmt.Errorf("mark of a move: %w", err)
	}
	return nil
}

// checkMark says whether the mark of a move is of this authority.
func checkMark(mark jetstream.Stream, authority *ca) error {
	if mark.CachedInfo().Config.Metadata[moveOwner] != ownerOf(authority) {
		return fmt.Errorf("%w: another hub is on its way to it\nhint: a cluster is for one authority; choose nodes of this hub's own", ErrForeignCluster)
	}
	return nil
}

func ownerOf(authority *ca) string {
	sum := sha256.Sum256(authority.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// stream brings one stream to the cluster, where an earlier run did not.
func (m *mover) stream(ctx context.Context, info *jetstream.StreamInfo, there bool) error {
	name := info.Config.Name
	step := MoveStep{Stream: name, Of: info.State.Bytes}
	m.said(step)
	mine, err := m.contents(ctx, m.from.js, info)
	if err != nil {
		return fmt.Errorf("in the hub: %w", err)
	}
	if there {
		err := m.onAllNodes(ctx, info, movePatience)
		if err == nil {
			err = m.compare(ctx, info, mine)
		}
		if err == nil {
			step.Bytes, step.Messages, step.Done, step.Kept = step.Of, mine.messages, true, true
			m.said(step)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		m.log.Info("what an earlier move left is removed", "stream", name, "err", err)
		if err := m.remove(ctx, name); err != nil {
			return err
		}
	}
	if err := m.carry(ctx, name, &step); err != nil {
		return err
	}
	if err := m.onAllNodes(ctx, info, moveWait); err != nil {
		return err
	}
	if err := m.compare(ctx, info, mine); err != nil {
		return err
	}
	step.Bytes, step.Messages, step.Done = step.Of, mine.messages, true
	m.said(step)
	return nil
}

// areCopies makes sure once more, before a stream is removed, that what is there
// can have come from here: what has more than this hub has is no copy of it.
func (m *mover) areCopies(ctx context.Context, streams []*jetstream.StreamInfo) error {
	for _, info := range streams {
		nodes, err := m.extents(ctx, info.Config.Name)
		if err != nil {
			return err
		}
		for node, e := range nodes {
			if e.Last > info.State.LastSeq {
				return fmt.Errorf("%w: node %s has %d of %s where this hub has %d, and nothing of it was touched\nhint: is this the folder that serves, or an older copy of it?",
					ErrForeignCluster, node, e.Last, info.Config.Name, info.State.LastSeq)
			}
		}
	}
	return nil
}

// remove takes half a stream away, and waits until the cluster knows nothing of it.
func (m *mover) remove(ctx context.Context, name string) error {
	wait, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	again := time.NewTicker(moveLook)
	defer again.Stop()
	for {
		// A half-made stream may have nobody who answers; whether it went, the list says.
		short, cancel := context.WithTimeout(wait, 2*time.Second)
		deleted := m.to.js.DeleteStream(short, name)
		cancel()
		names, err := m.there(wait)
		if err == nil && !slices.Contains(names, name) {
			return nil
		}
		select {
		case <-wait.Done():
			return fmt.Errorf("half of it does not go away: %w", errors.Join(deleted, err, wait.Err()))
		case <-again.C:
		}
	}
}

// carry restores a stream on the cluster from a snapshot, while that is made.
func (m *mover) carry(ctx context.Context, name string, step *MoveStep) (err error) {
	chunks, err := m.from.conn.SubscribeSync(m.from.conn.NewRespInbox())
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	// The subscription goes with the connection if it cannot be ended now.
	defer func() { _ = chunks.Unsubscribe() }()
	var snapshot server.JSApiStreamSnapshotResponse
	if err := askServer(ctx, m.from.conn, fmt.Sprintf(server.JSApiStreamSnapshotT, name), server.JSApiStreamSnapshotRequest{
		DeliverSubject: chunks.Subject, NoConsumers: true, ChunkSize: moveChunk, WindowSize: moveWindow,
	}, &snapshot); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if snapshot.Error != nil {
		return fmt.Errorf("snapshot: %w", apiFault(snapshot.Error))
	}
	if snapshot.Config == nil || snapshot.State == nil {
		return errors.New("snapshot: no configuration in it")
	}
	config := *snapshot.Config
	// As storage.open makes it on a cluster, so that nobody reads there what is old.
	config.Replicas, config.AllowDirect = m.replicas, false
	to, err := m.restore(ctx, server.JSApiStreamRestoreRequest{Config: config, State: *snapshot.State})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	count := newUnpacked()
	defer func() {
		// A snapshot that ends early is no other fault than the one that ended it.
		if cerr := count.close(); err == nil && cerr != nil {
			err = fmt.Errorf("snapshot: %w", cerr)
		}
	}()
	for {
		wait, cancel := context.WithTimeout(ctx, moveWait)
		chunk, err := chunks.NextMsgWithContext(wait)
		cancel()
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if len(chunk.Data) == 0 {
			// A snapshot of less than one chunk ends without a word.
			if status := chunk.Header.Get("Status"); status != "" && status != "204" {
				return fmt.Errorf("snapshot: it ended with %s %s", status, chunk.Header.Get("Description"))
			}
			break
		}
		answer, err := m.send(ctx, to, chunk.Data, moveWait)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		// An empty answer asks for the next one; what is not empty is why there is none.
		if len(answer) > 0 {
			return fmt.Errorf("restore: %w", restored(answer))
		}
		if chunk.Reply != "" {
			if err := chunk.Respond(nil); err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
		}
		n, err := count.add(chunk.Data)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		step.Bytes = min(step.Of, n)
		m.said(*step)
	}
	answer, err := m.send(ctx, to, nil, moveEnd)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := restored(answer); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// restore begins one, and returns where its chunks go.
func (m *mover) restore(ctx context.Context, r server.JSApiStreamRestoreRequest) (string, error) {
	wait, cancel := context.WithTimeout(ctx, clusterWait)
	defer cancel()
	again := time.NewTicker(moveLook)
	defer again.Stop()
	for {
		var response server.JSApiStreamRestoreResponse
		err := askServer(wait, m.to.conn, fmt.Sprintf(server.JSApiStreamRestoreT, r.Config.Name), r, &response)
		if err == nil && response.Error != nil {
			err = apiFault(response.Error)
		}
		if err == nil && response.DeliverSubject == "" {
			err = errors.New("the cluster does not say where to send it")
		}
		if err == nil {
			return response.DeliverSubject, nil
		}
		if !isForming(err) && !errors.Is(err, nats.ErrNoResponders) {
			return "", err
		}
		select {
		case <-wait.Done():
			return "", err
		case <-again.C:
		}
	}
}

// send gives a restore its next piece. The node that the hub speaks to may hear
// where the pieces go before it hears that another node takes them: then it has given
// the piece to nobody, and it is sent again.
func (m *mover) send(ctx context.Context, to string, data []byte, wait time.Duration) ([]byte, error) {
	again := time.NewTicker(moveAgain)
	defer again.Stop()
	for began := time.Now(); ; {
		answer, err := roundTrip(ctx, m.to.conn, to, data, wait)
		if !errors.Is(err, nats.ErrNoResponders) || time.Since(began) > moveTaken {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

// restored reads how a restore ended.
func restored(answer []byte) error {
	var response server.JSApiStreamCreateResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return apiFault(response.Error)
	}
	if response.StreamInfo == nil {
		return errors.New("the cluster does not say what it has now")
	}
	return nil
}

// askServer is one question to the API of a server.
func askServer(ctx context.Context, nc *nats.Conn, subject string, question, answer any) error {
	data, err := json.Marshal(question)
	if err != nil {
		return err
	}
	out, err := roundTrip(ctx, nc, subject, data, moveWait)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, answer)
}

func roundTrip(ctx context.Context, nc *nats.Conn, subject string, data []byte, wait time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// apiFault is a server's error as its client tells it elsewhere.
func apiFault(e *server.ApiError) error {
	return &jetstream.APIError{Code: e.Code, ErrorCode: jetstream.ErrorCode(e.ErrCode), Description: e.Description}
}

// unpacked counts what a packed snapshot holds while it passes.
type unpacked struct {
	in    *io.PipeWriter
	ended chan error
	n     atomic.Uint64
}

func newUnpacked() *unpacked {
	r, w := io.Pipe()
	u := &unpacked{in: w, ended: make(chan error, 1)}
	go func() {
		_, err := io.Copy(u, s2.NewReader(r))
		u.ended <- errors.Join(err, r.CloseWithError(err))
	}()
	return u
}

func (u *unpacked) Write(p []byte) (int, error) {
	u.n.Add(uint64(len(p)))
	return len(p), nil
}

// add returns how much was in all that passed, as far as it is unpacked.
func (u *unpacked) add(chunk []byte) (uint64, error) {
	_, err := u.in.Write(chunk)
	return u.n.Load(), err
}

// close waits until all is unpacked; it says so when that could not be.
func (u *unpacked) close() error { return errors.Join(u.in.Close(), <-u.ended) }

// contents is what a stream holds, for comparing.
type contents struct {
	messages, first, last uint64
	digest                [sha256.Size]byte
}

// contents reads a stream through: sequence, time, subject, headers and data of
// each message. What goes by itself within the time of a move is left out.
func (m *mover) contents(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) (contents, error) {
	var c contents
	if info.State.Msgs == 0 {
		return c, nil
	}
	var since time.Time
	if info.Config.MaxAge > 0 {
		since = m.began.Add(moveStale - info.Config.MaxAge)
	}
	consumer, err := js.OrderedConsumer(ctx, info.Config.Name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return c, err
	}
	ahead := int(readAhead * info.State.Msgs / max(info.State.Bytes, 1))
	messages, err := consumer.Messages(jetstream.PullMaxMessages(min(max(ahead, followAhead), maxReadAhead)))
	if err != nil {
		return c, err
	}
	defer messages.Stop()
	sum := sha256.New()
	for {
		wait, cancel := context.WithTimeout(ctx, clusterWait)
		msg, err := messages.Next(jetstream.NextContext(wait))
		cancel()
		if err != nil {
			return c, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return c, err
		}
		if !meta.Timestamp.Before(since) {
			if c.messages == 0 {
				c.first = meta.Sequence.Stream
			}
			c.messages, c.last = c.messages+1, meta.Sequence.Stream
			digestMessage(sum, meta, msg)
		}
		if meta.NumPending == 0 {
			sum.Sum(c.digest[:0])
			return c, nil
		}
	}
}

// digestMessage adds a message, each part with its length before it.
func digestMessage(sum hash.Hash, meta *jetstream.MsgMetadata, msg jetstream.Msg) {
	var b []byte
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s string) { number(uint64(len(s))); b = append(b, s...) }
	number(meta.Sequence.Stream)
	number(uint64(meta.Timestamp.UnixNano()))
	text(msg.Subject())
	headers := msg.Headers()
	number(uint64(len(headers)))
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		text(key)
		number(uint64(len(headers[key])))
		for _, v := range headers[key] {
			text(v)
		}
	}
	number(uint64(len(msg.Data())))
	sum.Write(b)
	sum.Write(msg.Data())
}

// compare holds a stream of the cluster against the hub's own.
func (m *mover) compare(ctx context.Context, info *jetstream.StreamInfo, mine contents) error {
	short, cancel := context.WithTimeout(ctx, moveWait)
	defer cancel()
	copied, err := m.to.js.Stream(short, info.Config.Name)
	if err != nil {
		return err
	}
	theirs := copied.CachedInfo()
	if n := theirs.Config.Replicas; n != m.replicas {
		return fmt.Errorf("%w: it lies on %d nodes, not %d", ErrNotWhole, n, m.replicas)
	}
	got, err := m.contents(ctx, m.to.js, theirs)
	if err != nil {
		return err
	}
	if got != mine {
		return fmt.Errorf("%w: %d messages, %d to %d, digest %.8x; the hub has %d, %d to %d, %.8x", ErrNotWhole,
			got.messages, got.first, got.last, got.digest, mine.messages, mine.first, mine.last, mine.digest)
	}
	return nil
}

// extent is how much of a stream a node holds.
type extent struct {
	Messages uint64 `json:"messages"`
	First    uint64 `json:"first_seq"`
	Last     uint64 `json:"last_seq"`
}

// same compares two of them. What an empty stream begins with is nothing that
// anybody could ask for, and where old messages go by themselves two nodes do it at two times.
func (e extent) same(as extent, goes bool) bool {
	if e.Last != as.Last || goes {
		return e.Last == as.Last
	}
	return e.Messages == as.Messages && (e.Messages == 0 || e.First == as.First)
}

// onAllNodes waits until each node itself says that it has the whole stream: the
// one that took it may be lost at any time. A node flushes what it caught up with.
func (m *mover) onAllNodes(ctx context.Context, info *jetstream.StreamInfo, patience time.Duration) error {
	want := extent{info.State.Msgs, info.State.FirstSeq, info.State.LastSeq}
	again := time.NewTicker(moveLook)
	defer again.Stop()
	var seen map[string]extent
	for changed := time.Now(); ; {
		now, err := m.extents(ctx, info.Config.Name)
		if err != nil {
			return err
		}
		whole := 0
		for _, e := range now {
			if e.same(want, info.Config.MaxAge > 0) {
				whole++
			}
		}
		if whole >= m.replicas {
			return nil
		}
		if !maps.Equal(now, seen) {
			seen, changed = now, time.Now()
		}
		if time.Since(changed) > patience {
			return fmt.Errorf("%w: the hub has %+v, and the nodes say %+v", ErrNotWhole, want, now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// extents asks every node what it holds of a stream.
func (m *mover) extents(ctx context.Context, name string) (map[string]extent, error) {
	question, err := json.Marshal(server.JSzOptions{Account: m.account, Streams: true})
	if err != nil {
		return nil, err
	}
	out, most, heard := map[string]extent{}, 0, 0
	err = eachNode(ctx, m.system, question, func(a nodeAnswer) (bool, error) {
		heard++
		// A node that says nothing of the account has nothing of it.
		if a.Data != nil {
			for _, account := range a.Data.Accounts {
				for _, s := range account.Streams {
					if s.Name == name {
						out[a.Server.Name] = s.State
					}
				}
			}
			if a.Data.Meta != nil {
				most = max(most, a.Data.Meta.Size)
			}
		}
		return len(out) >= m.replicas || most > 0 && heard >= most, nil
	})
	return out, err
}
