package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/cmd/control"
)

// What a technician reads of lists, clock and map, line by line.
func TestStatus(t *testing.T) {
	now := time.Date(2020, 2, 19, 8, 0, 0, 0, time.UTC)
	good := control.Status{
		Gate: "east-1", Version: "1", Started: now.Add(-time.Hour), Lane: "idle", Time: now, Clock: "hub-confirmed", Floor: now.Add(-time.Minute), Policy: 7,
		Lists: []control.ListStatus{
			{URI: "jkm:3301/0", Sequence: 41, Confirmed: now.Add(-time.Minute), Freshness: "fresh"},
			{URI: "jkm:4403/7", Sequence: 3, Confirmed: now.Add(-25 * time.Hour), Freshness: "stale", Extra: true},
		},
		Oldest:  control.OldestStatus{Confirmed: now.Add(-25 * time.Hour), Freshness: "stale"},
		Map:     control.MapStatus{Version: 3, Day: "2020-02-17", Age: 2, AgeKnown: true},
		Journal: control.JournalStatus{Next: 1, Room: "enough"},
	}
	for _, c := range []struct {
		name  string
		spoil func(*control.Status)
		want  []string
	}{
		{"good", func(*control.Status) {}, []string{
			"clock     2020-02-19 08:00:00, hub-confirmed",
			"floor     2020-02-19 07:59:00",
			"lists     2 held, the oldest confirmed 25h0m0s ago: stale",
			"list      jkm:3301/0 generation 41, confirmed 1m0s ago: fresh, configured",
			"list      jkm:4403/7 generation 3, confirmed 25h0m0s ago: stale, extra, asked for by a code",
			"map       version 3 of 2020-02-17, 2 days old",
		}},
		{"nothing yet", func(s *control.Status) {
			s.Clock, s.Floor, s.Lists, s.Oldest, s.Map = "unset", time.Time{}, nil, control.OldestStatus{Freshness: "missing"}, control.MapStatus{}
		}, []string{"clock     2020-02-19 08:00:00, unset", "lists     none held", "map       none"}},
		{"a leap waits", func(s *control.Status) { s.Trust.Leap, s.Trust.Issued = true, now.AddDate(0, 0, 40) },
			[]string{"floor     2020-02-19 07:59:00; signed 2020-03-30 08:00:00 waits for network time or the hub"}},
		{"today's map", func(s *control.Status) { s.Map.Day, s.Map.Age = "2020-02-19", 0 }, []string{"map       version 3 of 2020-02-19, today's"}},
		{"yesterday's map", func(s *control.Status) { s.Map.Day, s.Map.Age = "2020-02-18", 1 }, []string{"map       version 3 of 2020-02-18, yesterday's"}},
		{"a map and no clock", func(s *control.Status) { s.Map.AgeKnown = false }, []string{"map       version 3 of 2020-02-17\n"}},
		{"all is taken", func(s *control.Status) { s.Upload.LastSuccess = now.Add(-time.Second) }, []string{"upload    1s ago, backlog 0"}},
		{"revoked", func(s *control.Status) {
			s.Upload.Stop, s.Upload.NextTry = "forbidden", now.Add(5*time.Minute)
			s.Upload.Refusal = &control.RefusalStatus{Status: 403, Word: "forbidden", At: now.Add(-90 * time.Second)}
		}, []string{"refused    1m30s ago with status 403: forbidden; again in 5m0s", "next step  is the gate revoked", "gatehub gate invite -replace east-1"}},
		{"a proxy's page", func(s *control.Status) { s.Upload.Refusal = &control.RefusalStatus{Status: 403, At: now} },
			[]string{"refused    0s ago with status 403: no reason given\n", "next step  this is not how a hub answers: look at the proxy"}},
		{"TLS ends on the way", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 401, Word: "certificate needed", At: now}
		}, []string{"next step  the hub saw no certificate"}},
		{"another's journal", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 403, Word: "not this gate's batch", At: now}
		}, []string{"next step  the journal is not of this identity: `gatehub breaks -gate east-1`"}},
		{"an old copy of the hub", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 409, Word: "gap", Expected: 17, At: now}
		}, []string{"status 409: gap, the hub expects record 17", "`gatehub verify east-1`"}},
		{"a copied card", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 409, Word: "fork", At: now}
		}, []string{"next step  the hub holds another history of this gate: is there a second device"}},
		{"one bad record", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 422, Word: "malformed", Record: 321, At: now}
			s.Upload.Aside, s.Upload.AsideError = 320, "record 320: hub refuses a record: status 422"
		}, []string{"status 422: malformed, record 321", "next step  none at the gate: a record that is refused again is set aside", "set aside  record 320: hub refuses a record"}},
		{"no quorum", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 503, Word: "storage away", At: now}
		}, []string{"next step  none at the gate, which tries again: `gatehub node list`"}},
		{"a busy hub", func(s *control.Status) { s.Upload.Refusal = &control.RefusalStatus{Status: 503, Word: "busy", At: now} },
			[]string{"next step  none: the hub is busy"}},
		{"a broken hub", func(s *control.Status) {
			s.Upload.Refusal = &control.RefusalStatus{Status: 500, Word: "hub failed", At: now}
		}, []string{"the hub's log says why"}},
		{"no hub at all", func(s *control.Status) { s.Upload.Refusal = &control.RefusalStatus{Status: 404, At: now} }, []string{"is the hub's address right?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "ctl") // short: a socket's path has 107 bytes
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			socket := filepath.Join(dir, "s")
			l, err := control.Listen(socket)
			if err != nil {
				t.Fatal(err)
			}
			s := good
			c.spoil(&s)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := json.NewEncoder(w).Encode(s); err != nil {
					t.Error(err)
				}
			})}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			var out, failed strings.Builder
			err = run(t.Context(), []string{"-socket", socket, "status"}, os.Stdin, &out, &failed)
			if cerr := server.Close(); cerr != nil {
				t.Error(cerr)
			}
			<-served
			if err != nil || failed.String() != "" {
				t.Fatalf("%v\n%s", err, &failed)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("lacks %q:\n%s", want, &out)
				}
			}
		})
	}
}
