package store

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// list is one list in memory. It is never changed.
type list struct {
	info statuslist.Info
	// raw is 2 bits a code, the first in the lowest bits of the first byte
	// (draft-ietf-oauth-status-list section 4.1).
	raw        []byte
	generation uint64
	// overlays lie over the generation's bytes in the file, with so many bytes.
	overlays     int
	overlayBytes int64
	confirmed    time.Time
	// recent is shared by all generations of the list.
	recent *atomic.Bool
}

// view is all that lookups need. It is never changed: Install puts another in its place.
type view struct {
	policy     gate.Policy
	riskMap    gate.RiskMap
	keys       pass.KeyMap
	keyVersion uint64
	lists      map[string]*list
	hashes     map[hashlist.ID]*hashList
	bytes      int64 // of all lists
	floor      time.Time
	// signed are the bytes that were signed, for a file that is begun anew;
	// nil for none.
	signed struct{ keys, policy, riskMap []byte }
}

func (v *view) clone() *view {
	c := *v
	c.lists, c.hashes = maps.Clone(v.lists), maps.Clone(v.hashes)
	return &c
}

// Policy returns the policy in force: gate.DefaultPolicy until a signed one is installed.
func (db *DB) Policy() gate.Policy { return db.view.Load().policy }

// Risk returns the map's colour for a county, six digits of GB/T 2260;
// RiskUnknown where there is no map or it does not name the county.
func (db *DB) Risk(region string) gate.RiskLevel { return db.view.Load().riskMap.Risk(region) }

// MapVersion returns the version of the map, 0 without one.
func (db *DB) MapVersion() uint64 { return db.view.Load().riskMap.Version }

// MapDay returns the day that the map is for, as "2020-02-17", "" without one.
// A map holds until the next one comes: on a day that has none yesterday's
// colours go on, and the day says so.
func (db *DB) MapDay() string { return db.view.Load().riskMap.Day }

// KeyVersion returns the version of the key list, 0 without one.
func (db *DB) KeyVersion() uint64 { return db.view.Load().keyVersion }

// Keys returns all keys with this kid. It implements pass.Keys; the result is
// shared and not to be changed.
func (db *DB) Keys(kid []byte) []pass.Key { return db.view.Load().keys.Keys(kid) }

// Lookup finds a code's entry in its status list, in memory.
func (db *DB) Lookup(ref pass.StatusRef) (g gate.Listing) {
	l := db.view.Load().lists[ref.URI]
	if l == nil {
		return g
	}
	// Asked first, since a store by each lookup would make the processors' caches
	// hand the flag about.
	if !l.recent.Load() {
		l.recent.Store(true)
	}
	g.Found, g.Sequence, g.Issued, g.Confirmed = true, l.info.Sequence, l.info.Issued, l.confirmed
	if i := ref.Index / 4; i < uint64(len(l.raw)) {
		g.InBounds, g.Status = true, statuses[l.raw[i]>>(ref.Index%4*2)&3]
	}
	return g
}

// statuses are what the entries of a list mean, as a table: colours come in no
// order that a processor could guess a branch from.
var statuses = [4]gate.Status{gate.StatusOf(0), gate.StatusOf(1), gate.StatusOf(2), gate.StatusOf(3)}

// Lists describes the lists held, by URI.
func (db *DB) Lists() []statuslist.Info {
	v := db.view.Load()
	infos := make([]statuslist.Info, 0, len(v.lists))
	for _, l := range v.lists {
		infos = append(infos, l.info)
	}
	slices.SortFunc(infos, func(a, b statuslist.Info) int { return strings.Compare(a.URI, b.URI) })
	return infos
}

// Bits returns the raw bytes of a list that is held, nil for one that is not.
// They are shared and not to be changed.
func (db *DB) Bits(uri string) []byte {
	if l := db.view.Load().lists[uri]; l != nil {
		return l.raw
	}
	return nil
}

// Recent says whether the list was looked up since Recent last asked for it:
// among lists that nobody configured, those go first that nobody needs.
func (db *DB) Recent(uri string) bool {
	l := db.view.Load().lists[uri]
	return l != nil && l.recent.Swap(false)
}

// Room says whether the list that info describes fits beside those held, in
// the place of its older generation if there is one.
func (db *DB) Room(info statuslist.Info) bool { return db.room(db.view.Load(), info) == nil }

// Floor returns the latest signed time seen, before which it cannot be; the
// zero time if none was.
func (db *DB) Floor() time.Time { return db.view.Load().floor }

var (
	_ gate.Authority = (*DB)(nil)
	_ pass.Keys      = (*DB)(nil)
)
