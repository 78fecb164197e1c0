package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

func jsonRaw(b []byte) json.RawMessage { return b }

// heldList is a list as the memory store holds it.
type heldList struct {
	info      statuslist.Info
	raw       []byte
	confirmed time.Time
}

// content is all that a store holds.
type content struct {
	metadata map[string][]byte
	lists    map[string]heldList
	hashes   map[hashlist.ID]heldHashes
	keys     []pass.Key
	version  uint64
	policy   gate.Policy
	riskMap  gate.RiskMap
	floor    time.Time
}

func (c content) clone() content {
	c.metadata, c.lists, c.hashes = maps.Clone(c.metadata), maps.Clone(c.lists), maps.Clone(c.hashes)
	return c
}

// memory is a store in memory with real transactions: an error, or a cut that
// the test asks for, leaves everything as it was. It checks what no
// transaction may do.
type memory struct {
	t testing.TB
	content
	commits int
	// onCommit is asked before each commit; its error undoes it.
	onCommit func(n int) error
	// refuse names a list that there is no room for.
	refuse string
	// cap is how many bytes of lists there is room for, 0 for any number.
	cap int64
	// used are the lists that somebody came with a code of.
	used map[string]bool
	// staged lists, by URI.
	staged map[string][]byte
	// stagedHashes are the hash lists that wait to be put, refuseHashes one
	// that there is no room for.
	stagedHashes map[hashlist.ID]heldHashes
	refuseHashes hashlist.ID
}

func newMemory(t testing.TB) *memory {
	return &memory{t: t, content: content{metadata: map[string][]byte{}, lists: map[string]heldList{}, hashes: map[hashlist.ID]heldHashes{}},
		stagedHashes: map[hashlist.ID]heldHashes{}}
}

func (m *memory) Install(f func(Tx) error) error {
	tx := &memoryTx{content: m.content.clone(), refuse: m.refuse, staged: m.staged, stagedHashes: m.stagedHashes}
	if err := f(tx); err != nil {
		return err
	}
	if tx.writes == 0 {
		m.t.Error("a transaction that writes nothing")
	}
	if m.onCommit != nil {
		if err := m.onCommit(m.commits + 1); err != nil {
			return err
		}
	}
	m.commits++
	m.check(tx)
	m.content = tx.content
	return nil
}

// check holds the transaction to what the package's documentation says.
func (m *memory) check(tx *memoryTx) {
	if tx.floor.Before(m.floor) {
		m.t.Errorf("floor goes back from %s to %s", m.floor, tx.floor)
	}
	top := 0
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		if len(tx.metadata[role]) > 0 {
			top++
		}
	}
	if top != 3 && top != 0 && len(tx.metadata["timestamp"]) > 0 {
		m.t.Error("timestamp stored without snapshot and targets")
	}
	for role, raw := range tx.metadata {
		if !strings.HasPrefix(role, statusPrefix) || bytes.Equal(raw, m.metadata[role]) {
			continue
		}
		// The role's metadata comes with the last of what it describes.
		md := parseTargets(raw)
		for path, t := range md.Signed.Targets {
			if _, ok := regionOf(path); !ok {
				continue
			}
			d, err := describe(path, t)
			if err != nil {
				m.t.Errorf("role %s stored with target %s: %v", role, path, err)
				continue
			}
			held, ok := tx.lists[d.URI]
			if ok && !sameInfo(held.info, d.Info) {
				m.t.Errorf("role %s stored with list %s at sequence %d, described is %d", role, d.URI, held.info.Sequence, d.Sequence)
			}
		}
	}
	for uri, l := range tx.lists {
		if sha256.Sum256(l.raw) != l.info.SHA256 || int64(len(l.raw)) != l.info.Size {
			m.t.Errorf("list %s stored with bytes that are not its own", uri)
		}
	}
}

func (m *memory) Metadata(role string) []byte { return m.metadata[role] }

func (m *memory) Stage(info statuslist.Info, raw []byte) error {
	if m.staged == nil {
		m.staged = map[string][]byte{}
	}
	m.staged[info.URI] = raw
	return nil
}

func (m *memory) Bits(uri string) []byte { return m.lists[uri].raw }

func (m *memory) Recent(uri string) bool {
	used := m.used[uri]
	delete(m.used, uri)
	return used
}

func (m *memory) Room(info statuslist.Info) bool {
	sum := info.Size
	for uri, l := range m.lists {
		if uri != info.URI {
			sum += l.info.Size
		}
	}
	return m.cap == 0 || sum <= m.cap
}

func (m *memory) Policy() gate.Policy { return m.policy }

func (m *memory) Lists() []statuslist.Info {
	var infos []statuslist.Info
	for _, l := range m.lists {
		infos = append(infos, l.info)
	}
	return infos
}

// colours returns the colour of each list that is held.
func (m *memory) colours() map[string]byte {
	c := map[string]byte{}
	for uri, l := range m.lists {
		c[uri] = l.raw[0] & 3
	}
	return c
}

var errNoRoom = errors.New("no room")

type memoryTx struct {
	content
	refuse string
	writes int
	staged map[string][]byte

	stagedHashes map[hashlist.ID]heldHashes
}

func (x *memoryTx) SetMetadata(role string, raw []byte) error {
	x.writes++
	if raw == nil {
		delete(x.metadata, role)
		return nil
	}
	x.metadata[role] = raw
	return nil
}

func (x *memoryTx) SetKeys(version uint64, keys []pass.Key, raw []byte) error {
	x.writes++
	if len(raw) == 0 {
		return errors.New("key list without bytes")
	}
	x.version, x.keys = version, keys
	return nil
}

func (x *memoryTx) PutList(info statuslist.Info, raw []byte) error {
	x.writes++
	if info.URI == x.refuse {
		return errNoRoom
	}
	if held := x.lists[info.URI]; raw == nil && held.info.SHA256 == info.SHA256 {
		raw = held.raw
	}
	if raw == nil {
		raw = x.staged[info.URI]
	}
	x.lists[info.URI] = heldList{info: info, raw: raw, confirmed: x.lists[info.URI].confirmed}
	return nil
}

func (x *memoryTx) PatchList(info statuslist.Info, delta []byte) error {
	x.writes++
	l, err := statuslist.FromRaw(bytes.Clone(x.lists[info.URI].raw), info.Bits)
	if err == nil {
		err = l.Patch(delta)
	}
	if err != nil {
		return err
	}
	return x.PutList(info, l.Raw())
}

func (x *memoryTx) DropList(uri string) error {
	x.writes++
	delete(x.lists, uri)
	return nil
}

func (x *memoryTx) Confirm(uris []string, issued time.Time) error {
	x.writes++
	for _, uri := range uris {
		l, ok := x.lists[uri]
		if !ok {
			return fmt.Errorf("list %s confirmed, but not held", uri)
		}
		l.confirmed = issued
		x.lists[uri] = l
	}
	return nil
}

func (x *memoryTx) SetPolicy(p gate.Policy, raw []byte) error {
	x.writes++
	x.policy = p
	return nil
}

func (x *memoryTx) SetMap(m gate.RiskMap, raw []byte) error {
	x.writes++
	x.riskMap = m
	return nil
}

func (x *memoryTx) RaiseFloor(issued time.Time) error {
	x.writes++
	if issued.After(x.floor) {
		x.floor = issued
	}
	return nil
}

// files serves a repository from memory. The test may put itself in between.
type files struct {
	a *authority
	// hostile, where set, answers in the server's place; nil data passes on.
	hostile func(path string) ([]byte, error)
	asked   []string
}

func (f *files) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", path, ErrUnavailable, err)
	}
	data, err := f.read(path)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("file %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

// read answers, whoever asks in whatever way.
func (f *files) read(path string) ([]byte, error) {
	f.asked = append(f.asked, path)
	data, ok := f.a.files[path]
	if f.hostile != nil {
		forged, err := f.hostile(path)
		if err != nil {
			return nil, err
		}
		if forged != nil {
			data, ok = forged, true
		}
	}
	if !ok {
		return nil, fmt.Errorf("file %s: %w", path, ErrNotFound)
	}
	return data, nil
}

// device is a gate's client with its store, its clock and its way to the authority.
type device struct {
	// foreign are the schemes whose hash lists are held.
	foreign []string
	*Client
	t      testing.TB
	a      *authority
	store  *memory
	server *files
	// fetcher is how the client reaches the server; the server itself by default.
	fetcher Fetcher
	now     time.Time
	// synced: network time disciplines the clock.
	synced bool
	clock  *gate.WallClock
	limits Limits
}

func newDevice(t testing.TB, a *authority, regions ...string) *device {
	t.Helper()
	d := &device{t: t, a: a, store: newMemory(t), server: &files{a: a}, now: a.now, synced: true}
	d.fetcher = d.server
	d.boot(regions...)
	return d
}

// boot starts the client on what the store holds, as after a power cut.
func (d *device) boot(regions ...string) {
	d.t.Helper()
	d.clock = gate.NewWallClock(func() time.Time { return d.now }, func() bool { return d.synced }, slog.New(slog.DiscardHandler))
	if !d.store.floor.IsZero() {
		d.clock.Floor(d.store.floor)
	}
	c, err := New(Config{Root: d.a.firstRoot(), Fetcher: d.fetcher, Store: d.store, Clock: d.clock, Regions: regions, Foreign: d.foreign, Limits: d.limits,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Client = c
}

// once runs at the authority's time.
func (d *device) once() (Report, error) {
	d.now = d.a.now
	return d.Once(context.Background())
}

func (d *device) mustOnce() Report {
	d.t.Helper()
	r, err := d.once()
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// mustBeCurrent fails unless the store holds the authority's lists of the gate's regions.
func (d *device) mustBeCurrent() {
	d.t.Helper()
	for uri, info := range d.a.infos {
		_, region, err := pathOf(uri)
		if err != nil {
			d.t.Fatal(err)
		}
		if !slices.ContainsFunc(d.config.Regions, func(r string) bool { return overlap(r, region) }) {
			continue
		}
		if l, ok := d.store.lists[uri]; !ok || !sameInfo(l.info, info) || !bytes.Equal(l.raw, d.a.raws[uri]) {
			d.t.Errorf("list %s: held %+v, published %+v", uri, l.info, info)
		}
	}
}
