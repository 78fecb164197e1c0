package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/pass/statuslist"
	"greengate/sync/hub/publisher"
)

// This file is what lets several hubs stand side by side on one cluster. One of
// them publishes: the leader, which holds a lease. What it signs in its folder
// "lists" is seen by nobody until a compare-and-set of one key, the head, has
// made it the state of all hubs; each of them serves it from its folder "served".
//
// The lease keeps hubs from working in vain. That nothing of a leader which lost
// it becomes visible does not rest on clocks: whoever takes the lease over counts
// the epoch up and writes it into the head first, and the old leader's
// compare-and-set fails by that.

const (
	leaseKey = "lease"
	headKey  = "repository"
	// leaseTime is how long a lease may stand unchanged before another hub takes
	// it, by that hub's own clock; leaseRenew is how often it is renewed. With the
	// wait for a publish and a gate's poll a recolour stays within 90 s even then.
	leaseTime  = 10 * time.Second
	leaseRenew = 3 * time.Second

	filesStream = "FILES"
	filesPrefix = "files."
	// fileChunk is how much of a file one message holds.
	fileChunk = 1 << 20
	// pullTries is how often a state is asked for anew that went while it was fetched.
	pullTries = 4
	// pullTime bounds one look at the head with all that is fetched for it.
	pullTime = 2 * time.Minute
)

// ErrNotLeader: another hub publishes.
var ErrNotLeader = errors.New("another hub publishes")

// leaseRecord says who publishes.
type leaseRecord struct {
	// Holder is a hub's process, "" for nobody; Name says which for people.
	Holder string `json:"holder"`
	Name   string `json:"name"`
	Epoch  uint64 `json:"epoch"`
}

// headRecord is the state that is visible.
type headRecord struct {
	// Epoch of the lease under which it may be replaced.
	Epoch     uint64 `json:"epoch"`
	Timestamp int64  `json:"timestamp"`
	// Manifest is the SHA-256 of the state's manifest, in hex, and Size its length.
	Manifest string `json:"manifest"`
	Size     int64  `json:"size"`
}

// shared is a hub's part in the repository of several; nil where it is alone.
type shared struct {
	h     *Hub
	base  context.Context // until the hub is closed
	files jetstream.Stream
	me    leaseRecord
	now   func() time.Time

	mu     sync.Mutex
	epoch  uint64    // under which it leads, 0 for not
	until  time.Time // the lease is held
	holder leaseRecord
	seen   uint64    // revision of the lease as it was seen last
	seenAt time.Time // and when it changed

	mirror sync.Mutex // of the folder that is served
	served uint64     // revision of the head that it holds

	asking struct {
		sync.Mutex
		running, next *look
		closed        bool
		work          sync.WaitGroup
	}
}

// look is one look at the head, for all who came before it began.
type look struct {
	done chan struct{}
	err  error
}

// share opens the repository of several hubs.
func (h *Hub) share(ctx, base context.Context) (*shared, error) {
	s := &shared{h: h, base: base, now: time.Now}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	s.me = leaseRecord{Holder: hex.EncodeToString(id), Name: host + ":" + h.paths.dir}
	if s.files, err = h.store.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: filesStream, Subjects: []string{filesPrefix + "*.*"}, Storage: jetstream.FileStorage,
		Replicas: h.store.passages.CachedInfo().Config.Replicas, MaxMsgsPerSubject: 1, MaxMsgSize: maxMessage,
		Discard: jetstream.DiscardOld,
	}); err != nil {
		return nil, fmt.Errorf("stream %s: %w", filesStream, err)
	}
	// Until it leads, nothing is signed here.
	if err := publisher.Follow(h.paths.lists(), true); err != nil {
		return nil, err
	}
	return s, nil
}

// begin takes part for the first time: it leads where nobody does, and mirrors
// what is visible. Then tick goes on.
func (s *shared) begin(ctx context.Context) error {
	err := s.tick(ctx)
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrConflict) {
		s.h.log.Info("another hub was faster", "err", err)
	} else if err != nil {
		return err
	}
	if err := s.fresh(ctx); err != nil && !errors.Is(err, ErrNotFound) {
		return err // not found: another hub is about to make the first one
	}
	return nil
}

// run renews the lease, or waits for it, until ctx ends.
func (s *shared) run(ctx context.Context) {
	again := time.NewTicker(leaseRenew)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		turn, cancel := context.WithTimeout(ctx, pullTime)
		err := s.tick(turn)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.h.log.Warn("lease or lists of other hubs not looked at", "err", err)
		}
	}
}

// tick looks at the lease once: it is renewed, taken, or waited for.
func (s *shared) tick(ctx context.Context) error {
	kv := s.h.store.registry
	asked := s.now()
	short, cancel := context.WithTimeout(ctx, leaseRenew)
	defer cancel()
	lease, rev, err := load[leaseRecord](short, kv, leaseKey)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return err
	}
	s.mu.Lock()
	s.holder = lease
	if rev != s.seen || s.seenAt.IsZero() {
		s.seen, s.seenAt = rev, asked
	}
	mine := !missing && lease.Holder == s.me.Holder
	free := missing || lease.Holder == "" || asked.Sub(s.seenAt) >= leaseTime
	s.mu.Unlock()
	if !mine {
		s.stepDown()
		if !free {
			return s.follow(ctx)
		}
		lease = leaseRecord{Holder: s.me.Holder, Name: s.me.Name, Epoch: lease.Epoch + 1}
	}
	data, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	if missing {
		rev, err = kv.Create(short, leaseKey, data)
	} else {
		rev, err = kv.Update(short, leaseKey, data, rev)
	}
	if isConflict(err) {
		s.stepDown()
		return nil // somebody was faster; the next look says who
	}
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	s.mu.Lock()
	s.holder, s.seen, s.seenAt, s.until = lease, rev, asked, asked.Add(leaseTime)
	leading := s.epoch == lease.Epoch
	s.mu.Unlock()
	if leading {
		return s.noticeSigned()
	}
	return s.lead(ctx, lease.Epoch)
}

// lead takes the head over: from its compare-and-set on nothing of an earlier
// leader becomes visible.
func (s *shared) lead(ctx context.Context, epoch uint64) error {
	s.h.publish.Lock()
	defer s.h.publish.Unlock()
	head, rev, err := load[headRecord](ctx, s.h.store.registry, headKey)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := s.found(ctx, epoch); err != nil {
			return err
		}
	case err != nil:
		return err
	case head.Epoch > epoch:
		return nil // taken over meanwhile
	default:
		head.Epoch = epoch
		if err := s.setHead(ctx, head, rev); err != nil {
			return err
		}
		if err := s.reconcile(ctx, head); err != nil {
			return err
		}
	}
	if err := publisher.Follow(s.h.paths.lists(), false); err != nil {
		return err
	}
	s.h.last.mu.Lock()
	s.h.last.ever = false // what the leader before knew of the lists is not known here
	s.h.last.mu.Unlock()
	s.mu.Lock()
	s.epoch = epoch
	s.mu.Unlock()
	s.h.log.Info("this hub publishes from now on", "epoch", epoch)
	s.h.notePending()
	return nil
}

// found makes the first head, of what init made.
func (s *shared) found(ctx context.Context, epoch uint64) error {
	m, err := publisher.ReadManifest(s.h.paths.lists())
	if err != nil {
		return err
	}
	head, err := s.upload(ctx, m, publisher.Manifest{})
	if err != nil {
		return err
	}
	head.Epoch = epoch
	if _, err := create(ctx, s.h.store.registry, headKey, head); err != nil {
		return err
	}
	return s.writeBase(head)
}

// stepDown ends this hub's lead, where it had one.
func (s *shared) stepDown() {
	s.mu.Lock()
	led := s.epoch != 0
	s.epoch = 0
	s.mu.Unlock()
	if !led {
		return
	}
	s.h.log.Warn("another hub publishes from now on")
	if err := publisher.Follow(s.h.paths.lists(), true); err != nil {
		s.h.log.Error("the folder of lists is not marked as another hub's", "err", err)
	}
}

// follow brings this hub's own folder up to what is visible, so that it could
// lead at once.
func (s *shared) follow(ctx context.Context) error {
	s.h.publish.Lock()
	defer s.h.publish.Unlock()
	head, _, err := load[headRecord](ctx, s.h.store.registry, headKey)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.fresh(ctx); err != nil {
		return err
	}
	if base, err := s.readBase(); err != nil || base == head.Manifest {
		return err
	}
	return s.adopt(ctx, head)
}

// leads returns the epoch under which this hub publishes.
func (s *shared) leads() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == 0 || !s.now().Before(s.until) {
		return 0, fmt.Errorf("%w: %s\nhint: the command works there", ErrNotLeader, s.holder.Name)
	}
	return s.epoch, nil
}

// leading reports whether this hub publishes.
func (s *shared) leading() bool { _, err := s.leads(); return err == nil }

// close gives the lease back, so that another hub need not wait for its end.
func (s *shared) close(ctx context.Context) {
	s.asking.Lock()
	s.asking.closed = true
	s.asking.Unlock()
	s.asking.work.Wait()
	s.mu.Lock()
	epoch, rev := s.epoch, s.seen
	s.epoch = 0
	s.mu.Unlock()
	if epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaseRenew)
	defer cancel()
	data, err := json.Marshal(leaseRecord{Epoch: epoch})
	if err == nil {
		_, err = s.h.store.registry.Update(ctx, leaseKey, data, rev)
	}
	if err = errors.Join(err, publisher.Follow(s.h.paths.lists(), true)); err != nil {
		s.h.log.Warn("lease not given back; it ends by itself", "err", err)
	}
}

// release publishes, and makes what was signed visible; alone, both are one.
func (h *Hub) release(ctx context.Context, c publisher.Contents) (publisher.Version, error) {
	if h.shared == nil {
		return h.publisher.Publish(ctx, c)
	}
	epoch, err := h.shared.leads()
	if err != nil {
		return publisher.Version{}, err
	}
	head, rev, err := h.shared.mine(ctx, epoch)
	if err != nil {
		return publisher.Version{}, err
	}
	if err := h.shared.reconcile(ctx, head); err != nil {
		return publisher.Version{}, err
	}
	v, err := h.publisher.Publish(ctx, c)
	if err != nil {
		return publisher.Version{}, err
	}
	if err := h.shared.push(ctx, epoch, head, rev); err != nil {
		return publisher.Version{}, err
	}
	return v, nil
}

// mine returns the head, which is of this epoch.
func (s *shared) mine(ctx context.Context, epoch uint64) (headRecord, uint64, error) {
	head, rev, err := load[headRecord](ctx, s.h.store.registry, headKey)
	if err != nil {
		return head, 0, err
	}
	if head.Epoch != epoch {
		s.stepDown()
		return head, 0, fmt.Errorf("%w: epoch %d, and this hub's was %d", ErrNotLeader, head.Epoch, epoch)
	}
	return head, rev, nil
}

// push makes the state of this hub's folder visible to all, in place of the head
// that it was made from. Where it cannot, the next publish or lead looks at what
// became of it.
func (s *shared) push(ctx context.Context, epoch uint64, old headRecord, rev uint64) error {
	m, err := publisher.ReadManifest(s.h.paths.lists())
	if err != nil {
		return err
	}
	before, err := s.manifest(ctx, old)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return s.lost(ctx, fmt.Errorf("%w: the head was replaced", ErrNotLeader))
	}
	if err != nil {
		return err
	}
	head, err := s.upload(ctx, m, before)
	if err != nil {
		return err
	}
	head.Epoch = epoch
	info, err := s.files.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", filesStream, err)
	}
	if err := s.setHead(ctx, head, rev); err != nil {
		if errors.Is(err, ErrNotLeader) {
			return s.lost(ctx, err)
		}
		return err
	}
	if err := s.writeBase(head); err != nil {
		return err
	}
	s.sweep(ctx, before, m, old, info.State.LastSeq)
	return s.fresh(ctx)
}

// lost undoes in this hub's own folder what did not become visible.
func (s *shared) lost(ctx context.Context, err error) error {
	s.stepDown()
	now, _, lerr := load[headRecord](ctx, s.h.store.registry, headKey)
	if lerr == nil {
		lerr = s.adopt(ctx, now)
	}
	if lerr != nil {
		// It is undone with the next look; until then nothing is signed on top of it.
		s.h.log.Warn("what did not become visible is not undone yet", "err", lerr)
	}
	return err
}

// setHead replaces the head by compare-and-set. An answer that did not come is
// asked for: the head says itself whether it was replaced.
func (s *shared) setHead(ctx context.Context, head headRecord, rev uint64) error {
	data, err := json.Marshal(head)
	if err != nil {
		return err
	}
	_, err = replace(ctx, s.h.store.registry, headKey, data, rev)
	if err == nil {
		return nil
	}
	if !isConflict(err) && !isAway(err) {
		return fmt.Errorf("head of the lists: %w", err)
	}
	now, at, lerr := load[headRecord](ctx, s.h.store.registry, headKey)
	switch {
	case lerr != nil:
		return fmt.Errorf("head of the lists: %w", errors.Join(err, lerr))
	case now == head:
		return nil
	case at != rev:
		return fmt.Errorf("head of the lists: %w: it was replaced under epoch %d", ErrNotLeader, now.Epoch)
	case isConflict(err):
		// The stream's leader knows of a write already that is not to be read yet.
		return fmt.Errorf("head of the lists: %w: it is being replaced", ErrNotLeader)
	}
	return fmt.Errorf("head of the lists: %w", err)
}

// base is the digest of the manifest that this hub's own folder goes on from.
func (s *shared) basePath() string { return filepath.Join(s.h.paths.lists(), ".base") }

func (s *shared) readBase() (string, error) {
	data, err := os.ReadFile(s.basePath())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

func (s *shared) writeBase(head headRecord) error {
	return writePrivate(s.basePath(), []byte(head.Manifest+"\n"))
}

// reconcile makes this hub's own folder one that the head may be replaced by:
// what it holds goes on from the head, or is undone. What was signed here by
// offline keys since is of the first kind.
func (s *shared) reconcile(ctx context.Context, head headRecord) error {
	base, err := s.readBase()
	if err != nil || base == head.Manifest {
		return err
	}
	m, err := publisher.ReadManifest(s.h.paths.lists())
	if err != nil && !errors.Is(err, publisher.ErrDamaged) {
		return err
	}
	if err == nil {
		data, err := m.Marshal()
		if err != nil {
			return err
		}
		if digestHex(data) == head.Manifest {
			return s.writeBase(head)
		}
	}
	return s.adopt(ctx, head)
}

// adopt makes this hub's own folder what is visible.
func (s *shared) adopt(ctx context.Context, head headRecord) error {
	m, err := s.manifest(ctx, head)
	if err != nil {
		return err
	}
	if err := m.Restore(ctx, s.h.paths.lists(), s.fetchFrom(s.h.paths.served())); err != nil {
		return err
	}
	if err := s.writeBase(head); err != nil {
		return err
	}
	infos, err := s.h.publisher.Lists()
	if err != nil {
		return err
	}
	s.h.lists.note(infos)
	return nil
}

// note takes the descriptions of lists that another hub published.
func (l *lists) note(infos []statuslist.Info) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range infos {
		l.info[i.URI] = i
		if c := l.byURI[i.URI]; c != nil {
			c.info = i
			if sha256.Sum256(c.array.Raw()) == i.SHA256 {
				c.done = c.changed
			}
		}
	}
}

// noticeSigned wakes the publisher when offline keys signed something here.
func (s *shared) noticeSigned() error {
	ours, err := os.ReadFile(filepath.Join(s.h.paths.lists(), "metadata", "timestamp.json"))
	if err != nil {
		return err
	}
	theirs, err := os.ReadFile(filepath.Join(s.h.paths.served(), "metadata", "timestamp.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !bytes.Equal(ours, theirs) {
		s.h.notePending()
	}
	return nil
}

func digestHex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// upload stores the files of the state that are not in the one before it, and
// its manifest, and returns the head that names it.
func (s *shared) upload(ctx context.Context, m, before publisher.Manifest) (headRecord, error) {
	there := map[string]bool{}
	for _, f := range before.Files {
		there[f.SHA256] = true
	}
	for _, f := range m.Files {
		if there[f.SHA256] {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.h.paths.lists(), filepath.FromSlash(f.Path)))
		if err != nil {
			return headRecord{}, err
		}
		if digestHex(data) != f.SHA256 {
			return headRecord{}, fmt.Errorf("%s: %w", f.Path, publisher.ErrMoved)
		}
		if err := s.put(ctx, f.SHA256, data); err != nil {
			return headRecord{}, err
		}
		there[f.SHA256] = true
	}
	data, err := m.Marshal()
	if err != nil {
		return headRecord{}, err
	}
	head := headRecord{Timestamp: m.Timestamp, Manifest: digestHex(data), Size: int64(len(data))}
	return head, s.put(ctx, head.Manifest, data)
}

// put stores one file under its digest.
func (s *shared) put(ctx context.Context, sum string, data []byte) error {
	for n := 0; ; n++ {
		chunk := data[:min(len(data), fileChunk)]
		data = data[len(chunk):]
		short, cancel := context.WithTimeout(ctx, answerTime)
		_, err := s.h.store.js.Publish(short, filesPrefix+sum+"."+strconv.Itoa(n), chunk)
		cancel()
		if err != nil {
			return fmt.Errorf("file %s: %w", sum, err)
		}
		if len(data) == 0 {
			return nil
		}
	}
}

// get reads one file by its digest.
func (s *shared) get(ctx context.Context, sum string, size int64) ([]byte, error) {
	var data []byte
	for n := 0; ; n++ {
		short, cancel := context.WithTimeout(ctx, answerTime)
		m, err := s.files.GetLastMsgForSubject(short, filesPrefix+sum+"."+strconv.Itoa(n))
		cancel()
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", sum, err)
		}
		if data = append(data, m.Data...); int64(len(data)) >= size {
			break
		}
	}
	if digestHex(data) != sum {
		return nil, fmt.Errorf("file %s: it is not what its digest says", sum)
	}
	return data, nil
}

// fetchFrom reads a file of a state: from a folder here that may have it, else from the cluster.
func (s *shared) fetchFrom(dir string) func(context.Context, publisher.ManifestFile) ([]byte, error) {
	return func(ctx context.Context, f publisher.ManifestFile) ([]byte, error) {
		if data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path))); err == nil && digestHex(data) == f.SHA256 {
			return data, nil
		}
		return s.get(ctx, f.SHA256, f.Size)
	}
}

// manifest reads the state that a head names.
func (s *shared) manifest(ctx context.Context, head headRecord) (publisher.Manifest, error) {
	data, err := s.get(ctx, head.Manifest, head.Size)
	if err != nil {
		return publisher.Manifest{}, err
	}
	return publisher.ParseManifest(data)
}

// sweep removes the files of the state before that this one has not. Only what
// was there before the head was replaced goes: a later leader that brings one
// back stores it anew, and so behind that. What stays by a fault costs room.
func (s *shared) sweep(ctx context.Context, before, now publisher.Manifest, old headRecord, last uint64) {
	keep := map[string]bool{}
	for _, f := range now.Files {
		keep[f.SHA256] = true
	}
	gone := []string{old.Manifest}
	for _, f := range before.Files {
		if !keep[f.SHA256] {
			gone = append(gone, f.SHA256)
			keep[f.SHA256] = true
		}
	}
	for _, sum := range gone {
		if err := s.files.Purge(ctx, jetstream.WithPurgeSubject(filesPrefix+sum+".*"), jetstream.WithPurgeSequence(last+1)); err != nil {
			s.h.log.Warn("an old file of the lists stays", "file", sum, "err", err)
			return
		}
	}
}

// fresh returns once the folder that is served is at least as new as the head
// was when it was called. One look serves all who came before it.
func (s *shared) fresh(ctx context.Context) error {
	a := &s.asking
	a.Lock()
	if a.closed {
		a.Unlock()
		return ErrAway
	}
	l := a.next
	if l == nil {
		l = &look{done: make(chan struct{})}
		a.next = l
		if a.running == nil {
			a.work.Go(s.lookOut)
		}
	}
	a.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.err
	}
}

// lookOut looks for as long as somebody waits for it.
func (s *shared) lookOut() {
	a := &s.asking
	for {
		a.Lock()
		a.running, a.next = a.next, nil
		l := a.running
		a.Unlock()
		if l == nil {
			return
		}
		ctx, cancel := context.WithTimeout(s.base, pullTime)
		l.err = s.pull(ctx)
		cancel()
		close(l.done)
	}
}

// pull brings the folder that is served up to the head.
func (s *shared) pull(ctx context.Context) error {
	s.mirror.Lock()
	defer s.mirror.Unlock()
	var failed error
	for range pullTries {
		head, rev, err := load[headRecord](ctx, s.h.store.registry, headKey)
		if err != nil {
			return err
		}
		if rev == s.served {
			return nil
		}
		m, err := s.manifest(ctx, head)
		if err == nil {
			err = m.Restore(ctx, s.h.paths.served(), s.fetchFrom(s.h.paths.lists()))
		}
		if err == nil {
			s.served = rev
			return nil
		}
		if failed = err; !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		// The next state came, and this one's files went.
	}
	return failed
}

// handler serves the lists as they are visible at all hubs. A gate that asks
// two of them in turn never sees an older state than before: the timestamp is
// answered only once this hub has looked at the head, and a hub that cannot
// look sends the gate away.
func (s *shared) handler(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Clean("/" + r.URL.Path)
		_, err := os.Stat(filepath.Join(s.h.paths.served(), filepath.FromSlash(name)))
		if name == "/"+"metadata/timestamp.json" || errors.Is(err, os.ErrNotExist) {
			if err := s.fresh(r.Context()); err != nil {
				s.h.log.Warn("lists not looked at", "err", err)
				answerAway(w)
				return
			}
		}
		files.ServeHTTP(w, r)
	})
}

// Leader says which hub publishes, under which epoch, and whether it is this
// one; a hub that is alone does.
func (h *Hub) Leader() (name string, epoch uint64, here bool) {
	if h.shared == nil {
		return "", 0, true
	}
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	return h.shared.holder.Name, h.shared.holder.Epoch, h.shared.epoch != 0
}

// mustLead refuses what only the hub that publishes can do.
func (h *Hub) mustLead() error {
	if h.shared == nil {
		return nil
	}
	_, err := h.shared.leads()
	return err
}

// listsHandler serves the lists to gates.
func (h *Hub) listsHandler() http.Handler {
	if h.shared == nil {
		return publisher.Handler(h.paths.lists())
	}
	return h.shared.handler(publisher.Handler(h.paths.served()))
}

// visible is the folder that holds the lists as gates see them.
func (h *Hub) visible() string {
	if h.shared == nil {
		return h.paths.lists()
	}
	return h.paths.served()
}

// ListsFolder is the folder of a hub's data folder that holds the signed lists as
// gates see them.
func ListsFolder(dir string) string {
	p := paths{dir}
	if _, err := os.Stat(p.served()); err == nil {
		return p.served()
	}
	return p.lists()
}

// watchDocuments wakes the publisher when another hub changed a key, the policy
// or the map.
func (h *Hub) watchDocuments(ctx context.Context) error {
	w, err := h.store.registry.WatchFiltered(ctx, []string{"policy", "map", "key.>"}, jetstream.UpdatesOnly())
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	context.AfterFunc(ctx, func() { h.stopWatching(w) })
	h.watching.Go(func() {
		for e := range w.Updates() {
			if e != nil {
				h.notePending()
			}
		}
	})
	return nil
}
