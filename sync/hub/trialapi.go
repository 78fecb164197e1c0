package hub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A trial takes minutes where a province's day is long, and a person waits: the
// answer is one JSON value a line, progress first and the report last.

const (
	// trialLine is how long one line may take to be written: whoever reads it may be gone.
	trialLine = 30 * time.Second
	// maxTrialLine bounds a line, in bytes: one gate has some thousand at most.
	maxTrialLine = 1 << 20
)

// trialMessage is one line of the answer, with one of its fields.
type trialMessage struct {
	Progress *TrialProgress `json:"progress,omitempty"`
	// Gate is one gate of the report, which comes without its gates.
	Gate   *TrialCounts `json:"gate,omitempty"`
	Report *TrialReport `json:"report,omitempty"`
	Error  *apiError    `json:"error,omitempty"`
}

// serveTrial is POST /v1/policy-try.
func (h *Hub) serveTrial(w http.ResponseWriter, r *http.Request) {
	var in TrialRequest
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2*maxAdminRequest))
	if err == nil {
		err = decodeStrict(data, &in)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, apiError{Error: "request: " + err.Error(), Kind: "invalid"})
		return
	}
	c := http.NewResponseController(w)
	// The server's deadline for a request would end the wait for the end of the
	// connection, which tells that nobody listens any more.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		answer(w, http.StatusInternalServerError, apiError{Error: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	say := func(m trialMessage) {
		// The server's own deadline is for one short answer.
		err := c.SetWriteDeadline(time.Now().Add(trialLine))
		if err == nil {
			err = json.NewEncoder(w).Encode(m)
		}
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			cancel() // nobody listens any more
		}
	}
	report, err := h.TryPolicy(ctx, in, func(p TrialProgress) { say(trialMessage{Progress: &p}) })
	if err != nil {
		e := apiError{Error: err.Error()}
		for _, k := range kinds {
			if errors.Is(err, k.err) {
				e.Kind = k.word
			}
		}
		if e.Kind == "" && ctx.Err() == nil {
			h.log.Error("operation failed", "op", "policy-try", "err", err)
		}
		say(trialMessage{Error: &e})
		return
	}
	for i := range report.Gates {
		say(trialMessage{Gate: &report.Gates[i]})
	}
	report.Gates = nil
	say(trialMessage{Report: &report})
}

// TryPolicy judges the decisions of a window again; see [Hub.TryPolicy].
func (c *Client) TryPolicy(ctx context.Context, r TrialRequest, progress func(TrialProgress)) (TrialReport, error) {
	fail := func(err error) (TrialReport, error) { return TrialReport{}, fmt.Errorf("hub policy-try: %w", err) }
	body, err := json.Marshal(r)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/v1/policy-try", bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/json")
	// No time is set for the whole: it takes as long as the day was busy.
	patient := *c.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	var gates []TrialCounts
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxTrialLine)
	for lines.Scan() {
		var m trialMessage
		if resp.StatusCode != http.StatusOK {
			m.Error = new(apiError)
			err = json.Unmarshal(lines.Bytes(), m.Error)
		} else {
			err = json.Unmarshal(lines.Bytes(), &m)
		}
		switch {
		case err != nil:
			return fail(fmt.Errorf("answer: %w", err))
		case m.Error != nil:
			return TrialReport{}, m.Error.remote()
		case m.Progress != nil:
			progress(*m.Progress)
		case m.Gate != nil:
			gates = append(gates, *m.Gate)
		case m.Report != nil:
			m.Report.Gates = gates
			return *m.Report, nil
		}
	}
	if err := lines.Err(); err != nil {
		return fail(err)
	}
	return fail(io.ErrUnexpectedEOF)
}
