package publisher

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greengate/pass/statuslist"
)

const hangzhou = "https://health.example/3301/0"

// recoloured returns the list with so many entries drawn anew.
func recoloured(t *testing.T, r *rand.Rand, raw []byte, n int) []byte {
	t.Helper()
	l, err := statuslist.FromRaw(bytes.Clone(raw), 2)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := l.Set(r.Uint64N(l.Len()), uint8(r.IntN(4))); err != nil {
			t.Fatal(err)
		}
	}
	return l.Raw()
}

// description reads what is signed of a list now.
func (d *desk) description(uri string) (statuslist.Description, string, int64) {
	d.t.Helper()
	r, err := loadRepository(d.repo)
	if err != nil {
		d.t.Fatal(err)
	}
	path, province, err := Path(uri)
	if err != nil {
		d.t.Fatal(err)
	}
	target := r.targets[statusPrefix+province].Signed.Targets[path]
	out, err := descriptionOf(path, target)
	if err != nil {
		d.t.Fatal(err)
	}
	return out, path, target.Length
}

func (d *desk) publishRaw(raw []byte) {
	d.t.Helper()
	d.publish(Contents{Lists: []List{{Info: statuslist.Info{URI: hangzhou, Bits: 2}, Raw: raw}}})
}

func TestDeltasLeadToWhatIsPublished(t *testing.T) {
	d := newDesk(t, "33")
	r := rand.New(rand.NewPCG(1, 2))
	raws := [][]byte{nil, bytes.Repeat([]byte{0x55}, 16<<10)} // by sequence
	d.publishRaw(raws[1])
	for range 12 {
		raws = append(raws, recoloured(t, r, raws[len(raws)-1], 15))
		d.publishRaw(raws[len(raws)-1])
	}
	now, path, length := d.description(hangzhou)
	if now.Sequence != 13 || len(now.Deltas) != keepDeltas || now.Deltas[0].From != 12 || now.Deltas[keepDeltas-1].From != 1 {
		t.Fatalf("sequence %d with deltas %+v", now.Sequence, now.Deltas)
	}
	for _, delta := range now.Deltas {
		data, err := os.ReadFile(filepath.Join(d.repo, "targets", deltaPath(path, delta)))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) != delta.Size || sha256.Sum256(data) != delta.SHA256 || delta.Size >= length {
			t.Errorf("delta from %d is not as it was signed: %d bytes", delta.From, len(data))
		}
		if sha256.Sum256(raws[delta.From]) != delta.Before {
			t.Errorf("delta from %d names another list before it", delta.From)
		}
		for from := delta.From; from < 13; from++ {
			l, err := statuslist.FromRaw(bytes.Clone(raws[from]), 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Patch(data); err != nil || !bytes.Equal(l.Raw(), raws[13]) {
				t.Errorf("delta from %d on generation %d: another list, %v", delta.From, from, err)
			}
		}
	}

	// Old deltas go with the snapshots that named them: at most Keep of them.
	var deltas int
	for _, f := range d.files() {
		if strings.HasSuffix(f, ".tsd") {
			deltas++
		}
	}
	if deltas < keepDeltas || deltas > 3*keepDeltas {
		t.Errorf("%d delta files for 3 snapshots", deltas)
	}
}

func TestLargeChangeHasNoDelta(t *testing.T) {
	d := newDesk(t, "33")
	r := rand.New(rand.NewPCG(1, 3))
	raw := bytes.Repeat([]byte{0x55}, 16<<10)
	d.publishRaw(raw)
	d.publishRaw(recoloured(t, r, raw, 20))
	d.publishRaw(recoloured(t, r, raw, 1<<17))
	if now, _, length := d.description(hangzhou); len(now.Deltas) != 0 {
		t.Errorf("list of %d bytes with deltas %+v", length, now.Deltas)
	}
	// Nor has a list that grew.
	d.publishRaw(append(raw, 0x55))
	if now, _, _ := d.description(hangzhou); len(now.Deltas) != 0 || now.Sequence != 4 {
		t.Errorf("list that grew: %+v", now)
	}
}

// What the disk lost leads nowhere; the rest goes on.
func TestLostDelta(t *testing.T) {
	d := newDesk(t, "33")
	r := rand.New(rand.NewPCG(1, 4))
	raw := bytes.Repeat([]byte{0x55}, 16<<10)
	d.publishRaw(raw)
	for range 3 {
		raw = recoloured(t, r, raw, 5)
		d.publishRaw(raw)
	}
	now, path, _ := d.description(hangzhou)
	lost := filepath.Join(d.repo, "targets", deltaPath(path, now.Deltas[1]))
	if err := os.WriteFile(lost, []byte("TSD1"), 0o644); err != nil {
		t.Fatal(err)
	}
	raw = recoloured(t, r, raw, 5)
	d.publishRaw(raw)
	now, path, _ = d.description(hangzhou)
	if len(now.Deltas) != 2 || now.Deltas[0].From != 4 || now.Deltas[1].From != 3 {
		t.Errorf("deltas %+v, want those from 4 and 3", now.Deltas)
	}
	// A list that was lost is written again, and what leads to it stays.
	if err := os.Remove(filepath.Join(d.repo, "targets", filepath.FromSlash(strings.TrimSuffix(deltaPath(path, now.Deltas[0]), "x")))); err != nil {
		t.Fatal(err)
	}
	d.publishRaw(recoloured(t, r, raw, 5))
	if now, _, _ = d.description(hangzhou); len(now.Deltas) != 1 || now.Deltas[0].From != 5 {
		t.Errorf("deltas %+v, want the one from 5", now.Deltas)
	}
}

// The same bits under another signature keep the ways that lead to them.
func TestRenewedListKeepsItsDeltas(t *testing.T) {
	d := newDesk(t, "33")
	raw := bytes.Repeat([]byte{0x55}, 16<<10)
	d.publishRaw(raw)
	d.publishRaw(recoloured(t, rand.New(rand.NewPCG(1, 5)), raw, 5))
	before, _, _ := d.description(hangzhou)
	d.now = d.now.Add(16 * 24 * time.Hour)
	d.publish(Contents{})
	after, _, _ := d.description(hangzhou)
	if after.Sequence != before.Sequence+1 || !slices.Equal(after.Deltas, before.Deltas) || after.SHA256 != before.SHA256 {
		t.Errorf("renewed as %+v, was %+v", after, before)
	}
}

// Whenever a gate was last there, a delta reaches back not much further.
func TestThinnedDeltasCoverEveryAbsence(t *testing.T) {
	const every = 20 * time.Second
	now := start
	var deltas []statuslist.Delta
	worst := map[time.Duration]float64{}
	absences := []time.Duration{66 * time.Second, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}
	for sequence := uint64(1); now.Before(start.AddDate(0, 0, 40)); sequence++ {
		deltas = slices.Insert(deltas, 0, statuslist.Delta{From: sequence, Issued: now})
		now = now.Add(every)
		deltas = slices.DeleteFunc(deltas, func(d statuslist.Delta) bool { return now.Sub(d.Issued) > oldestDelta })
		deltas = thin(deltas, now)
		if len(deltas) > keepDeltas {
			t.Fatalf("%d deltas", len(deltas))
		}
		for _, absence := range absences {
			held := now.Add(-absence)
			if held.Before(start) {
				continue
			}
			i := slices.IndexFunc(deltas, func(d statuslist.Delta) bool { return !d.Issued.After(held) })
			if i < 0 {
				if now.Sub(start) < oldestDelta {
					t.Fatalf("after %s nothing reaches back %s", now.Sub(start), absence)
				}
				worst[absence] = max(worst[absence], float64(oldestDelta/absence))
				continue
			}
			worst[absence] = max(worst[absence], now.Sub(deltas[i].Issued).Seconds()/absence.Seconds())
		}
	}
	for _, absence := range absences {
		if worst[absence] > 15 {
			t.Errorf("away for %s: a delta over %.1f times that", absence, worst[absence])
		}
	}
}
