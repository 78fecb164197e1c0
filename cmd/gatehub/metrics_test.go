package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"greengate/cmd/metrics"
	"greengate/cmd/metrics/metricstest"
	"greengate/gate"
	"greengate/sync/hub"
)

// A hub's figures count its gates and name none of them.
func TestFigures(t *testing.T) {
	now := time.Date(2020, 2, 17, 8, 0, 0, 0, time.UTC)
	said := func(lists, clock string, age int64) *hub.GateCondition {
		return &hub.GateCondition{Lists: lists, Clock: clock, AgeSeconds: age}
	}
	gates := []hub.GateStatus{
		{Gate: "a", LastContact: now, Backlog: 3, Condition: said("fresh", "hub-confirmed", 40), Today: hub.Counts{Admit: 5, Refuse: 2, Reasons: map[gate.Reason]uint64{gate.Valid: 5, gate.RedCode: 2}}},
		{Gate: "b", LastContact: now.Add(-silentAfter - 1), Backlog: 900, Condition: said("too-old", "floor", 190000), Today: hub.Counts{Admit: 1, Hold: 4, Acts: 2, Tombstones: 1, Reasons: map[gate.Reason]uint64{gate.Valid: 1}}},
		{Gate: "c"},
		{Gate: "d", LastContact: now, Alarm: "fork", Alarms: []hub.Alarm{{Kind: hub.AlarmFork}, {Kind: hub.AlarmClock}}, HourBefore: hub.Counts{Refuse: 9}},
		{Gate: "e", LastContact: now, Revoked: true, Backlog: 7000, Condition: said("missing", "unset", 0)},
	}
	lists := []hub.ListStatus{{Green: 10, Yellow: 2, Red: 1, Void: 3}, {Green: 5, Pending: true}}
	got := metricstest.Figures(t, metrics.Handler(slog.New(slog.DiscardHandler), func(s metrics.Sheet) error {
		gateFigures(s, gates, now)
		listFigures(s, lists)
		return nil
	}))
	for name, want := range map[string]float64{
		`greengate_hub_gates{state="online"}`:             1,
		`greengate_hub_gates{state="silent"}`:             1,
		`greengate_hub_gates{state="never-seen"}`:         1,
		`greengate_hub_gates{state="alarm"}`:              1,
		`greengate_hub_gates{state="revoked"}`:            1,
		`greengate_hub_gates_lists{grade="fresh"}`:        1,
		`greengate_hub_gates_lists{grade="too-old"}`:      1,
		`greengate_hub_gates_lists{grade="missing"}`:      0, // it is revoked
		`greengate_hub_gates_clock{quality="floor"}`:      1,
		`greengate_hub_gates_lists_age_seconds`:           190000,
		`greengate_hub_backlog_records`:                   903,
		`greengate_hub_backlog_largest_records`:           900,
		`greengate_hub_today_decisions{verdict="admit"}`:  6,
		`greengate_hub_today_decisions{verdict="hold"}`:   4,
		`greengate_hub_today_decisions{verdict="refuse"}`: 2,
		`greengate_hub_today_reasons{reason="valid"}`:     6,
		`greengate_hub_today_reasons{reason="fever"}`:     0,
		`greengate_hub_today_acts`:                        2,
		`greengate_hub_today_tombstones`:                  1,
		`greengate_hub_alarms{kind="fork"}`:               1,
		`greengate_hub_alarms{kind="clock-unset"}`:        1,
		`greengate_hub_alarms{kind="silent"}`:             0,
		`greengate_hub_hour_decisions{verdict="refuse"}`:  9,
		`greengate_hub_lists`:                             2,
		`greengate_hub_lists_pending`:                     1,
		`greengate_hub_codes{colour="green"}`:             15,
		`greengate_hub_codes{colour="void"}`:              3,
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %v (there: %v), want %v", name, have, ok, want)
		}
	}
}

// The figures of a real hub, which has published nothing yet, and then has.
func TestFiguresOfAHub(t *testing.T) {
	dir := t.TempDir()
	if err := hub.Init(t.Context(), dir, hub.Config{Name: "test", URL: "https://127.0.0.1:8443", Provinces: []string{"33"}}, hub.Options{}); err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(t.Context(), dir, hub.Options{PublishDelay: -1, Heartbeat: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := h.AddGate(t.Context(), hub.GateRequest{Gate: "east-1", County: "330106", By: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := metricstest.Figures(t, figures(slog.New(slog.DiscardHandler))(h))
	if got[`greengate_hub_index_gates{county="330106"}`] != 1 || got["greengate_hub_index_failing"] != 0 {
		t.Errorf("no index of its county: %v", got)
	}
	if got["greengate_hub_timestamp_version"] < 1 || got["greengate_hub_issued_timestamp_seconds"] < 1e9 || got["greengate_hub_publish_failing"] != 0 || got[`greengate_hub_gates{state="never-seen"}`] != 1 {
		t.Errorf("figures: %v", got)
	}

	// The dashboard asks a hub for nothing that it does not expose; the ratios are
	// there once a county has enough passages: see TestIndexFigures.
	for _, name := range []string{"flow", "control"} {
		got[`greengate_hub_index_`+name+`_ratio{county="330106"}`] = 1
	}
	about := func(name string) bool { return strings.HasPrefix(name, "greengate_hub_") }
	if n := metricstest.Exposed(t, metricstest.Dashboard(t, "../../deploy/grafana/greengate.json"), got, about); n < 20 {
		t.Errorf("the dashboard asks a hub for %d figures", n)
	}
}
