package trust

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"greengate/pass/statuslist"
)

// wide puts a list of 4,096 codes into its province's role, of all colours, so
// that no compressor makes it as short as a delta.
func (a *authority) wide(uri string) {
	a.t.Helper()
	a.describe(statuslist.Description{Info: statuslist.Info{URI: uri, Sequence: 1}}, noise(1024))
}

// recolour changes n entries of a wide list, from place on, and keeps a delta
// from the generation before and one from the first.
func (a *authority) recolour(uri string, place, n int, colour uint8) {
	a.t.Helper()
	info := a.infos[uri]
	from, err := statuslist.FromRaw(a.raws[uri], 2)
	a.must(err)
	to, err := statuslist.FromRaw(bytes.Clone(a.raws[uri]), 2)
	a.must(err)
	for i := range n {
		a.must(to.Set(uint64(place+37*i), colour%4))
	}
	step, err := statuslist.Diff(from, to)
	a.must(err)
	d := statuslist.Description{Info: info}
	d.Sequence++
	a.delta(&d, statuslist.Delta{From: info.Sequence, Issued: info.Issued, Before: info.SHA256}, step)
	if whole := a.since[uri]; whole != nil {
		whole, err = statuslist.Widen(whole, from, to)
		a.must(err)
		a.delta(&d, statuslist.Delta{From: 1, Issued: start, Before: sha256.Sum256(noise(1024))}, whole)
		a.since[uri] = whole
	} else {
		a.since[uri] = step
	}
	a.describe(d, to.Raw())
}

func (a *authority) delta(d *statuslist.Description, delta statuslist.Delta, data []byte) {
	a.t.Helper()
	delta.Size, delta.SHA256 = int64(len(data)), sha256.Sum256(data)
	d.Deltas = append(d.Deltas, delta)
	path, _, err := pathOf(d.URI)
	a.must(err)
	a.files[deltaName(path, delta)] = data
}

// describe puts a list with its description into its province's role.
func (a *authority) describe(d statuslist.Description, raw []byte) {
	a.t.Helper()
	d.Bits, d.Size, d.SHA256 = 2, int64(len(raw)), sha256.Sum256(raw)
	d.Issued, d.Expires = a.now, a.now.AddDate(0, 0, 30)
	l, err := statuslist.FromRaw(raw, 2)
	a.must(err)
	data, err := l.MarshalCBOR()
	a.must(err)
	custom, err := d.Marshal()
	a.must(err)
	path, region, err := pathOf(d.URI)
	a.must(err)
	a.target("status-"+region[:2], path, data, custom)
	a.infos[d.URI], a.raws[d.URI] = d.Info, raw
}

// fetchedOf lists what was fetched of a list's files, in short.
func (d *device) fetchedOf(f func()) (deltas, lists int) {
	d.t.Helper()
	d.server.asked = nil
	f()
	for _, path := range d.server.asked {
		if strings.HasSuffix(path, ".tsd") {
			deltas++
		}
		if strings.HasSuffix(path, ".tsl") {
			lists++
		}
	}
	return deltas, lists
}

// city is an authority with one wide list, of which a device holds generation 1.
func city(t *testing.T) (*authority, *device) {
	t.Helper()
	a := nation(t)
	a.wide(hangzhou)
	a.publish("status-33")
	d := newDevice(t, a, "33")
	d.mustOnce()
	return a, d
}

func TestListComesAsADelta(t *testing.T) {
	a, d := city(t)
	for i := range uint8(3) { // each from the one before
		a.recolour(hangzhou, 5, 30, i)
		a.publish("status-33")
		deltas, lists := d.fetchedOf(func() {
			if r := d.mustOnce(); r.Deltas != 1 || r.Snapshots != 0 || !slices.Equal(r.Installed, []string{hangzhou}) {
				t.Errorf("report %+v", r)
			}
		})
		if deltas != 1 || lists != 0 {
			t.Errorf("fetched %d deltas and %d lists", deltas, lists)
		}
		d.mustBeCurrent()
	}
	for i := range 4 { // away for some generations
		a.recolour(hangzhou, 11+i, 30, uint8(i))
		a.publish("status-33")
	}
	if deltas, lists := d.fetchedOf(func() { d.mustOnce() }); deltas != 1 || lists != 0 {
		t.Errorf("away for 4 generations: fetched %d deltas and %d lists", deltas, lists)
	}
	d.mustBeCurrent()
	if d.store.metadata["status-33"] == nil || !bytes.Equal(d.store.metadata["status-33"], a.files[fmt.Sprintf("metadata/%d.status-33.json", a.targets["status-33"].Signed.Version)]) {
		t.Error("the role's metadata did not come with the delta")
	}
}

// Whatever is wrong with a delta, the list comes whole in the same run.
func TestListComesWholeWhereADeltaDoesNotDo(t *testing.T) {
	for name, hostile := range map[string]func(path string, data []byte) ([]byte, error){
		"unavailable": func(string, []byte) ([]byte, error) { return nil, ErrUnavailable },
		"not there":   func(string, []byte) ([]byte, error) { return nil, ErrNotFound },
		"other bytes": func(_ string, data []byte) ([]byte, error) {
			return append(data[:len(data)-1:len(data)-1], ^data[len(data)-1]), nil
		},
		"cut off": func(_ string, data []byte) ([]byte, error) { return data[:len(data)-1], nil },
		"endless": func(string, []byte) ([]byte, error) { return make([]byte, 1<<20), nil },
		"empty":   func(string, []byte) ([]byte, error) { return []byte{}, nil },
	} {
		a, d := city(t)
		a.recolour(hangzhou, 5, 30, 3)
		a.publish("status-33")
		d.server.hostile = func(path string) ([]byte, error) {
			if !strings.HasSuffix(path, ".tsd") {
				return nil, nil
			}
			return hostile(path, a.files[path])
		}
		deltas, lists := d.fetchedOf(func() {
			if r := d.mustOnce(); r.Deltas != 0 || r.Snapshots != 1 {
				t.Errorf("%s: report %+v", name, r)
			}
		})
		if deltas != 1 || lists != 1 {
			t.Errorf("%s: fetched %d deltas and %d lists", name, deltas, lists)
		}
		d.mustBeCurrent()
	}
}

// A delta that was signed and makes another list than was signed is not taken.
func TestSignedDeltaThatMakesAnotherList(t *testing.T) {
	for name, data := range map[string]func(from, to []byte) []byte{
		"of another list": func(from, _ []byte) []byte {
			x, _ := statuslist.FromRaw(bytes.Repeat([]byte{0xff}, 1024), 2)
			y, _ := statuslist.FromRaw(bytes.Repeat([]byte{0xfe}, 1024), 2)
			d, err := statuslist.Diff(x, y)
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		"no delta at all": func(_, _ []byte) []byte { return []byte("TSD1 is what it says") },
	} {
		a, d := city(t)
		before := a.raws[hangzhou]
		info := a.infos[hangzhou]
		to, err := statuslist.FromRaw(bytes.Clone(before), 2)
		a.must(err)
		a.must(to.Set(9, 3-to.Raw()[2]>>2&3))
		forged := data(before, to.Raw())
		next := statuslist.Description{Info: info}
		next.Sequence++
		// Shorter than it is, or a gate would not choose it.
		if len(forged) > 60 {
			forged = forged[:60]
		}
		a.delta(&next, statuslist.Delta{From: info.Sequence, Issued: info.Issued, Before: info.SHA256}, forged)
		a.describe(next, to.Raw())
		a.publish("status-33")
		if r := d.mustOnce(); r.Deltas != 0 || r.Snapshots != 1 {
			t.Errorf("%s: report %+v", name, r)
		}
		d.mustBeCurrent()
	}
}

// After the role's keys changed, the list comes whole: what is held may be a thief's.
func TestNoDeltaAcrossARotation(t *testing.T) {
	a, d := city(t)
	a.recolour(hangzhou, 5, 30, 3)
	a.rotate("status-33")
	if deltas, lists := d.fetchedOf(func() { d.mustOnce() }); deltas != 0 || lists != 1 {
		t.Errorf("fetched %d deltas and %d lists", deltas, lists)
	}
	d.mustBeCurrent()
}

// A longer way than the list itself is not taken.
func TestWhicheverIsFewerBytes(t *testing.T) {
	a, d := city(t)
	for i := range 37 {
		a.recolour(hangzhou, i, 100, uint8(i))
	}
	a.publish("status-33")
	if deltas, lists := d.fetchedOf(func() { d.mustOnce() }); deltas != 0 || lists != 1 {
		t.Errorf("fetched %d deltas and %d lists", deltas, lists)
	}
	d.mustBeCurrent()
}

func TestRenewedListIsNotFetched(t *testing.T) {
	a, d := city(t)
	next := statuslist.Description{Info: a.infos[hangzhou]}
	next.Sequence++
	a.describe(next, a.raws[hangzhou])
	a.publish("status-33")
	deltas, lists := d.fetchedOf(func() {
		if r := d.mustOnce(); r.Renewed != 1 || !slices.Contains(r.Installed, hangzhou) {
			t.Errorf("report %+v", r)
		}
	})
	if deltas != 0 || lists != 0 {
		t.Errorf("fetched %d deltas and %d lists", deltas, lists)
	}
	d.mustBeCurrent()
}

// The connection is cut, or the disk is full, at any point of a delta: the old
// generation answers, and the next run goes on from there.
func TestCutAtADelta(t *testing.T) {
	a, d := city(t)
	a.recolour(hangzhou, 5, 30, 3)
	a.publish("status-33")
	d.server.hostile = func(path string) ([]byte, error) {
		if strings.HasPrefix(path, "targets/") {
			return nil, ErrUnavailable
		}
		return nil, nil
	}
	held := d.store.lists[hangzhou]
	if _, err := d.once(); !errors.Is(err, ErrUnavailable) || d.store.lists[hangzhou].info != held.info {
		t.Errorf("cut: %v, held %+v", err, d.store.lists[hangzhou].info)
	}
	d.server.hostile = nil
	d.store.onCommit = func(int) error { return errNoRoom }
	if _, err := d.once(); !errors.Is(err, ErrStore) || d.store.lists[hangzhou].info != held.info {
		t.Errorf("full: %v, held %+v", err, d.store.lists[hangzhou].info)
	}
	d.store.onCommit = nil
	d.mustOnce()
	d.mustBeCurrent()
}

// A list that nobody configured stays while there is room, and of those the one
// goes that nobody came with a code of.
func TestRoomForAnAbsentList(t *testing.T) {
	suzhou := "https://h.example/3205/0"
	a := newAuthority(t, "33", "44", "32")
	a.policy(1)
	a.issuer("33")
	for _, uri := range []string{hangzhou, ningbo, canton, suzhou} {
		a.list(uri, 0)
	}
	a.publish("keys", "policy", "status-33", "status-44", "status-32")
	d := newDevice(t, a, "3301")
	d.store.cap = 3 * 16
	d.mustOnce()
	want := func(what string, uris ...string) {
		t.Helper()
		if got := d.store.colours(); len(got) != len(uris) || slices.ContainsFunc(uris, func(u string) bool { _, ok := got[u]; return !ok }) {
			t.Errorf("%s: held %v, want %v", what, got, uris)
		}
	}
	fetch := func(uri string) Report {
		t.Helper()
		if err := d.Want(uri); err != nil {
			t.Fatal(err)
		}
		return d.mustOnce()
	}
	want("configured", hangzhou)
	fetch(canton)
	fetch(ningbo)
	want("room for three", hangzhou, canton, ningbo)
	d.store.used = map[string]bool{canton: true, hangzhou: true}
	if r := fetch(suzhou); !slices.Equal(r.Evicted, []string{ningbo}) {
		t.Errorf("evicted %v", r.Evicted)
	}
	want("the one nobody came with", hangzhou, canton, suzhou)
	d.mustOnce()
	want("and it stays away", hangzhou, canton, suzhou)

	// The lists that the configuration names go before all others.
	a.list("https://h.example/3301/1", 0)
	a.list("https://h.example/3301/2", 0)
	a.publish("status-33")
	d.mustOnce()
	want("configured lists first", hangzhou, "https://h.example/3301/1", "https://h.example/3301/2")
	if err := d.Want(canton); err != nil {
		t.Fatal(err)
	}
	if _, err := d.once(); !errors.Is(err, ErrRoom) {
		t.Errorf("no room left: %v", err)
	}
	want("and none of them goes", hangzhou, "https://h.example/3301/1", "https://h.example/3301/2")
}

// A list that does not fit whatever goes takes none with it.
func TestNoRoomEvenWithoutTheOthers(t *testing.T) {
	a := newAuthority(t, "33", "44")
	a.policy(1)
	a.issuer("33")
	for _, uri := range []string{hangzhou, ningbo, canton} {
		a.list(uri, 0)
	}
	a.publish("keys", "policy", "status-33", "status-44")
	d := newDevice(t, a, "3301")
	d.store.cap = 3 * 16
	d.mustOnce()
	for _, uri := range []string{canton, ningbo} {
		if err := d.Want(uri); err != nil {
			t.Fatal(err)
		}
		d.mustOnce()
	}
	a.wide("https://h.example/3301/1")
	a.publish("status-33")
	if r, err := d.once(); !errors.Is(err, ErrRoom) || len(r.Evicted) > 0 || len(d.store.lists) != 3 {
		t.Errorf("got %v, evicted %v, held %v", err, r.Evicted, d.store.colours())
	}
}
