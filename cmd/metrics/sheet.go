package metrics

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// atOnce is how many may look at the same time; a monitor or two.
const atOnce = 3

// Sheet takes the figures of one look.
type Sheet struct{ out chan<- prometheus.Metric }

// Label is one label of a figure.
type Label struct{ Name, Value string }

// Gauge writes a value that rises and falls.
func (s Sheet) Gauge(name, help string, value float64, labels ...Label) {
	s.write(prometheus.GaugeValue, name, help, value, labels)
}

// Counter writes a value that only rises until the program starts anew; its name ends in _total.
func (s Sheet) Counter(name, help string, value uint64, labels ...Label) {
	s.write(prometheus.CounterValue, name, help, float64(value), labels)
}

// Seconds writes a time that only adds up until the program starts anew; the
// name ends in _seconds_total.
func (s Sheet) Seconds(name, help string, sum time.Duration, labels ...Label) {
	s.write(prometheus.CounterValue, name, help, sum.Seconds(), labels)
}

// Time writes a moment in Unix seconds, and nothing where it is zero: a gap
// says "never" where 0 would say 1970. The name ends in _timestamp_seconds.
func (s Sheet) Time(name, help string, at time.Time, labels ...Label) {
	if !at.IsZero() {
		s.Gauge(name, help, float64(at.UnixMilli())/1000, labels...)
	}
}

// State writes one series for each word, 1 for the one that holds now and 0
// for the others.
func (s Sheet) State(name, help, label, now string, words ...string) {
	for _, w := range words {
		s.Gauge(name, help, Bool(w == now), Label{label, w})
	}
}

// Bool is 1 for true.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s Sheet) write(kind prometheus.ValueType, name, help string, value float64, labels []Label) {
	names, values := make([]string, len(labels)), make([]string, len(labels))
	for i, l := range labels {
		names[i], values[i] = l.Name, l.Value
	}
	d := prometheus.V2.NewDesc(name, help, prometheus.UnconstrainedLabels(names), nil, prometheus.WithUnit(unit(name)))
	m, err := prometheus.NewConstMetric(d, kind, value, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.out <- m
}

// unit is the base unit that a name ends in, "" for a bare number.
func unit(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []string{"seconds", "bytes"} {
		if strings.HasSuffix(name, "_"+u) {
			return u
		}
	}
	return ""
}

// collector asks for the figures when somebody looks.
type collector func(Sheet) error

// Describe implements prometheus.Collector: which lists there are, and so which
// figures, is not known beforehand.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	if err := c(Sheet{out}); err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
}

// gatherer makes what the handler serves, and the test looks at.
func gatherer(write func(Sheet) error) prometheus.Gatherer {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector(write)) // the only one, which collides with nothing
	return r
}

// Handler serves what write writes. An error of it is the answer, with status
// 500, and no half of the figures: a monitor takes a gap for what it is.
func Handler(log *slog.Logger, write func(Sheet) error) http.Handler {
	return promhttp.HandlerFor(gatherer(write), promhttp.HandlerOpts{
		ErrorLog: lines{log}, ErrorHandling: promhttp.HTTPErrorOnError,
		DisableCompression: true, MaxRequestsInFlight: atOnce, EnableOpenMetrics: true,
	})
}

// lines is a log as promhttp wants it.
type lines struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l lines) Println(v ...any) { l.log.Warn("figures not written", "error", v) }
