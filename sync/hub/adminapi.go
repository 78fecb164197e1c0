package hub

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxAdminRequest bounds a request: a map of all counties has 60 KB.
	maxAdminRequest = 1 << 20
	// maxAdminAnswer bounds an answer: 1,000 passages have about 400 KB.
	maxAdminAnswer = 16 << 20
)

// adminServer answers on the unix socket. Whoever may open the socket is the
// operator: its mode is 0600, in a folder of mode 0700.
func (h *Hub) adminServer() *http.Server {
	ended := make(chan struct{})
	s := &http.Server{
		Handler:           h.adminHandler(ended),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
	}
	s.RegisterOnShutdown(func() { close(ended) })
	return s
}

// adminHandler has one POST for each operation, with JSON in and out. What goes
// on by itself ends when ended is closed.
func (h *Hub) adminHandler(ended <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	op(h, mux, "declare", h.Declare)
	op(h, mux, "declaration", h.Declaration)
	op(h, mux, "declarations", h.Declarations)
	op(h, mux, "review", h.Review)
	op(h, mux, "issue", h.Issue)
	op(h, mux, "recolour", h.Recolour)
	op(h, mux, "revoke", h.Revoke)
	op(h, mux, "enterprise-add", h.AddEnterprise)
	op(h, mux, "enterprises", bare(h.Enterprises))
	op(h, mux, "permit-issue", h.IssuePermit)
	op(h, mux, "gate-add", h.AddGate)
	op(h, mux, "gate-invite", h.InviteGate)
	op(h, mux, "gate-revoke", act(h.RevokeGate))
	op(h, mux, "gate-wipe", act(h.WipeGate))
	op(h, mux, "gates", bare(h.Gates))
	op(h, mux, "alarms", bare(h.Alarms))
	op(h, mux, "alarm-clear", act(h.ClearAlarm))
	op(h, mux, "policy", h.Policy)
	op(h, mux, "policy-set", act(h.SetPolicy))
	mux.HandleFunc("POST /v1/policy-try", h.serveTrial)
	op(h, mux, "map", bare(h.Map))
	op(h, mux, "map-set", act(h.SetMap))
	op(h, mux, "province-add", act(h.AddProvince))
	op(h, mux, "offline-contents", bare(h.OfflineContents))
	mux.HandleFunc("POST /v1/revocation-set", h.serveSetRevocation)
	op(h, mux, "revocation-drop", h.DropRevocation)
	op(h, mux, "revocations", bare(h.Revocations))
	op(h, mux, "publish", bare(h.Publish))
	op(h, mux, "lists", bare(h.Lists))
	op(h, mux, "nodes", bare(h.Nodes))
	op(h, mux, "breaks", h.Breaks)
	op(h, mux, "retention", bare(h.Retention))
	op(h, mux, "retention-set", act(h.SetRetention))
	op(h, mux, "passages", h.Passages)
	mux.HandleFunc("POST /v1/export", h.serveExport)
	mux.HandleFunc("POST /v1/trace", h.serveTrace)
	mux.HandleFunc("POST /v1/audit", h.serveAudit)
	mux.HandleFunc("POST /v1/tail", h.serveTail(ended))
	op(h, mux, "index", h.Index)
	op(h, mux, "verify", h.Verify)
	op(h, mux, "unseal-counts", h.UnsealCounts)
	return mux
}

// bare makes an operation of a method that asks nothing.
func bare[Answer any](f func(context.Context) (Answer, error)) func(context.Context, None) (Answer, error) {
	return func(ctx context.Context, _ None) (Answer, error) { return f(ctx) }
}

// act makes an operation of a method that answers nothing.
func act[Request any](f func(context.Context, Request) error) func(context.Context, Request) (None, error) {
	return func(ctx context.Context, r Request) (None, error) { return None{}, f(ctx, r) }
}

// op serves one operation.
func op[Request, Answer any](h *Hub, mux *http.ServeMux, name string, f func(context.Context, Request) (Answer, error)) {
	mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminRequest))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			answer(w, http.StatusRequestEntityTooLarge, apiError{Error: "request is too large", Kind: "invalid"})
			return
		}
		if err != nil {
			answer(w, http.StatusBadRequest, apiError{Error: "request was cut off", Kind: "invalid"})
			return
		}
		var in Request
		if err := decodeStrict(data, &in); err != nil {
			answer(w, http.StatusBadRequest, apiError{Error: "request: " + err.Error(), Kind: "invalid"})
			return
		}
		out, err := f(r.Context(), in)
		h.conclude(w, name, out, err)
	})
}

// conclude answers what came of an operation.
func (h *Hub) conclude(w http.ResponseWriter, name string, out any, err error) {
	if err == nil {
		answer(w, http.StatusOK, out)
		return
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			answer(w, k.status, apiError{Error: err.Error(), Kind: k.word})
			return
		}
	}
	h.log.Error("operation failed", "op", name, "err", err)
	answer(w, http.StatusInternalServerError, apiError{Error: err.Error()})
}
