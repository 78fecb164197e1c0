package main

import (
	"fmt"
	"net/http"
	"time"

	"greengate/cmd/control"
)

// refused says what the hub answered in place of taking what it was sent, and
// when it is asked again.
func refused(s control.Status) string {
	r := s.Upload.Refusal
	word := r.Word
	if word == "" {
		word = "no reason given"
	}
	text := fmt.Sprintf("%s ago with status %d: %s", s.Time.Sub(r.At).Round(time.Second), r.Status, word)
	if r.Record > 0 {
		text += fmt.Sprintf(", record %d", r.Record)
	}
	if r.Expected > 0 {
		text += fmt.Sprintf(", the hub expects record %d", r.Expected)
	}
	if next := s.Upload.NextTry; next.After(s.Time) {
		text += fmt.Sprintf("; again in %s", next.Sub(s.Time).Round(time.Second))
	}
	return text
}

// nextStep says what a technician can do about a refusal.
func nextStep(gate string, r control.RefusalStatus) string {
	switch {
	case r.Status == http.StatusUnauthorized:
		return "the hub saw no certificate: does something between gate and hub end TLS?"
	case r.Status == http.StatusForbidden && r.Word == "not this gate's batch":
		return fmt.Sprintf("the journal is not of this identity: `gatehub breaks -gate %s` at the hub shows what was sent; was the identity or the card exchanged?", gate)
	case r.Status == http.StatusForbidden && r.Word != "":
		return fmt.Sprintf("is the gate revoked, or its certificate ended or replaced? `gatehub gate list` at the hub says so; `gatehub gate invite -replace %s` there and `gatectl enrol` here make it one again", gate)
	case r.Status == http.StatusForbidden, r.Status == http.StatusBadGateway, r.Status == http.StatusGatewayTimeout, r.Status == http.StatusProxyAuthRequired:
		return "this is not how a hub answers: look at the proxy between gate and hub (HTTPS_PROXY)"
	case r.Status == http.StatusConflict && r.Word == "gap":
		return fmt.Sprintf("the hub has less than it acknowledged: was it restored from an older copy? `gatehub verify %s` at the hub shows what is there", gate)
	case r.Status == http.StatusConflict:
		return fmt.Sprintf("the hub holds another history of this gate: is there a second device with this identity, or did the journal begin anew? `gatehub breaks -gate %s` at the hub shows both", gate)
	case r.Status == http.StatusBadRequest, r.Status == http.StatusRequestEntityTooLarge, r.Status == http.StatusUnprocessableEntity:
		return "none at the gate: a record that is refused again is set aside and the others go on; are gate and hub of one version?"
	case r.Status == http.StatusServiceUnavailable && r.Word == "storage away":
		return "none at the gate, which tries again: `gatehub node list` at the hub shows what its storage lacks"
	case r.Status == http.StatusServiceUnavailable, r.Status == http.StatusTooManyRequests:
		return "none: the hub is busy, and the gate tries again"
	case r.Status >= http.StatusInternalServerError:
		return "none at the gate, which tries again: the hub's log says why"
	}
	return "this is not how a hub answers: is the hub's address right?"
}
