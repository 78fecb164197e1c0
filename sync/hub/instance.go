package hub

import (
	"net/http"
	"regexp"
	"slices"
)

const (
	// instanceHeader carries a word of the one run of a gate's program, which it
	// makes anew at each start and keeps in memory alone.
	instanceHeader = "Greengate-Instance"
	// maxInstances is how many runs of one gate are remembered. Two devices in
	// turns need two; one that is started again and again fills the rest.
	maxInstances = 8
)

var instancePattern = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// cloned is what the operator is told.
var cloned = wording{"two devices speak with this gate's identity in turns: somebody has copied its card", "两台设备轮流使用该闸机的身份：其存储卡被人复制"}

// instance notes which run of the gate's program speaks. A run that another has
// followed never speaks again, unless both run: on two devices, which the copy of
// a card made. This is seen at the third contact, before either has written a
// passage.
func (h *Hub) instance(r *http.Request, id string) string {
	word := r.Header.Get(instanceHeader)
	if !instancePattern.MatchString(word) {
		return ""
	}
	if h.fleet.instance(id, word) {
		if err := h.raise(r.Context(), id, AlarmFork, cloned); err != nil {
			h.log.Error("copied gate not reported", "gate", id, "err", err)
		}
	}
	return word
}

// instance notes the run that spoke last, and reports whether it is one that
// another had followed already.
func (f *fleet) instance(id, word string) (returned bool) {
	if word == "" {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.get(id)
	switch at := slices.Index(g.instances, word); at {
	case len(g.instances) - 1:
		if at >= 0 {
			return false
		}
	case -1:
	default:
		returned = true
		g.instances = slices.Delete(g.instances, at, at+1)
	}
	g.instances = append(g.instances, word)
	if extra := len(g.instances) - maxInstances; extra > 0 {
		g.instances = slices.Delete(g.instances, 0, extra)
	}
	return returned
}
