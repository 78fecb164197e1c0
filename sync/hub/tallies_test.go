package hub

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"greengate/sync/hub/index"
)

// TestTalliesFollow: whatever changes, a day of a gate, late or again, or where
// it stands, each region's sums are what they would be from the beginning.
func TestTalliesFollow(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	now := time.Date(2020, 2, 17, 15, 30, 0, 0, time.UTC)
	h := &Hub{options: Options{Location: time.UTC, Now: func() time.Time { return now }}.withDefaults(), fleet: newFleet(time.UTC, now)}
	h.tallies = newTallies(h, nil)
	monday := index.DateOf(now)
	periods := []period{{monday, 15}, {monday - 1, index.Hours}, {monday - 7, index.Hours}}
	for _, p := range periods {
		h.tallies.kept[p] = &tally{sums: map[string]*index.Sum{}}
	}
	regions := []string{"330106", "330108", "420102", ""}
	gates, series := map[string]known{}, map[string]index.Series{}
	for step := range 3000 {
		id := fmt.Sprintf("gate-%02d", random.IntN(30))
		switch random.IntN(10) {
		case 0:
			k := known{county: regions[random.IntN(len(regions))], site: fmt.Sprint("site ", random.IntN(3)), revoked: random.IntN(5) == 0}
			h.fleet.know(id, &k)
			gates[id] = k
		case 1:
			h.fleet.know(id, nil)
			delete(gates, id)
		default:
			date, d := monday-index.Date(random.IntN(36)), index.Day{}
			for hour := range d {
				judged := uint32(random.IntN(60))
				d[hour] = index.Hour{Passed: uint32(random.IntN(60)), Judged: judged, Serious: judged / 20}
			}
			if series[id] == nil {
				series[id] = index.Series{}
			}
			series[id][date] = &d
			h.tallies.set(h.tallies.kept, date, id, &d)
		}
		if step%100 != 99 {
			continue
		}
		of := map[string][]index.Series{}
		for id, k := range gates {
			if k.revoked {
				continue
			}
			s := series[id]
			of[""], of["site:"+k.site] = append(of[""], s), append(of["site:"+k.site], s)
			if k.county != "" {
				of[k.county], of[k.county[:2]] = append(of[k.county], s), append(of[k.county[:2]], s)
			}
		}
		if err := h.tallies.want(t.Context(), periods, func(all []*tally) {
			for i, p := range periods {
				for _, region := range []string{"", "33", "42", "330106", "330108", "420102", "110101"} {
					sum := h.tallies.of(all[i], region, "")
					if got, want := sum.Index(p.date, p.hours), index.Compute(of[region], p.date, p.hours); got != want {
						t.Fatalf("step %d, region %q: %+v, want %+v", step, region, got, want)
					}
				}
				sum := h.tallies.of(all[i], "", "site 1")
				if got, want := sum.Index(p.date, p.hours), index.Compute(of["site:site 1"], p.date, p.hours); got != want {
					t.Fatalf("step %d, a site: %+v, want %+v", step, got, want)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkIndex is what an index costs a hub of so many gates: the page of a
// province with its map and its charts, and one changed day of one gate.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, _ := newHub(b, quiet())
			codes := slices.Sorted(maps.Keys(counties))
			for i := range n {
				h.fleet.know(fmt.Sprintf("gate-%06d", i), &known{county: codes[i%len(codes)], site: fmt.Sprint("site ", i/4)})
			}
			date, hours, err := h.period("")
			if err != nil {
				b.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			windows := []period{{date, hours}}
			for d := date - chartDays; d < date; d++ {
				windows = append(windows, period{d, index.Hours})
			}
			ctx := b.Context()
			// Empty at first; then each gate's five weeks come in.
			if err := h.tallies.want(ctx, windows, func([]*tally) {}); err != nil {
				b.Fatal(err)
			}
			d := index.Day{9: {Passed: 40, Judged: 40, Serious: 1}}
			change := func(date index.Date, i int) {
				h.tallies.mu.Lock()
				defer h.tallies.mu.Unlock()
				h.tallies.set(h.tallies.kept, date, fmt.Sprintf("gate-%06d", i), &d)
			}
			for back := range index.Date(57) {
				for i := range n {
					change(date-back, i)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			r := httptest.NewRequest("GET", "/index?province=33", nil)
			if v, err := h.indexView(r); err != nil || len(v.Counties) != len(counties) || v.Report.Gates != n || v.Report.Heard != n {
				b.Fatalf("%d counties, %+v, %v", len(v.Counties), v.Report.Index, err)
			}
			pages, page, changes := 0, time.Duration(0), time.Duration(0)
			for b.Loop() {
				from := time.Now()
				if _, err := h.indexView(r); err != nil {
					b.Fatal(err)
				}
				page += time.Since(from)
				from = time.Now()
				change(date, pages%n)
				changes += time.Since(from)
				pages++
			}
			fmt.Printf("bench: index.%d.page %.2f ms\n", n, float64(page.Microseconds())/1000/float64(pages))
			fmt.Printf("bench: index.%d.change %.1f us\n", n, float64(changes.Nanoseconds())/1000/float64(pages))
			fmt.Printf("bench: index.%d.memory %.1f MiB\n", n, float64(after.HeapAlloc-before.HeapAlloc)/(1<<20))
		})
	}
}
