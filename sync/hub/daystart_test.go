package hub

import (
	"testing"
	"time"
	_ "time/tzdata" // the places below, on any machine
)

// TestDayStart: days begin where the clocks of a place say so, also where they
// are changed at midnight, and each follows the one before.
func TestDayStart(t *testing.T) {
	for _, c := range []struct{ place, day, want string }{
		{"Asia/Shanghai", "2020-02-17", "2020-02-17T00:00:00+08:00"},
		{"Africa/Cairo", "2026-04-23", "2026-04-23T00:00:00+02:00"},
		{"Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00"},
		{"Africa/Cairo", "2026-04-25", "2026-04-25T00:00:00+03:00"},
		{"America/Santiago", "2025-09-07", "2025-09-07T01:00:00-03:00"},
		{"America/Santiago", "2025-09-08", "2025-09-08T00:00:00-03:00"},
		{"America/Havana", "2025-11-02", "2025-11-02T00:00:00-04:00"}, // and once more an hour later
	} {
		where, err := time.LoadLocation(c.place)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		if got := dayStart(day, where).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s begins at %s, want %s", c.day, c.place, got, c.want)
		}
	}
}

// TestTraceDays: the days of a trace are all of those asked for, each once, over
// a change of clocks at midnight.
func TestTraceDays(t *testing.T) {
	for _, c := range []struct{ place, now, first, last string }{
		{"Asia/Shanghai", "2020-03-01T12:00:00Z", "2020-02-17", "2020-03-01"},
		{"Africa/Cairo", "2026-04-30T12:00:00Z", "2026-04-17", "2026-04-30"},
		{"America/Santiago", "2025-09-10T15:00:00Z", "2025-08-28", "2025-09-10"},
	} {
		where, err := time.LoadLocation(c.place)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []TraceRequest{{}, {From: c.first, To: c.last}} {
			var tr trace
			if err := tr.window(r, now.In(where), 30); err != nil {
				t.Fatal(err)
			}
			day, err := time.Parse(time.DateOnly, c.first)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range tr.names {
				if want := day.AddDate(0, 0, i).Format(time.DateOnly); name != want {
					t.Errorf("%s, %+v: day %d is %s, want %s", c.place, r, i, name, want)
				}
				// Its first and its last second are its own.
				end := tr.to
				if i+1 < len(tr.days) {
					end = tr.days[i+1]
				}
				for _, at := range []time.Time{tr.days[i], end.Add(-time.Second)} {
					if got := at.In(where).Format(time.DateOnly); got != name || tr.day(at) != i {
						t.Errorf("%s: %s is in day %d, want %s", c.place, at, tr.day(at), name)
					}
				}
			}
			if len(tr.names) != traceDays || tr.names[traceDays-1] != c.last {
				t.Errorf("%s, %+v: %s", c.place, r, tr.names)
			}
		}
	}
}
