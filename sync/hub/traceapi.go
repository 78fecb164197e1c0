package hub

import (
	"context"
	"net/http"
)

// serveTrace is POST /v1/trace: progress while it reads, then what was found,
// what cannot be told, and the report without them.
func (h *Hub) serveTrace(w http.ResponseWriter, r *http.Request) {
	in, ok := request[TraceRequest](w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := newLines(w)
	w.Header().Set("Cache-Control", "no-store")
	report, err := h.Trace(ctx, in, func(p TraceProgress) {
		if err := out.write(streamed{Progress: &p}, true); err != nil {
			cancel() // nobody listens any more
		}
	})
	if err != nil {
		out.fail(h, w, "trace", err)
		return
	}
	passages, untold := report.Passages, report.Untold
	report.Passages, report.Untold = nil, nil
	for i := range passages {
		if err == nil {
			err = out.write(streamed{Traced: &passages[i]}, false)
		}
	}
	for i := range untold {
		if err == nil {
			err = out.write(streamed{Untold: &untold[i]}, false)
		}
	}
	if err == nil {
		err = out.write(streamed{Trace: &report}, false)
	}
	if err == nil {
		err = out.write(streamed{End: true}, true)
	}
	if err != nil {
		h.log.Warn("trace not read to its end", "err", err)
	}
}

// Trace finds out where a code passed; see [Hub.Trace].
func (c *Client) Trace(ctx context.Context, r TraceRequest, progress func(TraceProgress)) (TraceReport, error) {
	var out TraceReport
	whole := false
	for line, err := range stream(ctx, c, "trace", r) {
		switch {
		case err != nil:
			return TraceReport{}, err
		case line.Progress != nil:
			progress(*line.Progress)
		case line.Traced != nil:
			out.Passages = append(out.Passages, *line.Traced)
		case line.Untold != nil:
			out.Untold = append(out.Untold, *line.Untold)
		case line.Trace != nil:
			passages, untold := out.Passages, out.Untold
			out, whole = *line.Trace, true
			out.Passages, out.Untold = passages, untold
		}
	}
	if !whole {
		return TraceReport{}, ErrCut
	}
	return out, nil
}
