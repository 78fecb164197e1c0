package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"greengate/gate/passage"
)

// History is where a gate's stored history ends. A device that begins with an
// empty journal under a name that was used before goes on behind it: the sequence
// of a passage and the number of a segment never return.
type History struct {
	// Last is the last sequence stored, 0 for none, and Head the gate's chain with it.
	Last uint64 `json:"last"`
	Head []byte `json:"head"`
	// Segment is the highest segment number of a stored record or key.
	Segment uint64 `json:"segment"`
}

// history reads where a gate's history ends; nil where it has none.
func (h *Hub) history(ctx context.Context, id string) (*History, error) {
	genesis := passage.Genesis(id)
	out := &History{Head: genesis[:]}
	m, err := h.store.passages.GetLastMsgForSubject(ctx, passagesPrefix+id)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
	case err != nil:
		return nil, fmt.Errorf("last passages of gate %s: %w", id, err)
	default:
		s, err := parseStored(id, m.Header, m.Data, m.Sequence, m.Time)
		if err != nil {
			return nil, err
		}
		head := s.batch.Head()
		out.Last, out.Head = s.batch.Last(), head[:]
		// They rise within a gate's history.
		out.Segment = s.batch.Entries[len(s.batch.Entries)-1].Segment
	}
	// A key may be there whose records never came.
	info, err := h.store.keys.Info(ctx, jetstream.WithSubjectFilter(keySubjects(id)))
	if err != nil {
		return nil, fmt.Errorf("keys of gate %s: %w", id, err)
	}
	for subject := range info.State.Subjects {
		n, err := strconv.ParseUint(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("keys of gate %s: subject %q: %w", id, subject, err)
		}
		out.Segment = max(out.Segment, n)
	}
	if out.Last == 0 && out.Segment == 0 {
		return nil, nil
	}
	return out, nil
}

// handleHistory tells a gate where its history ends; null where it has none.
func (h *Hub) handleHistory(w http.ResponseWriter, r *http.Request) {
	cert := shown(r)
	if cert == nil {
		answer(w, http.StatusUnauthorized, errorAnswer{Error: "certificate needed"})
		return
	}
	id, _, ok := h.caller(w, r, cert)
	if !ok {
		return
	}
	switch at, err := h.history(r.Context(), id); {
	case err == nil:
		answer(w, http.StatusOK, at)
	case isAway(err):
		h.log.Warn("history not told", "gate", id, "err", err)
		answerAway(w)
	default:
		h.log.Error("history not told", "gate", id, "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
	}
}
