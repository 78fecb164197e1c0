package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"greengate/gate/wipe"
)

// wipeHeader carries an order to wipe, in base64, with whatever the hub answers.
const wipeHeader = "Greengate-Wipe"

// maxWiped bounds what a gate says of its wiping.
const maxWiped = 256

// wipeRecord is the order to destroy what a gate holds.
type wipeRecord struct {
	// Certificates are the SHA-256 of those that the device may show: all that
	// the gate had when the order was given. An identity that it gets later is
	// another device's, or this one's after it was wiped.
	Certificates [][]byte  `json:"certificates"`
	At           time.Time `json:"at"`
	By           string    `json:"by"`
	// Done is when the gate said that all but its key was destroyed, and Unsent
	// how many records went with it that were never sent.
	Done   time.Time `json:"done,omitzero"`
	Unsent uint64    `json:"unsent,omitempty"`
}

// WipeStatus is how far an order to wipe has come.
type WipeStatus struct {
	Ordered time.Time `json:"ordered"`
	By      string    `json:"by"`
	// Done is when the gate reported that all but its key was destroyed; zero
	// while it has not. Unsent counts the records that were lost with it.
	Done   time.Time `json:"done,omitzero"`
	Unsent uint64    `json:"unsent,omitempty"`
	// Former: the order is for a device that this gate's identity was taken from.
	Former bool `json:"former,omitempty"`
}

// WipeRequest orders a gate to destroy what it holds, or takes that back.
type WipeRequest struct {
	Gate string `json:"gate"`
	// Cancel takes back an order that was not carried out yet.
	Cancel bool   `json:"cancel,omitempty"`
	By     string `json:"by"`
}

// toWipe reports whether the device with this certificate is to be wiped still.
func (g gateRecord) toWipe(der []byte) bool {
	if g.Wipe == nil || !g.Wipe.Done.IsZero() {
		return false
	}
	return g.Wipe.names(der)
}

// names reports whether the order is for the device with this certificate.
func (w *wipeRecord) names(der []byte) bool {
	sum := digest(der)
	return slices.ContainsFunc(w.Certificates, func(c []byte) bool { return bytes.Equal(c, sum) })
}

func (g gateRecord) wipeStatus() *WipeStatus {
	if g.Wipe == nil {
		return nil
	}
	return &WipeStatus{Ordered: g.Wipe.At, By: g.Wipe.By, Done: g.Wipe.Done, Unsent: g.Wipe.Unsent, Former: !g.Wipe.names(g.Certificate)}
}

// WipeGate orders the device that has this gate's identity to destroy its
// passages, lists, PINs and key, once it has tried to send what it still has.
// Until then the gate goes on, unless it is revoked too. The order waits for the
// gate to make contact.
func (h *Hub) WipeGate(ctx context.Context, r WipeRequest) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	if !gatePattern.MatchString(r.Gate) {
		return invalid("gate %.80q", r.Gate)
	}
	op := "gate-wipe"
	if r.Cancel {
		op = "gate-wipe-cancel"
	}
	// The trail first: a gate may obey at once.
	if err := h.audit(ctx, r.By, op, r.Gate); err != nil {
		return err
	}
	_, _, err := update(ctx, h.store.registry, "gate."+r.Gate, func(g *gateRecord) error {
		switch {
		case !r.Cancel:
			g.Wipe = &wipeRecord{At: h.options.Now().UTC(), By: r.By}
			for _, der := range append(slices.Clone(g.others()), g.Certificate) {
				g.Wipe.Certificates = append(g.Wipe.Certificates, digest(der))
			}
		case g.Wipe == nil:
			return fmt.Errorf("gate %s: %w: no order to wipe it", r.Gate, ErrNotFound)
		case !g.Wipe.Done.IsZero():
			return fmt.Errorf("gate %s: %w: it was wiped at %s", r.Gate, ErrConflict, g.Wipe.Done.Format(time.DateTime))
		default:
			g.Wipe = nil
		}
		return nil
	})
	return err
}

// tellWipe puts the order for the device with this certificate, where there is
// one, on the answer. It is signed for each contact, and so is never old.
func (h *Hub) tellWipe(w http.ResponseWriter, id string, g gateRecord, cert *x509.Certificate) error {
	if !g.toWipe(cert.Raw) {
		return nil
	}
	order, err := wipe.Order{Gate: id, Certificate: sha256.Sum256(cert.Raw), Issued: h.options.Now()}.Sign(h.ca.key)
	if err != nil {
		return err
	}
	w.Header().Set(wipeHeader, base64.StdEncoding.EncodeToString(order))
	return nil
}

// wiped is what a gate says when it has destroyed all but its key.
type wiped struct {
	// Unsent counts the records that the hub never got.
	Unsent uint64 `json:"unsent"`
}

// handleWiped hears of a gate that it has obeyed. Whatever certificate the
// order names may say so, revoked or ended: it is the last that it says.
func (h *Hub) handleWiped(w http.ResponseWriter, r *http.Request) {
	cert := shown(r)
	if cert == nil {
		answer(w, http.StatusUnauthorized, errorAnswer{Error: "certificate needed"})
		return
	}
	w.Header().Set("Connection", "close")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWiped))
	var said wiped
	if err == nil {
		err = decodeStrict(body, &said)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, errorAnswer{Error: "malformed"})
		return
	}
	id := cert.Subject.CommonName
	switch err := h.wiped(r.Context(), id, cert.Raw, said.Unsent); {
	case err == nil:
		h.log.Info("gate wiped", "gate", id, "unsent", said.Unsent)
		answer(w, http.StatusOK, timeAnswer{Time: h.options.Now().UTC()})
	case errors.Is(err, errRevoked), errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
		h.log.Warn("gate says it is wiped, and nobody ordered it", "gate", id)
		answer(w, http.StatusForbidden, errorAnswer{Error: "forbidden"})
	case isAway(err), errors.Is(err, ErrConflict):
		answerAway(w)
	default:
		h.log.Error("wiped gate not noted", "gate", id, "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
	}
}

// wiped notes that the device with this certificate has obeyed, and takes that
// certificate for nothing from then on.
func (h *Hub) wiped(ctx context.Context, id string, der []byte, unsent uint64) error {
	if !gatePattern.MatchString(id) {
		return invalid("gate %.80q", id)
	}
	_, _, err := update(ctx, h.store.registry, "gate."+id, func(g *gateRecord) error {
		switch {
		case g.Wipe == nil || !g.Wipe.names(der):
			return errRevoked
		case !g.Wipe.Done.IsZero():
			return errSame // the answer was lost
		}
		g.Wipe.Done, g.Wipe.Unsent = h.options.Now().UTC(), unsent
		if g.Wipe.names(g.Certificate) {
			g.Revoked = true
		}
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.audit(ctx, "gate", "gate-wiped", id)
}
