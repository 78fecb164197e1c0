// Package metricstest looks at figures as a monitor does.
package metricstest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Figures asks the handler in both formats, and fails the test where a monitor
// would not read the answer or Prometheus' own lint finds a fault. It returns
// the figures, as {`greengate_list_extra{uri="jkm:3301/0"}`: 0}.
func Figures(t testing.TB, h http.Handler) map[string]float64 {
	t.Helper()
	plain := ask(t, h, "text/plain;version=0.0.4")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(plain))
	if err != nil {
		t.Fatalf("figures do not parse: %v\n%s", err, plain)
	}
	var all []*dto.MetricFamily
	figures := map[string]float64{}
	for _, f := range families {
		all = append(all, f)
		for _, m := range f.GetMetric() {
			figures[name(f.GetName(), m.GetLabel())] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n := openMetrics(t, ask(t, h, "application/openmetrics-text;version=1.0.0")); n != len(figures) {
		t.Errorf("%d figures as OpenMetrics, %d as plain text", n, len(figures))
	}
	return figures
}

func name(family string, labels []*dto.LabelPair) string {
	if len(labels) == 0 {
		return family
	}
	var pairs []string
	for _, l := range labels {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(pairs)
	return family + "{" + strings.Join(pairs, ",") + "}"
}

func ask(t testing.TB, h http.Handler, accept string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	kind, _, _ := strings.Cut(accept, ";")
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
		t.Fatalf("%s: status %d, %s\n%s", accept, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return w.Body.String()
}

var (
	described = regexp.MustCompile(`^# (HELP|TYPE|UNIT) ([a-z_]+) (.+)$`)
	sampled   = regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+)$`)
)

// openMetrics checks what the specification 1.0 asks beyond the plain format: a
// type, a help and the unit that the name ends in before the samples, families
// in one piece, counters that end in _total, and the end that says so. It
// returns the number of samples.
func openMetrics(t testing.TB, text string) (samples int) {
	t.Helper()
	body, ok := strings.CutSuffix(text, "# EOF\n")
	if !ok {
		t.Fatalf("no end:\n%s", text)
	}
	seen := map[string]map[string]string{}
	family := ""
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if m := described.FindStringSubmatch(line); m != nil {
			if m[2] != family && seen[m[2]] != nil {
				t.Errorf("family %s comes twice", m[2])
			}
			if family = m[2]; seen[family] == nil {
				seen[family] = map[string]string{}
			}
			seen[family][m[1]] = m[3]
			continue
		}
		m := sampled.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no line of OpenMetrics: %q", line)
			continue
		}
		samples++
		has, want := seen[family], family
		if has["TYPE"] == "counter" {
			want += "_total"
		}
		if m[1] != want {
			t.Errorf("sample %s in family %s, a %s", m[1], family, has["TYPE"])
		}
		unit := ""
		for _, u := range []string{"seconds", "bytes"} {
			if strings.HasSuffix(family, "_"+u) {
				unit = u
			}
		}
		if has["HELP"] == "" || has["TYPE"] == "" || has["UNIT"] != unit {
			t.Errorf("family %s: help %q, type %q, unit %q; want unit %q", family, has["HELP"], has["TYPE"], has["UNIT"], unit)
		}
	}
	return samples
}
