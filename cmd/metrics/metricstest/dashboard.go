package metricstest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Query is one figure that a dashboard asks for, with the labels that it is told apart by.
type Query struct {
	Panel, Name string
	Labels      []string
}

// dashboard is the part of a Grafana dashboard that is looked at.
type dashboard struct {
	Title, UID string
	Templating struct {
		List []struct {
			Name, Type, Definition string
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		Datasource  struct{ UID string }
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct {
			RefID, Expr, LegendFormat string
		}
	}
}

var (
	asked    = regexp.MustCompile(`\b(greengate_[a-z_]+)(?:\{([^}]*)\})?`)
	selected = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouped  = regexp.MustCompile(`\bby \(([a-z_, ]+)\) \(`)
	legend   = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	variable = regexp.MustCompile(`\$\{?([a-z_]+)\b`)
)

// scraped are the labels that the monitor adds.
var scraped = []string{"instance", "job"}

// Dashboard reads a Grafana dashboard and returns the figures that it asks for.
// It fails the test where panels have no query, lie over each other or over the
// edge, share an id, or use a variable that is not declared.
func Dashboard(t testing.TB, path string) []Query {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if d.Title == "" || d.UID == "" || len(d.Panels) == 0 {
		t.Fatalf("%s is no dashboard", path)
	}
	known := map[string]bool{}
	var all []Query
	for _, v := range d.Templating.List {
		known[v.Name] = true
		all = append(all, queries("variable "+v.Name, v.Definition)...)
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id is another's, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s lies over the edge: %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s asks for nothing, or asks %q", p.Title, p.Datasource.UID)
		}
		for _, target := range p.Targets {
			found := queries(p.Title, target.Expr)
			if len(found) == 0 {
				t.Errorf("%s asks for no figure of ours: %q", p.Title, target.Expr)
			}
			// What it is grouped by, and what the legend names, are labels too.
			for i := range found {
				for _, m := range grouped.FindAllStringSubmatch(target.Expr, -1) {
					found[i].Labels = append(found[i].Labels, strings.Split(strings.ReplaceAll(m[1], " ", ""), ",")...)
				}
				for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
					if !slices.Contains(scraped, m[1]) {
						found[i].Labels = append(found[i].Labels, m[1])
					}
				}
			}
			all = append(all, found...)
			for _, m := range variable.FindAllStringSubmatch(target.Expr, -1) {
				if !known[m[1]] && !strings.HasPrefix(m[1], "__") {
					t.Errorf("%s uses $%s, which is not declared", p.Title, m[1])
				}
			}
		}
	}
	return all
}

// queries finds the figures in an expression, with the labels that select from them.
func queries(panel, expr string) []Query {
	var all []Query
	for _, m := range asked.FindAllStringSubmatch(expr, -1) {
		q := Query{Panel: panel, Name: m[1]}
		for _, l := range selected.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(scraped, l[1]) {
				q.Labels = append(q.Labels, l[1])
			}
		}
		all = append(all, q)
	}
	return all
}

// Exposed fails the test where a dashboard asks for a figure, or for a label of
// it, that is not among the figures; about says which of its figures are meant.
// It returns how many there were.
func Exposed(t testing.TB, queries []Query, figures map[string]float64, about func(name string) bool) (n int) {
	t.Helper()
	for _, q := range queries {
		if !about(q.Name) {
			continue
		}
		n++
		var series []string
		for s := range figures {
			if s == q.Name || strings.HasPrefix(s, q.Name+"{") {
				series = append(series, s)
			}
		}
		if len(series) == 0 {
			t.Errorf("%s asks for %s, which nobody exposes", q.Panel, q.Name)
		}
		for _, l := range q.Labels {
			if !slices.ContainsFunc(series, func(s string) bool { return strings.Contains(s, "{"+l+"=") || strings.Contains(s, ","+l+"=") }) {
				t.Errorf("%s asks for the label %s of %s, which has none", q.Panel, l, q.Name)
			}
		}
	}
	return n
}
