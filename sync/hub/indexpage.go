package hub

import (
	"embed"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"greengate/gate"
	"greengate/sync/hub/index"
)

//go:embed page/index.css
var indexStyle embed.FS

// tile is one province's place on the tile map.
type tile struct {
	code, zh, en string
	column, row  int
}

// tiles are the 34 provinces of GB/T 2260, each about where it lies.
var tiles = []tile{
	{"23", "黑", "Heilongjiang", 8, 0}, {"15", "蒙", "Inner Mongolia", 6, 1}, {"21", "辽", "Liaoning", 7, 1}, {"22", "吉", "Jilin", 8, 1},
	{"65", "新", "Xinjiang", 0, 2}, {"62", "甘", "Gansu", 2, 2}, {"64", "宁", "Ningxia", 3, 2}, {"14", "晋", "Shanxi", 4, 2}, {"13", "冀", "Hebei", 5, 2}, {"11", "京", "Beijing", 6, 2}, {"12", "津", "Tianjin", 7, 2},
	{"54", "藏", "Tibet", 0, 3}, {"63", "青", "Qinghai", 1, 3}, {"61", "陕", "Shaanxi", 3, 3}, {"41", "豫", "Henan", 4, 3}, {"37", "鲁", "Shandong", 5, 3},
	{"51", "川", "Sichuan", 2, 4}, {"50", "渝", "Chongqing", 3, 4}, {"42", "鄂", "Hubei", 4, 4}, {"34", "皖", "Anhui", 5, 4}, {"32", "苏", "Jiangsu", 6, 4}, {"31", "沪", "Shanghai", 7, 4},
	{"53", "滇", "Yunnan", 2, 5}, {"52", "黔", "Guizhou", 3, 5}, {"43", "湘", "Hunan", 4, 5}, {"36", "赣", "Jiangxi", 5, 5}, {"33", "浙", "Zhejiang", 6, 5},
	{"45", "桂", "Guangxi", 3, 6}, {"44", "粤", "Guangdong", 4, 6}, {"35", "闽", "Fujian", 5, 6}, {"71", "台", "Taiwan", 7, 6},
	{"46", "琼", "Hainan", 3, 7}, {"82", "澳", "Macao", 4, 7}, {"81", "港", "Hong Kong", 5, 7},
}

// levelWords are a level in words, with a mark that tells it without its colour.
var levelWords = map[gate.RiskLevel][3]string{
	gate.RiskUnknown: {"–", "数据不足", "too little data"},
	gate.RiskLow:     {"●", "低", "low"},
	gate.RiskLower:   {"◆", "较低", "lower"},
	gate.RiskMedium:  {"▲", "中", "medium"},
	gate.RiskHigher:  {"■", "较高", "higher"},
	gate.RiskHigh:    {"✚", "高", "high"},
}

// flowWords are the flow index's, whose levels say how far below the usual it is.
var flowWords = map[gate.RiskLevel][2]string{
	gate.RiskLow:    {"畅通", "free"},
	gate.RiskLower:  {"较畅", "nearly free"},
	gate.RiskMedium: {"一般", "halved"},
	gate.RiskHigher: {"较阻", "hampered"},
	gate.RiskHigh:   {"受阻", "nearly shut"},
}

type levelView struct{ Class, Mark, Zh, En string }

func viewFlow(l gate.RiskLevel) levelView {
	v := viewLevel(l)
	if w, ok := flowWords[l]; ok {
		v.Zh, v.En = w[0], w[1]
	}
	return v
}

func viewLevel(l gate.RiskLevel) levelView {
	w := levelWords[l]
	return levelView{l.String(), w[0], w[1], w[2]}
}

type tileView struct {
	levelView
	X, Y               int
	Name, Title, Value string
	Link               string
}

// chart is one line over the last weeks, in the units of its SVG.
type chart struct {
	Zh, En, Unit string
	Runs         []string // points of each unbroken run
	Dots         []dot
	Top          int
	From, To     string
}

type dot struct {
	X, Y  int
	Title string
}

type indexView struct {
	Name, Day, Region, Province string
	RegionTitle                 string // its digits with its names
	Hours                       int
	Control                     bool // the map shows the control index
	Flow, Stop                  levelView
	Report                      IndexReport
	FlowText, StopText          string
	Tiles, Counties             []tileView
	Charts                      []chart
	Legend                      []levelView
	Error                       string
}

// Sizes of the pictures, in the units of their SVG.
const (
	tileStep    = 76
	chartStep   = 20
	chartHeight = 120
)

func flowText(f index.Flow) string {
	switch {
	case f.Level == gate.RiskUnknown:
		return "–"
	case f.Few:
		return "< 5"
	}
	return fmt.Sprintf("%.0f %%", f.Percent)
}

func controlText(c index.Control) string {
	switch {
	case c.Level == gate.RiskUnknown:
		return "–"
	case c.Few:
		return "< 5"
	}
	return fmt.Sprintf("%.1f ‰", c.PerMille)
}

// serveIndex shows the index of everything, or of a county, with the map.
func (h *Hub) serveIndex(render func(http.ResponseWriter, *http.Request, int, string, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := h.indexView(r)
		if errors.Is(err, ErrInvalid) {
			render(w, r, http.StatusBadRequest, "index.html", indexView{Name: h.config.Name, Error: err.Error()})
			return
		}
		if err != nil {
			h.log.Error("page failed", "page", "index", "err", err)
			http.Error(w, "the page failed", http.StatusInternalServerError)
			return
		}
		render(w, r, http.StatusOK, "index.html", v)
	}
}

func (h *Hub) indexView(r *http.Request) (indexView, error) {
	q := r.URL.Query()
	v := indexView{Name: h.config.Name, Control: q.Get("show") != "flow", Region: q.Get("county"), Province: q.Get("province")}
	report, err := h.Index(r.Context(), IndexRequest{County: v.Region, Day: q.Get("day"), Chart: true})
	if err != nil {
		return v, err
	}
	indexes, err := h.Indexes(r.Context(), q.Get("day"))
	if err != nil {
		return v, err
	}
	if v.Region != "" {
		v.Province, v.RegionTitle = v.Region[:2], countyTitle(v.Region)
	}
	v.Report, v.Day, v.Hours = report, report.Day, report.Hours
	v.Flow, v.FlowText = viewFlow(report.Flow.Level), flowText(report.Flow)
	v.Stop, v.StopText = viewLevel(report.Control.Level), controlText(report.Control)
	for l := gate.RiskLow; l <= gate.RiskHigh; l++ {
		if v.Control {
			v.Legend = append(v.Legend, viewLevel(l))
		} else {
			v.Legend = append(v.Legend, viewFlow(l))
		}
	}
	v.Legend = append(v.Legend, viewLevel(gate.RiskUnknown))
	link := func(key, value string) string {
		show := "control"
		if !v.Control {
			show = "flow"
		}
		return fmt.Sprintf("/index?%s=%s&show=%s&day=%s", key, value, show, q.Get("day"))
	}
	fill := func(t *tileView, region string) {
		i := indexes[region]
		level, text := viewLevel(i.Control.Level), controlText(i.Control)
		if !v.Control {
			level, text = viewFlow(i.Flow.Level), flowText(i.Flow)
		}
		t.levelView, t.Value = level, text
		t.Title = fmt.Sprintf("%s: %s %s, %s; %d/%d", t.Title, t.Zh, t.En, text, i.Heard, i.Gates)
	}
	for _, p := range tiles {
		t := tileView{X: p.column * tileStep, Y: p.row * tileStep, Name: p.zh, Title: p.zh + " " + p.en}
		if len(countiesIn(indexes, p.code)) > 0 {
			t.Link = link("province", p.code)
		}
		fill(&t, p.code)
		v.Tiles = append(v.Tiles, t)
		if p.code == v.Province {
			for n, county := range countiesIn(indexes, p.code) {
				c := tileView{X: n % 9 * tileStep, Y: n / 9 * tileStep, Name: shortCounty(county), Title: countyTitle(county), Link: link("county", county)}
				fill(&c, county)
				v.Counties = append(v.Counties, c)
			}
		}
	}
	v.Charts = []chart{
		newChart("畅通指数", "Flow index", "%", report.Chart, func(i index.Index) (float64, bool) {
			return i.Flow.Percent, i.Flow.Level != gate.RiskUnknown && !i.Flow.Few
		}),
		newChart("管控指数", "Control index", "‰", report.Chart, func(i index.Index) (float64, bool) {
			return i.Control.PerMille, i.Control.Level != gate.RiskUnknown && !i.Control.Few
		}),
	}
	return v, nil
}

// Height of the county's tile map.
func (v indexView) Height() int { return (len(v.Counties) + 8) / 9 * tileStep }

// newChart draws the days that have a number; a day without one breaks the line.
func newChart(zh, en, unit string, days []IndexDay, value func(index.Index) (float64, bool)) chart {
	c := chart{Zh: zh, En: en, Unit: unit, Top: 10}
	for _, d := range days {
		if n, ok := value(d.Index); ok {
			for float64(c.Top) < n {
				c.Top *= 2
			}
		}
	}
	var run []string
	end := func() {
		if len(run) > 1 {
			c.Runs = append(c.Runs, strings.Join(run, " "))
		}
		run = nil
	}
	for i, d := range days {
		n, ok := value(d.Index)
		if !ok {
			end()
			continue
		}
		p := dot{i*chartStep + chartStep/2, chartHeight - int(n*chartHeight/float64(c.Top)), fmt.Sprintf("%s: %.1f %s", d.Day, n, unit)}
		c.Dots = append(c.Dots, p)
		run = append(run, fmt.Sprintf("%d,%d", p.X, p.Y))
	}
	end()
	if len(days) > 0 {
		c.From, c.To = days[0].Day, days[len(days)-1].Day
	}
	return c
}

// serveIndexStyle is the page's own style sheet.
func serveIndexStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	http.ServeFileFS(w, r, indexStyle, "page/index.css")
}
