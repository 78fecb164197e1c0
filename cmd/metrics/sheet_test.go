package metrics_test

import (
	"errors"
	"log/slog"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"greengate/cmd/metrics"
	"greengate/cmd/metrics/metricstest"
)

func TestSheet(t *testing.T) {
	h := metrics.Handler(slog.New(slog.DiscardHandler), func(s metrics.Sheet) error {
		s.Gauge("greengate_list_age_seconds", "Age.", 61.5, metrics.Label{Name: "uri", Value: "https://h/3301/0"})
		s.Gauge("greengate_list_age_seconds", "Age.", 3, metrics.Label{Name: "uri", Value: "a \"quoted\"\nline\\"})
		s.Counter("greengate_fetched_bytes_total", "Bytes.", 1<<40)
		s.Time("greengate_floor_timestamp_seconds", "Floor.", time.Date(2020, 2, 17, 0, 0, 0, 500e6, time.UTC))
		s.Time("greengate_never_timestamp_seconds", "Never.", time.Time{})
		s.State("greengate_clock_quality", "Quality.", "quality", "floor", "unset", "floor")
		return nil
	})
	want := map[string]float64{
		`greengate_list_age_seconds{uri="https://h/3301/0"}`:     61.5,
		`greengate_list_age_seconds{uri="a \"quoted\"\nline\\"}`: 3,
		"greengate_fetched_bytes_total":                          1 << 40,
		"greengate_floor_timestamp_seconds":                      1581897600.5,
		`greengate_clock_quality{quality="unset"}`:               0,
		`greengate_clock_quality{quality="floor"}`:               1,
	}
	if got := metricstest.Figures(t, h); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Half of the figures is worse than none: a monitor would take what is missing
// for what is well.
func TestSheetThatFails(t *testing.T) {
	for name, write := range map[string]func(metrics.Sheet) error{
		"an error": func(s metrics.Sheet) error {
			s.Gauge("greengate_good", "Good.", 1)
			return errors.New("registry is away")
		},
		"the same twice": func(s metrics.Sheet) error {
			s.Gauge("greengate_good", "Good.", 1)
			s.Gauge("greengate_good", "Good.", 2)
			return nil
		},
		"two helps": func(s metrics.Sheet) error {
			s.Gauge("greengate_good", "Good.", 1, metrics.Label{Name: "a", Value: "1"})
			s.Gauge("greengate_good", "Better.", 1, metrics.Label{Name: "a", Value: "2"})
			return nil
		},
		"no name": func(s metrics.Sheet) error {
			s.Gauge("", "Nothing.", 1)
			return nil
		},
	} {
		var log strings.Builder
		w := httptest.NewRecorder()
		metrics.Handler(slog.New(slog.NewTextHandler(&log, nil)), write).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != 500 || strings.Contains(w.Body.String(), "greengate_good 1") {
			t.Errorf("%s: status %d\n%s", name, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "figures not written") {
			t.Errorf("%s: nothing logged", name)
		}
	}
}
