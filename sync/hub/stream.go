package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"greengate/gate"
)

// ExportRequest names the records to read; empty fields name all.
type ExportRequest struct {
	Gate string `json:"gate,omitempty"`
	// From and To are days as 2020-02-17 in the operator's time, both included.
	// A record counts by its own time, and by when it was received where the
	// gate's clock was not set.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	By   string `json:"by,omitempty"`
}

// TailRequest names the records to follow; empty fields name all.
type TailRequest struct {
	Gate   string      `json:"gate,omitempty"`
	Reason gate.Reason `json:"reason,omitempty"`
}

const (
	// tailQueue is how many batches wait for one tail, of 1 MiB at most each.
	tailQueue = 32
	// streamLine is how long the reader of a stream may take for what was written.
	streamLine = 30 * time.Second
	// maxStreamLine bounds one line: a record has less than 4 KB.
	maxStreamLine = 64 << 10
)

// streamed is one line of an answer that is read while it comes. An answer that
// ends without End was cut.
type streamed struct {
	Passage *Passage   `json:"passage,omitempty"`
	Audit   *AuditLine `json:"audit,omitempty"`
	// Progress, Traced, Untold and Trace are of a trace; the last comes without its lists.
	Progress *TraceProgress `json:"progress,omitempty"`
	Traced   *TracedPassage `json:"traced,omitempty"`
	Untold   *Untold        `json:"untold,omitempty"`
	Trace    *TraceReport   `json:"trace,omitempty"`
	// LeftOut counts the batches that a tail was too slow for.
	LeftOut uint64    `json:"left_out,omitempty"`
	Error   *apiError `json:"error,omitempty"`
	End     bool      `json:"end,omitempty"`
}

// export reads what a request names, gate by gate, each in order.
func (h *Hub) export(ctx context.Context, r ExportRequest) iter.Seq2[Passage, error] {
	return func(yield func(Passage, error) bool) {
		for _, day := range []string{r.From, r.To} {
			if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
				yield(Passage{}, invalid("day %.20q: want it as 2020-02-17", day))
				return
			}
		}
		ids := []string{r.Gate}
		if r.Gate == "" {
			all, err := h.Gates(ctx)
			if err != nil {
				yield(Passage{}, err)
				return
			}
			ids = ids[:0]
			for _, g := range all {
				ids = append(ids, g.Gate)
			}
		} else if _, err := h.gate(ctx, r.Gate); err != nil {
			yield(Passage{}, err)
			return
		}
		if err := h.audit(ctx, r.By, "export", fmt.Sprintf("gate %q from %q to %q", r.Gate, r.From, r.To)); err != nil {
			yield(Passage{}, err)
			return
		}
		for _, id := range ids {
			for p, err := range h.All(ctx, id, 0) {
				if err != nil {
					yield(Passage{}, err)
					return
				}
				at := p.At
				if p.Tombstone || p.Clock == gate.ClockUnset.String() {
					at = p.Received
				}
				day := h.fleet.day(at)
				if r.From != "" && day < r.From || r.To != "" && day > r.To {
					continue
				}
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// lines writes an answer line by line, and gives up on a reader that does not read.
type lines struct {
	rc   *http.ResponseController
	enc  *json.Encoder
	sent bool
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/jsonl")
	return &lines{rc: http.NewResponseController(w), enc: json.NewEncoder(w)}
}

func (l *lines) write(v streamed, flush bool) error {
	if !l.sent {
		// The request is read; what watches for the reader to go has no deadline.
		if err := l.rc.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
	if err := l.rc.SetWriteDeadline(time.Now().Add(streamLine)); err != nil {
		return err
	}
	l.sent = true
	if err := l.enc.Encode(v); err != nil || !flush {
		return err
	}
	return l.rc.Flush()
}

// fail answers an error: as every operation does where nothing was written yet,
// else as the last line. Whoever is gone cannot be told, and who is not sees
// that the end is missing.
func (l *lines) fail(h *Hub, w http.ResponseWriter, op string, err error) {
	if !l.sent {
		h.conclude(w, op, nil, err)
		return
	}
	e := apiError{Error: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			e.Kind = k.word
		}
	}
	if e.Kind == "" && !errors.Is(err, context.Canceled) {
		h.log.Error("answer ended early", "op", op, "err", err)
	}
	if err := l.write(streamed{Error: &e}, true); err != nil {
		h.log.Debug("answer not read to its end", "op", op, "err", err)
	}
}

// request reads the JSON of a streamed operation.
func request[Request any](w http.ResponseWriter, r *http.Request) (in Request, ok bool) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminRequest))
	if err == nil {
		err = decodeStrict(data, &in)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, apiError{Error: "request: " + err.Error(), Kind: "invalid"})
	}
	return in, err == nil
}

// serveExport answers with all that was asked for.
func (h *Hub) serveExport(w http.ResponseWriter, r *http.Request) {
	in, ok := request[ExportRequest](w, r)
	if !ok {
		return
	}
	if err := checkBy(in.By); err != nil {
		h.conclude(w, "export", nil, err)
		return
	}
	out := newLines(w)
	for p, err := range h.export(r.Context(), in) {
		if err != nil {
			out.fail(h, w, "export", err)
			return
		}
		if err := out.write(streamed{Passage: &p}, false); err != nil {
			h.log.Warn("export not read to its end", "err", err)
			return
		}
	}
	if err := out.write(streamed{End: true}, true); err != nil {
		h.log.Warn("export not read to its end", "err", err)
	}
}

// serveTail answers with what is stored from now on, until the reader goes or
// ended is closed. A reader that is too slow is told how many batches it missed;
// nobody waits for it.
func (h *Hub) serveTail(ended <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in, ok := request[TailRequest](w, r)
		if !ok {
			return
		}
		if in.Gate != "" {
			if _, err := h.gate(r.Context(), in.Gate); err != nil {
				h.conclude(w, "tail", nil, err)
				return
			}
		}
		queue := make(chan stored, tailQueue)
		var missed atomic.Uint64
		stop := h.follow.listen(func(s stored) {
			if in.Gate != "" && s.batch.Gate != in.Gate {
				return
			}
			select {
			case queue <- s:
			default:
				missed.Add(1)
			}
		})
		defer stop()
		out := newLines(w)
		// The first line says that it listens.
		err := out.write(streamed{}, true)
		for err == nil {
			select {
			case <-r.Context().Done():
				return
			case <-ended:
				if err := out.write(streamed{End: true}, true); err != nil {
					h.log.Debug("tail not read to its end", "err", err)
				}
				return
			case s := <-queue:
				for _, p := range s.records() {
					if in.Reason != "" && p.Reason != in.Reason {
						continue
					}
					if err = out.write(streamed{Passage: &p}, false); err != nil {
						break
					}
				}
				if n := missed.Swap(0); n > 0 && err == nil {
					err = out.write(streamed{LeftOut: n}, false)
				}
				if err == nil {
					err = out.rc.Flush()
				}
			}
		}
		h.log.Info("tail ended", "err", err)
	}
}

// ErrCut: an answer ended before its end.
var ErrCut = errors.New("the answer was cut off")

// stream asks for an operation that answers line by line.
func stream[Request any](ctx context.Context, c *Client, op string, in Request) iter.Seq2[streamed, error] {
	return func(yield func(streamed, error) bool) {
		fail := func(err error) { yield(streamed{}, fmt.Errorf("hub %s: %w", op, err)) }
		body, err := json.Marshal(in)
		if err != nil {
			fail(err)
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/v1/"+op, bytes.NewReader(body))
		if err != nil {
			fail(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		// It may take hours: what it takes too long for is the hub's to say, line by line.
		long := http.Client{Transport: c.http.Transport}
		resp, err := long.Do(req)
		if err != nil {
			fail(err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			data, err := io.ReadAll(io.LimitReader(resp.Body, maxStreamLine))
			var e apiError
			if err != nil || json.Unmarshal(data, &e) != nil || e.Error == "" {
				fail(fmt.Errorf("answered %s", resp.Status))
				return
			}
			yield(streamed{}, e.remote())
			return
		}
		dec := json.NewDecoder(resp.Body)
		for {
			var line streamed
			err := dec.Decode(&line)
			switch {
			case err != nil:
				fail(errors.Join(ErrCut, err))
				return
			case line.Error != nil:
				yield(streamed{}, line.Error.remote())
				return
			case line.End:
				return
			case !yield(line, nil):
				return
			}
		}
	}
}

// Export reads all records that a request names, each gate's in order. An error
// is the last that comes; without one, it was all.
func (c *Client) Export(ctx context.Context, r ExportRequest) iter.Seq2[Passage, error] {
	return func(yield func(Passage, error) bool) {
		for line, err := range stream(ctx, c, "export", r) {
			if err != nil {
				yield(Passage{}, err)
				return
			}
			if line.Passage != nil && !yield(*line.Passage, nil) {
				return
			}
		}
	}
}

// Tail calls each with every record that is stored from now on, and missed with
// how many batches were left out because each was too slow. It returns nil when
// ctx or the hub ends, and what a function returned.
func (c *Client) Tail(ctx context.Context, r TailRequest, ready func(), each func(Passage) error, missed func(batches uint64) error) error {
	for line, err := range stream(ctx, c, "tail", r) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		switch {
		case line.Passage != nil:
			err = each(*line.Passage)
		case line.LeftOut > 0:
			err = missed(line.LeftOut)
		default:
			ready()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
