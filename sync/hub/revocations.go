package hub

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"greengate/pass/hashlist"
	"greengate/sync/hub/publisher"
)

// This file is what is revoked of foreign codes, on its way to the publisher.
//
// What an operator sets waits in a folder, one file for each issuer key, until
// it is published; from then on the signed lists themselves are what the hub
// has of it. A key's list has up to 10 million entries, which no registry holds.

// ErrCounter: an issuer's list that is older than the one that was set.
var ErrCounter = errors.New("older than what was set")

// errSpool: a waiting file that is not as it was written.
var errSpool = errors.New("waiting revocation list is damaged")

// dropped is the content of a file that takes a key's lists away.
const dropped = "drop\n"

// RevocationRequest names the lists of one issuer key.
type RevocationRequest struct {
	// Scheme is eu or shc.
	Scheme string `json:"scheme"`
	// KID as the scheme writes it, or in lower-case hex.
	KID string `json:"kid"`
	// Empty says that no hash at all is meant, where the text has none: a
	// download that failed must not pardon everybody. The empty rids of a card
	// revocation list say so themselves.
	Empty bool   `json:"empty,omitempty"`
	By    string `json:"by"`
}

// RevocationStatus is what is revoked of one issuer key.
type RevocationStatus struct {
	Scheme string `json:"scheme"`
	// KID as the scheme writes it, KeyID in hex as paths and reports have it.
	KID   string `json:"kid"`
	KeyID string `json:"key_id"`
	// Parts is in how many lists the entries are published, 0 for none.
	Parts   int   `json:"parts"`
	Entries int64 `json:"entries"`
	// Sequence and Issued are those of the newest part, Expires of the first to
	// end. The hub signs each again at half its life.
	Sequence uint64    `json:"sequence,omitempty"`
	Issued   time.Time `json:"issued,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	// Pending is what the next publish does, "set" or "drop"; "" for nothing.
	Pending string `json:"pending,omitempty"`
	// PendingEntries is how many there are then.
	PendingEntries int64 `json:"pending_entries,omitempty"`
}

// revocations are the keys whose lists wait to be published.
type revocations struct {
	dir string
	// setting is held by the one operator who sets a list: a long one takes
	// hundreds of megabytes of memory for a moment.
	setting sync.Mutex
	mu      sync.Mutex
	waiting map[hashlist.ID]waitingList
	count   uint64
}

type waitingList struct {
	drop    bool
	entries int64
	// count tells one content of the file from the next.
	count uint64
}

func (r *revocations) path(id hashlist.ID) string {
	return filepath.Join(r.dir, string(id.Scheme)+"-"+id.KeyID)
}

// open finds what waits since before the start. A damaged file is found when it
// is published: nothing else of the hub waits for it.
func (r *revocations) open(dir string) error {
	r.dir, r.waiting = dir, map[hashlist.ID]waitingList{}
	if err := os.Mkdir(dir, 0o700); err == nil {
		return syncDir(filepath.Dir(dir))
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("revocation lists: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("revocation lists: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".new-") { // cut while it was written
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("revocation lists: %w", err)
			}
			continue
		}
		scheme, key, _ := strings.Cut(e.Name(), "-")
		id := hashlist.ID{Scheme: hashlist.Scheme(scheme), KeyID: key}
		if id.Check() != nil {
			continue // somebody else's
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("revocation lists: %w", err)
		}
		w := waitingList{drop: info.Size() == int64(len(dropped))}
		if !w.drop {
			w.entries = max(0, (info.Size()-id.Scheme.FileSize(0)-sha256.Size)/int64(id.Scheme.Width()))
		}
		r.note(id, w)
	}
	return nil
}

// note says that another content waits.
func (r *revocations) note(id hashlist.ID, w waitingList) {
	r.count++
	w.count = r.count
	r.waiting[id] = w
}

// keep makes a key's content wait, on the disk when it returns.
func (r *revocations) keep(id hashlist.ID, w waitingList, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(r.dir, ".new-*")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	err = write(out)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		// Without the flush the rename may reach the disk before the bytes do.
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		err = os.Rename(f.Name(), r.path(id))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	r.note(id, w)
	return syncDir(r.dir)
}

// done forgets what was published, unless something newer waits by now.
func (r *revocations) done(id hashlist.ID, count uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id].count != count {
		return nil
	}
	if err := os.Remove(r.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(r.waiting, id)
	// If the power goes before the folder is flushed, the same is published
	// again, which costs nothing.
	return syncDir(r.dir)
}

// pending returns the keys that wait, in the order in which they were set.
func (r *revocations) pending() []hashlist.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []hashlist.ID
	for id := range r.waiting {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b hashlist.ID) int { return cmp.Compare(r.waiting[a].count, r.waiting[b].count) })
	return ids
}

// load opens a key's waiting file and says which content it is.
func (r *revocations) load(id hashlist.ID) (l publisher.HashList, count uint64, err error) {
	r.mu.Lock()
	count = r.waiting[id].count
	f, err := os.Open(r.path(id))
	r.mu.Unlock()
	if err != nil {
		return l, 0, fmt.Errorf("%w: %w", errSpool, err)
	}
	l, err = readWaiting(id, f)
	return l, count, errors.Join(err, f.Close())
}

// writeWaiting writes entries as a list's file, of any length, with the
// SHA-256 of it behind: nobody else looks at what is signed next.
func writeWaiting(w io.Writer, s hashlist.Scheme, entries []hashlist.Entry) error {
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(s.AppendHeader(nil, len(entries))); err != nil {
		return err
	}
	b := make([]byte, 0, s.Width())
	for _, e := range entries {
		if _, err := both.Write(s.AppendEntry(b, e)); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

func readWaiting(id hashlist.ID, r io.Reader) (publisher.HashList, error) {
	l := publisher.HashList{Scheme: id.Scheme, KeyID: id.KeyID}
	damaged := func(err error) (publisher.HashList, error) {
		return publisher.HashList{}, fmt.Errorf("%w: %w", errSpool, err)
	}
	in := bufio.NewReaderSize(r, 1<<20)
	if start, err := in.Peek(len(dropped)); err != nil {
		return damaged(err)
	} else if string(start) == dropped {
		l.Drop = true
		return l, nil
	}
	sum := sha256.New()
	hashed := io.TeeReader(in, sum)
	header := make([]byte, id.Scheme.FileSize(0))
	if _, err := io.ReadFull(hashed, header); err != nil {
		return damaged(err)
	}
	n := int(binary.BigEndian.Uint32(header[len(header)-4:]))
	if n > hashlist.MaxRevoked || !bytes.Equal(header, id.Scheme.AppendHeader(nil, n)) {
		return damaged(errors.New("its beginning"))
	}
	l.Entries = make([]hashlist.Entry, n)
	b := make([]byte, id.Scheme.Width())
	for i := range l.Entries {
		if _, err := io.ReadFull(hashed, b); err != nil {
			return damaged(err)
		}
		l.Entries[i].Hash = hashlist.Hash(b[:hashlist.HashSize])
		if len(b) > hashlist.HashSize {
			l.Entries[i].Before = int64(binary.BigEndian.Uint64(b[hashlist.HashSize:]))
		}
	}
	return l, checkSum(in, sum)
}

func checkSum(r io.Reader, sum hash.Hash) error {
	rest, err := io.ReadAll(io.LimitReader(r, sha256.Size+1))
	if err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	if !bytes.Equal(rest, sum.Sum(nil)) {
		return fmt.Errorf("%w: its SHA-256", errSpool)
	}
	return nil
}

// revocationKey checks whom a request is about.
func revocationKey(r RevocationRequest) (hashlist.ID, error) {
	if err := checkBy(r.By); err != nil {
		return hashlist.ID{}, err
	}
	id := hashlist.ID{Scheme: hashlist.Scheme(r.Scheme)}
	var err error
	if id.KeyID, err = id.Scheme.ParseKID(r.KID); err != nil {
		return id, invalid("%w", err)
	}
	return id, nil
}

// maxRevocationText is the most bytes of what SetRevocation reads.
func maxRevocationText(s hashlist.Scheme) int64 {
	if s == hashlist.SHC {
		return hashlist.MaxCRL
	}
	return hashlist.MaxHashes
}

// crlCounter is how far an issuer's card revocation list was, in the registry.
type crlCounter struct {
	Counter uint64 `json:"counter"`
}

func counterKey(id hashlist.ID) string { return "revocation." + string(id.Scheme) + "." + id.KeyID }

// SetRevocation sets all that is revoked of one issuer key, with the next
// publish: for eu, hashes one a line in hex or base64; for shc, the issuer's
// card revocation list. It is on the disk when the call returns.
func (h *Hub) SetRevocation(ctx context.Context, r RevocationRequest, text io.Reader) (RevocationStatus, error) {
	// What waits lies in this hub's folder until it is published.
	if err := h.mustLead(); err != nil {
		return RevocationStatus{}, err
	}
	id, err := revocationKey(r)
	if err != nil {
		return RevocationStatus{}, err
	}
	if !h.revocations.setting.TryLock() {
		return RevocationStatus{}, fmt.Errorf("revocation list %s/%s: %w: another one is being set; try again", id.Scheme, id.KeyID, ErrConflict)
	}
	defer h.revocations.setting.Unlock()
	entries, count, err := readRevocation(id, text, r.Empty)
	if err != nil {
		return RevocationStatus{}, err
	}
	if id.Scheme == hashlist.SHC {
		if err := h.advance(ctx, id, count); err != nil {
			return RevocationStatus{}, err
		}
	}
	w := waitingList{entries: int64(len(entries))}
	if err := h.revocations.keep(id, w, func(out io.Writer) error { return writeWaiting(out, id.Scheme, entries) }); err != nil {
		return RevocationStatus{}, fmt.Errorf("revocation list %s/%s: %w", id.Scheme, id.KeyID, err)
	}
	return h.changedRevocation(ctx, id, r.By, "revocation-set")
}

// readRevocation reads what is revoked; count is the counter of an shc list.
func readRevocation(id hashlist.ID, text io.Reader, empty bool) (entries []hashlist.Entry, count uint64, err error) {
	if id.Scheme == hashlist.EU {
		entries, err = hashlist.ReadHashes(text)
		switch {
		case errors.Is(err, hashlist.ErrHashes):
			return nil, 0, invalid("%w\nhint: nothing was changed; one hash a line, of %d bytes, in hex or base64, and no empty line", err, hashlist.HashSize)
		case err != nil:
			return nil, 0, invalid("cut off: %w", err)
		case len(entries) == 0 && !empty:
			return nil, 0, invalid("it has no line, which would pardon everybody of key %s\nhint: nothing was changed; -empty says that nothing is revoked", id.KID())
		}
		return entries, 0, nil
	}
	data, err := io.ReadAll(io.LimitReader(text, hashlist.MaxCRL+1))
	if err != nil {
		return nil, 0, invalid("cut off: %w", err)
	}
	crl, err := hashlist.ParseCRL(data)
	switch {
	case err != nil:
		return nil, 0, invalid("%w\nhint: nothing was changed; fetch the issuer's /.well-known/crl/%s.json again", err, id.KID())
	case crl.KeyID != id.KeyID:
		return nil, 0, invalid("it is the list of key %s, not of %s\nhint: nothing was changed", hashlist.ID{Scheme: id.Scheme, KeyID: crl.KeyID}.KID(), id.KID())
	case len(crl.Entries) > hashlist.MaxRevoked:
		return nil, 0, invalid("%d entries, more than %d", len(crl.Entries), hashlist.MaxRevoked)
	}
	return crl.Entries, crl.Counter, nil
}

// advance takes note of an issuer's counter, which must not go back: an older
// file from a cache would pardon whoever was revoked since.
func (h *Hub) advance(ctx context.Context, id hashlist.ID, count uint64) error {
	key := counterKey(id)
	_, _, err := update(ctx, h.store.registry, key, func(c *crlCounter) error {
		if count < c.Counter {
			return fmt.Errorf("revocation list %s/%s: ctr %d: %w: %w, which had ctr %d\nhint: nothing was changed; fetch it again past all caches. An issuer who counts anew: `gatehub revocation drop shc %s` first",
				id.Scheme, id.KeyID, count, ErrConflict, ErrCounter, c.Counter, id.KID())
		}
		c.Counter = count
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		_, err = create(ctx, h.store.registry, key, crlCounter{count})
	}
	return err
}

// DropRevocation takes a key's lists away with the next publish: gates hold
// whoever comes with a code of it.
func (h *Hub) DropRevocation(ctx context.Context, r RevocationRequest) (RevocationStatus, error) {
	// What waits lies in this hub's folder until it is published.
	if err := h.mustLead(); err != nil {
		return RevocationStatus{}, err
	}
	id, err := revocationKey(r)
	if err != nil {
		return RevocationStatus{}, err
	}
	h.revocations.setting.Lock()
	defer h.revocations.setting.Unlock()
	if _, err := h.revocation(id); err != nil {
		return RevocationStatus{}, err
	}
	if err := h.store.registry.Delete(ctx, counterKey(id)); err != nil {
		return RevocationStatus{}, fmt.Errorf("registry %s: %w", counterKey(id), err)
	}
	write := func(out io.Writer) error { _, err := io.WriteString(out, dropped); return err }
	if err := h.revocations.keep(id, waitingList{drop: true}, write); err != nil {
		return RevocationStatus{}, fmt.Errorf("revocation list %s/%s: %w", id.Scheme, id.KeyID, err)
	}
	return h.changedRevocation(ctx, id, r.By, "revocation-drop")
}

func (h *Hub) changedRevocation(ctx context.Context, id hashlist.ID, by, op string) (RevocationStatus, error) {
	h.notePending()
	if err := h.audit(ctx, by, op, string(id.Scheme)+"/"+id.KeyID); err != nil {
		return RevocationStatus{}, err
	}
	return h.revocation(id)
}

// revocation describes one key.
func (h *Hub) revocation(id hashlist.ID) (RevocationStatus, error) {
	all, err := h.Revocations(context.Background())
	if err != nil {
		return RevocationStatus{}, err
	}
	i := slices.IndexFunc(all, func(s RevocationStatus) bool { return s.Scheme == string(id.Scheme) && s.KeyID == id.KeyID })
	if i < 0 {
		return RevocationStatus{}, fmt.Errorf("revocation list %s/%s: %w\nhint: `gatehub revocation list` names those that are there", id.Scheme, id.KeyID, ErrNotFound)
	}
	return all[i], nil
}

// Revocations describes what is revoked of foreign issuers' keys.
func (h *Hub) Revocations(context.Context) ([]RevocationStatus, error) {
	// What waits is looked at first: whatever is published meanwhile then shows twice, and not nowhere.
	h.revocations.mu.Lock()
	keys := map[hashlist.ID]*RevocationStatus{}
	status := func(id hashlist.ID) *RevocationStatus {
		id.Part = ""
		if keys[id] == nil {
			keys[id] = &RevocationStatus{Scheme: string(id.Scheme), KID: id.KID(), KeyID: id.KeyID}
		}
		return keys[id]
	}
	for id, w := range h.revocations.waiting {
		s := status(id)
		s.Pending, s.PendingEntries = "set", w.entries
		if w.drop {
			s.Pending = "drop"
		}
	}
	h.revocations.mu.Unlock()
	published, err := h.publisher.Revocations()
	if err != nil {
		return nil, err
	}
	for _, i := range published {
		s := status(i.ID)
		s.Parts++
		s.Entries += i.Entries
		s.Sequence = max(s.Sequence, i.Sequence)
		if i.Issued.After(s.Issued) {
			s.Issued = i.Issued
		}
		if s.Expires.IsZero() || i.Expires.Before(s.Expires) {
			s.Expires = i.Expires
		}
	}
	all := []RevocationStatus{}
	for _, s := range keys {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b RevocationStatus) int {
		return cmp.Or(strings.Compare(a.Scheme, b.Scheme), strings.Compare(a.KeyID, b.KeyID))
	})
	return all, nil
}

// publishRevocations publishes what waits, after the colours and apart from
// them: a long list takes seconds, and one that is refused is nobody else's
// business. Between two keys colours go first again.
func (h *Hub) publishRevocations(ctx context.Context, out *Published) {
	var failed []string
	for i, id := range h.revocations.pending() {
		if i > 0 && h.coloursWait() {
			h.notePending()
			break
		}
		if err := h.publishRevocation(ctx, id, out); err != nil {
			if errors.Is(err, publisher.ErrRole) {
				err = fmt.Errorf("%w; `gatehub keys add-role revocation -offline FOLDER` makes it", err)
			}
			if errors.Is(err, errSpool) {
				err = fmt.Errorf("%w; set or drop it again", err)
			}
			h.log.Error("revocation list not published; it is tried again", "key", string(id.Scheme)+"/"+id.KeyID, "err", err)
			failed = append(failed, fmt.Sprintf("%s/%s: %v", id.Scheme, id.KeyID, err))
		}
	}
	out.RevocationsFailed = strings.Join(failed, "; ")
}

func (h *Hub) publishRevocation(ctx context.Context, id hashlist.ID, out *Published) error {
	l, count, err := h.revocations.load(id)
	if err != nil {
		return err
	}
	v, err := h.release(ctx, publisher.Contents{Issued: h.options.Now(), Revocations: []publisher.HashList{l}})
	if err != nil {
		return err
	}
	out.Issued, out.Timestamp = v.Issued, v.Timestamp
	h.noteLists(v, out)
	return h.revocations.done(id, count)
}
