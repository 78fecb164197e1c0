package publisher

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"greengate/pass/statuslist"
)

const (
	// keepDeltas is how many deltas lead to a list. They are thinned out so that
	// their ages grow by a factor, from the last publish over minutes, an hour, a
	// day and a week to a month: with eight, a gate that was away for a while
	// finds one that reaches back at most 14 times as far; with five it was 170
	// times. Each takes 230 bytes of the metadata that every gate fetches
	// with every change, which is why there are no more.
	keepDeltas = 8
	// oldestDelta is the age from which a delta is dropped. A gate that was away
	// for longer fetches lists.
	oldestDelta = 35 * 24 * time.Hour
)

// deltaPath returns where a delta of the list at path lies among the targets,
// "status/3301/SHA256.0.17.tsd" for list 0 of region 3301 from sequence 17 on.
func deltaPath(path string, d statuslist.Delta) string {
	return hashed(fmt.Sprintf("%s.%d.tsd", strings.TrimSuffix(path, ".tsl"), d.From), fmt.Sprintf("%x", d.SHA256))
}

// deltas returns the ways from older generations to the one that is to be
// published, whose file has size bytes, with their files. Nothing older than
// what is visible is needed: each delta so far is widened by what changed now.
// What the disk has lost leads nowhere any more, and gates fetch the list.
func (p *Publisher) deltas(path string, t *metadata.TargetFiles, old statuslist.Description, next *statuslist.List, size int, now time.Time) (
	[]statuslist.Delta, map[string][]byte) {
	last, err := p.published(path, t, old)
	if err != nil {
		return nil, nil
	}
	var deltas []statuslist.Delta
	contents := map[uint64][]byte{}
	add := func(from statuslist.Delta, data []byte, err error) bool {
		// Later ones are longer still.
		if err != nil || len(data) >= size || now.Sub(from.Issued) > oldestDelta {
			return false
		}
		from.Size, from.SHA256 = int64(len(data)), sha256.Sum256(data)
		deltas, contents[from.From] = append(deltas, from), data
		return true
	}
	step, err := statuslist.Diff(last, next)
	if !add(statuslist.Delta{From: old.Sequence, Issued: old.Issued, Before: old.SHA256}, step, err) {
		return nil, nil
	}
	for _, d := range old.Deltas {
		data, err := p.deltaFile(path, d)
		if err == nil {
			data, err = statuslist.Widen(data, last, next)
		}
		if !add(d, data, err) {
			break
		}
	}
	deltas = thin(deltas, now)
	files := map[string][]byte{}
	for _, d := range deltas {
		files[deltaPath(path, d)] = contents[d.From]
	}
	return deltas, files
}

// thin drops deltas until few enough are left: each time the one whose
// neighbours' ages are nearest to one another, and never the youngest or the
// oldest.
func thin(deltas []statuslist.Delta, now time.Time) []statuslist.Delta {
	age := func(i int) float64 { return now.Sub(deltas[i].Issued).Seconds() + 1 }
	for len(deltas) > keepDeltas {
		drop := 1
		for i := 2; i < len(deltas)-1; i++ {
			if age(i+1)/age(i-1) < age(drop+1)/age(drop-1) {
				drop = i
			}
		}
		deltas = append(deltas[:drop:drop], deltas[drop+1:]...)
	}
	return deltas
}

// published reads a list as it is visible now.
func (p *Publisher) published(path string, t *metadata.TargetFiles, d statuslist.Description) (*statuslist.List, error) {
	data, err := os.ReadFile(targetPath(p.dir, path, t))
	if err != nil {
		return nil, err
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, err
	}
	l, err := statuslist.ParseCBOR(data, d.Size)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(l.Raw()) != d.SHA256 {
		return nil, fmt.Errorf("list %s: %w", d.URI, ErrDamaged)
	}
	return l, nil
}

// deltaFile reads a delta as it is visible now.
func (p *Publisher) deltaFile(path string, d statuslist.Delta) ([]byte, error) {
	name := filepath.Join(p.dir, "targets", filepath.FromSlash(deltaPath(path, d)))
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != d.SHA256 {
		return nil, damaged(name, statuslist.ErrDelta)
	}
	return data, nil
}
