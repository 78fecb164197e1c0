package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"greengate/cmd/control"
	"greengate/scanner/camera"
)

const (
	// pictureEvery is how often somebody who watches a camera gets a picture, and
	// figuresEvery how often figures, of somebody who wants them alone.
	pictureEvery, figuresEvery = 250 * time.Millisecond, time.Second
	// pictureWidth is the most pixels of a picture's width.
	pictureWidth = 480
	// countedFor is how far back outcomes are counted.
	countedFor = time.Second
	// cameraWriteWithin is how long a line may take to be taken off our hands.
	cameraWriteWithin = 5 * time.Second
)

// camera answers with one line of JSON after the other about what a camera
// sees. Pictures go to whoever may open the gate's socket and asked for them,
// live; none is kept, here or anywhere.
func (c *controlServer) camera(w http.ResponseWriter, r *http.Request) {
	c.watchCamera(w, r, control.CameraFor)
}

// watchCamera is camera for so long.
func (c *controlServer) watchCamera(w http.ResponseWriter, r *http.Request, limit time.Duration) {
	reader, err := c.g.cameraNamed(r.FormValue("reader"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	pictures := r.FormValue("pictures") == "1"
	v := watcher{pictures: pictures}
	stop, err := reader.camera.Watch(v.saw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	defer stop()
	// Who looks through a gate's camera is not done in silence.
	c.g.log.Info("camera is being watched over the control socket", "reader", reader.name, "pictures", pictures)
	defer c.g.log.Info("camera is no longer watched", "reader", reader.name)

	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	every := figuresEvery
	if pictures {
		every = pictureEvery
	}
	now, _ := c.g.clock.Now()
	ends := now.Add(limit)
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, rc := json.NewEncoder(w), http.NewResponseController(w)
	rate := newRate(reader.camera.Figures(), time.Now())
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, _ := c.g.clock.Now()
		l := control.CameraLine{Reader: reader.name, State: reader.link.State(), Settings: reader.settings(), At: now, Ends: ends}
		figures := reader.camera.Figures()
		rate.add(figures, time.Now(), &l)
		l.Wedges = figures.Wedges
		raw := v.tell(&l, now)
		if raw != nil {
			kind := "foreign"
			// The error is of no matter: the technician aims a camera, and any code will do.
			if cred, _ := c.reader.Open(raw, now); cred != nil {
				kind = cred.Kind.String()
			}
			v.named(kind, &l)
		}
		if err := rc.SetWriteDeadline(time.Now().Add(cameraWriteWithin)); err != nil {
			c.g.log.Warn("camera is watched without a deadline", "error", err)
			return
		}
		if out.Encode(l) != nil || rc.Flush() != nil {
			return // whoever watched has gone
		}
	}
}

// cameraNamed finds a camera among the readers; the only one has no need of a name.
func (g *Gate) cameraNamed(name string) (*reader, error) {
	var names []string
	var found *reader
	for i := range g.readers {
		if r := &g.readers[i]; r.camera != nil {
			names = append(names, r.name)
			if name == "" || r.name == name {
				found = r
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("this gate has no camera\nhint: a [[reader]] with kind = \"camera\" in gate.toml")
	case found == nil, name == "" && len(names) > 1:
		return nil, fmt.Errorf("which camera? this gate has %s", strings.Join(names, ", "))
	}
	return found, nil
}

// watcher keeps the last of what a camera saw, for a line every now and then.
type watcher struct {
	pictures bool

	mu      sync.Mutex
	at      time.Time // of the last picture, zero for none
	outcome camera.Outcome
	light   camera.Light
	size    image.Point
	small   *image.Gray // nil: the next picture is wanted
	place   *[4]float64
	raw     []byte // read since the last line
	code    *control.CameraCode
}

// saw takes one look; it is called by the reader between two pictures.
func (v *watcher) saw(l camera.Look) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l.Frame.Width > 0 {
		v.size = image.Pt(l.Frame.Width, l.Frame.Height)
		if v.pictures && v.small == nil {
			v.small = camera.Small(l.Frame, pictureWidth)
		}
	}
	if l.Outcome.Looked() {
		v.place = share(l.Place(), v.size)
	}
	if len(l.Codes) > 0 {
		v.raw = bytes.Clone(l.Codes[0].Raw)
	}
	v.at, v.outcome, v.light = l.At, l.Outcome, l.Light
}

// tell writes what was last seen into a line, and returns the code that was
// read since the line before, if one was.
func (v *watcher) tell(l *control.CameraLine, now time.Time) (raw []byte) {
	v.mu.Lock()
	small := v.small
	v.small = nil
	if !v.at.IsZero() {
		l.Outcome = v.outcome.String()
	}
	l.Mean, l.Contrast, l.Sharpness = v.light.Mean, v.light.Contrast, v.light.Sharpness
	l.Width, l.Height = v.size.X, v.size.Y
	l.Place, l.Last = v.place, v.code
	raw = v.raw
	v.raw = nil
	if raw != nil {
		v.code = &control.CameraCode{At: now, Bytes: len(raw)}
	}
	v.mu.Unlock()
	if small != nil {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, small, nil); err == nil { // writing to memory does not fail
			l.Picture = b.Bytes()
		}
	}
	return raw
}

// named adds the kind of the code that was just read.
func (v *watcher) named(kind string, l *control.CameraLine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.code.Kind = kind
	l.Last = v.code
}

// share is a rectangle as shares of a picture; nil for an empty one.
func share(r image.Rectangle, size image.Point) *[4]float64 {
	r = r.Intersect(image.Rectangle{Max: size})
	if r.Empty() {
		return nil
	}
	w, h := float64(size.X), float64(size.Y)
	return &[4]float64{float64(r.Min.X) / w, float64(r.Min.Y) / h, float64(r.Dx()) / w, float64(r.Dy()) / h}
}

// rate makes what happened in the last second out of figures that only rise.
type rate struct {
	at      []time.Time
	figures []camera.Figures
}

func newRate(f camera.Figures, now time.Time) *rate {
	return &rate{[]time.Time{now}, []camera.Figures{f}}
}

// add takes the figures of now and writes the differences into a line.
func (r *rate) add(f camera.Figures, now time.Time, l *control.CameraLine) {
	r.at, r.figures = append(r.at, now), append(r.figures, f)
	// The oldest that is kept is the youngest that is old enough.
	for len(r.at) > 2 && now.Sub(r.at[1]) >= countedFor {
		r.at, r.figures = slices.Delete(r.at, 0, 1), slices.Delete(r.figures, 0, 1)
	}
	then, seconds := r.figures[0], now.Sub(r.at[0]).Seconds()
	if seconds <= 0 {
		return
	}
	l.Rate = float64(f.Frames-then.Frames) / seconds
	l.Looks = float64(f.Looks-then.Looks) / seconds
	if looks := f.Looks - then.Looks; looks > 0 {
		l.Millis = (f.LookTime - then.LookTime).Seconds() * 1000 / float64(looks)
	}
	l.Outcomes = map[string]uint64{}
	for _, o := range camera.Outcomes() {
		if n := f.Of(o) - then.Of(o); n > 0 {
			l.Outcomes[o.String()] = n
		}
	}
}
