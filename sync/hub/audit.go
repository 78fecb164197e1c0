package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// AuditLine is one line of the audit trail: who did what to what. It stays for
// as long as the hub does, and nothing here changes or removes one.
type AuditLine struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Op     string    `json:"op"`
	Object string    `json:"object"`
	// Reason is why, in the words of who did it, where the operation asks for it.
	Reason string `json:"reason,omitempty"`
}

// AuditRequest names lines to read; empty fields name all.
type AuditRequest struct {
	// Since is the first day, as 2020-02-17 in the operator's time.
	Since string `json:"since,omitempty"`
	// Op is one operation, as "trace".
	Op string `json:"op,omitempty"`
}

const (
	// auditApart is how far the clocks of hubs and nodes may be apart: a line is
	// stamped by the hub that wrote it, and found by when its node stored it.
	auditApart = time.Hour
	// auditAhead is how many lines are on their way from the storage at a time.
	auditAhead = 256
)

// audit writes who did what to the audit trail and the log. Neither is told a name.
func (h *Hub) audit(ctx context.Context, by, op, object string) error {
	return h.auditWhy(ctx, by, op, object, "")
}

// auditWhy is audit with a reason. That is a person's own words, so it stands in
// the trail and not in the log.
func (h *Hub) auditWhy(ctx context.Context, by, op, object, reason string) error {
	line := AuditLine{At: h.options.Now().UTC(), By: by, Op: op, Object: object, Reason: reason}
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := h.store.js.Publish(ctx, auditSubject, data); err != nil {
		return fmt.Errorf("audit %s %s: %w", op, object, err)
	}
	h.log.Info("audit", "op", op, "object", object, "by", by)
	return nil
}

// Audit reads the audit trail, the oldest line first.
func (h *Hub) Audit(ctx context.Context, r AuditRequest) iter.Seq2[AuditLine, error] {
	return func(yield func(AuditLine, error) bool) {
		fail := func(err error) { yield(AuditLine{}, fmt.Errorf("audit trail: %w", err)) }
		var since time.Time
		config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
		if r.Since != "" {
			var err error
			if since, err = time.ParseInLocation(time.DateOnly, r.Since, h.options.Location); err != nil {
				yield(AuditLine{}, invalid("day %.20q: want it as 2020-02-17", r.Since))
				return
			}
			from := since.Add(-auditApart)
			config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
		}
		if !validText(r.Op, 0, 64) {
			yield(AuditLine{}, invalid("op: want up to 64 bytes of text"))
			return
		}
		c, err := h.store.js.OrderedConsumer(ctx, auditStream, config)
		if err != nil {
			fail(err)
			return
		}
		info, err := c.Info(ctx)
		if err != nil {
			fail(err)
			return
		}
		messages, err := c.Messages(jetstream.PullMaxMessages(auditAhead))
		if err != nil {
			fail(err)
			return
		}
		defer messages.Stop()
		for range info.NumPending {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				fail(cmp.Or(ctx.Err(), err))
				return
			}
			var l AuditLine
			if err := json.Unmarshal(m.Data(), &l); err != nil {
				fail(err)
				return
			}
			if l.At.Before(since) || r.Op != "" && l.Op != r.Op {
				continue
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// serveAudit is POST /v1/audit.
func (h *Hub) serveAudit(w http.ResponseWriter, r *http.Request) {
	in, ok := request[AuditRequest](w, r)
	if !ok {
		return
	}
	out := newLines(w)
	for l, err := range h.Audit(r.Context(), in) {
		if err != nil {
			out.fail(h, w, "audit", err)
			return
		}
		if err := out.write(streamed{Audit: &l}, false); err != nil {
			h.log.Warn("audit trail not read to its end", "err", err)
			return
		}
	}
	if err := out.write(streamed{End: true}, true); err != nil {
		h.log.Warn("audit trail not read to its end", "err", err)
	}
}

// Audit reads the audit trail, the oldest line first. An error is the last that
// comes; without one, it was all.
func (c *Client) Audit(ctx context.Context, r AuditRequest) iter.Seq2[AuditLine, error] {
	return func(yield func(AuditLine, error) bool) {
		for line, err := range stream(ctx, c, "audit", r) {
			if err != nil {
				yield(AuditLine{}, err)
				return
			}
			if line.Audit != nil && !yield(*line.Audit, nil) {
				return
			}
		}
	}
}
