package wire

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greengate/cmd/metrics/metricstest"
	"greengate/gate"
	"greengate/sync/hub"
)

// A gate's figures over its real pages, while people pass.
func TestMetrics(t *testing.T) {
	r := newRig(t)
	pictures := wall(t)
	r.config += fmt.Sprintf("[[reader]]\nkind = \"camera\"\nsource = \"folder\"\ndevice = %q\n", pictures)
	green, red := r.issue("green"), r.issue("red")
	r.publish()
	r.start()
	r.ready()
	r.scan(green)
	r.untilState(gate.Released)
	r.eventually("the lane is idle", func() error {
		if s := r.gate.Status(); s.Lane != "idle" {
			return fmt.Errorf("lane: %s", s.Lane)
		}
		return nil
	})
	r.scan(red)
	r.untilState(gate.Refused)
	r.atHub()

	got := metricstest.Figures(t, r.gate.metrics())
	for name, want := range map[string]float64{
		`greengate_gate_info{gate="east-1",version="test",zone=""}`: 1,
		`greengate_ready`:                                                    1,
		`greengate_clock_quality{quality="unset"}`:                           0,
		`greengate_clock_quality{quality="hub-confirmed"}`:                   1,
		`greengate_lists_freshness{grade="fresh"}`:                           1,
		`greengate_lists_freshness{grade="too-old"}`:                         0,
		`greengate_lists_held{grade="fresh"}`:                                1,
		`greengate_list_freshness{grade="fresh",uri="jkm:3301/0"}`:           1,
		`greengate_list_extra{uri="jkm:3301/0"}`:                             0,
		`greengate_lists_held_bytes`:                                         1 << 18,
		`greengate_decisions_total{reason="valid",verdict="admit"}`:          1,
		`greengate_decisions_total{reason="red",verdict="refuse"}`:           1,
		`greengate_journal_room{room="enough"}`:                              1,
		`greengate_journal_backlog_records`:                                  0,
		`greengate_download_failed_runs_total`:                               0,
		`greengate_download_error{kind="unavailable"}`:                       0,
		`greengate_upload_stop{stop="fork"}`:                                 0,
		`greengate_reader_ready{reader="serial"}`:                            1,
		`greengate_camera_frames_total{reader="camera"}`:                     1,
		`greengate_camera_looked_total{outcome="no-finder",reader="camera"}`: 1,
		`greengate_camera_looked_total{outcome="read",reader="camera"}`:      0,
		`greengate_camera_skipped_total{reader="camera",reason="too-dark"}`:  0,
		`greengate_camera_wedges_total{reader="camera"}`:                     0,
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %v (there: %v), want %v", name, have, ok, want)
		}
	}
	for _, name := range []string{"greengate_clock_floor_timestamp_seconds", "greengate_download_runs_total", "greengate_download_fetched_bytes_total", "greengate_download_installed_total",
		"greengate_download_timestamp_version", "greengate_download_issued_timestamp_seconds", "greengate_download_last_success_timestamp_seconds", `greengate_list_generation{uri="jkm:3301/0"}`} {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if age, ok := got["greengate_lists_age_seconds"]; !ok || age < 0 || age > 60 {
		t.Errorf("lists have the age %v", age)
	}

	// The dashboard asks a gate for nothing that it does not expose. A fault is
	// exposed while there is one: see TestConditionWithoutLists.
	got[`greengate_fault{fault="none"}`] = 0
	about := func(name string) bool { return !strings.HasPrefix(name, "greengate_hub_") }
	if n := metricstest.Exposed(t, metricstest.Dashboard(t, "../../deploy/grafana/greengate.json"), got, about); n < 20 {
		t.Errorf("the dashboard asks a gate for %d figures", n)
	}

	resp, err := http.Get("http://" + r.gate.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || !strings.Contains(string(body), "greengate_lists_age_seconds ") {
		t.Errorf("over the network: %s\n%s", resp.Status, body)
	}
	for _, person := range []string{"王", "JKM1", green[5:25], "330106"} {
		if strings.Contains(string(body), person) {
			t.Errorf("the figures hold %q", person)
		}
	}
	req, err := http.NewRequest("GET", "http://"+r.gate.Address()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "attacker.example"
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("under another name: %s", resp.Status)
	}

	// What the hub's operator sees of it.
	r.eventually("the hub knows the gate's condition", func() error {
		gates, err := r.hub.Gates(t.Context())
		if err != nil {
			return err
		}
		c := gates[0].Condition
		if c == nil {
			return fmt.Errorf("it has said nothing")
		}
		if want := (hub.GateCondition{Lists: "fresh", AgeSeconds: c.AgeSeconds, Held: 1, Clock: "hub-confirmed", Version: "test", Journal: c.Journal}); *c != want || c.AgeSeconds > 60 {
			return fmt.Errorf("it said %+v, want %+v", *c, want)
		}
		return nil
	})
}

// wall is a folder with a picture without a code.
func wall(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wall.png"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What the clock's quality costs is seen on every face.
func TestConditionWithoutLists(t *testing.T) {
	r := newRig(t)
	cfg, err := ParseConfig("gate.toml", []byte(r.config))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(cfg, Hardware{}, Options{Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: func() time.Time { return time.Unix(60, 0) }, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got, want := g.Condition().String(), "lists=missing age=0 held=0 clock=unset policy=0 map=0 version=test faults=starting journal=0"; got != want {
		t.Errorf("condition %q, want %q", got, want)
	}
	if s := g.Status(); s.Clock != "unset" || s.Oldest.Freshness != "missing" || s.Map.Version != 0 || s.Floor.IsZero() {
		t.Errorf("status: %+v", s)
	}
	got := metricstest.Figures(t, g.metrics())
	if got[`greengate_fault{fault="starting"}`] != 1 || got[`greengate_ready`] != 0 {
		t.Errorf("it starts, and tells of no fault: %v", got)
	}
	if got[`greengate_clock_quality{quality="unset"}`] != 1 || got[`greengate_lists_freshness{grade="missing"}`] != 1 {
		t.Errorf("figures: %v", got)
	}
	if _, ok := got["greengate_lists_age_seconds"]; ok {
		t.Error("no list, and yet an age")
	}
}
