package camera

import "time"

// What makes a picture hopeless. The limits are far from what can be read: on
// the way there a picture is looked at in vain and the technician hears of it.
const (
	// leastContrast in levels: a code with less drowns in a camera's noise.
	leastContrast = 12
	// darkMean and brightMean say why there is no contrast.
	darkMean, brightMean = 64, 192
	// leastSharpness in percent: below, no code that fits the picture has edges.
	leastSharpness = 14
	// againHopeless is how long no picture of a row of hopeless ones is looked at:
	// should the limits be wrong somewhere, that gate is slow and not blind.
	againHopeless = time.Second
)

// exposure spares the eye pictures in which no code can be read.
type exposure struct {
	looked time.Time // when a hopeless one was last looked at
}

// spares reports whether a picture need not be looked at, and why.
func (e *exposure) spares(g *glance, at time.Time) (Outcome, bool) {
	o, ok := g.hopeless()
	if !ok {
		return 0, false
	}
	if since := at.Sub(e.looked); since < 0 || since >= againHopeless {
		e.looked = at
		return 0, false
	}
	return o, true
}

// hopeless says why no code can be read in the picture, if that is so.
func (g *glance) hopeless() (Outcome, bool) {
	switch {
	case !g.seen:
		return 0, false
	case g.Contrast < leastContrast && g.Mean < darkMean:
		return TooDark, true
	case g.Contrast < leastContrast && g.Mean > brightMean:
		return TooBright, true
	case g.Contrast < leastContrast:
		return Featureless, true
	case g.Sharpness < leastSharpness:
		return Blurred, true
	}
	return 0, false
}
