package hub

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

const (
	// afterEnd is how long past its end a certificate may still be renewed: a gate
	// that was in a box over the summer comes back by itself.
	afterEnd = 90 * 24 * time.Hour
	// handover is how long a certificate is taken after the one that replaced it
	// was first used: a gate has more than one connection open.
	handover = 10 * time.Minute
)

// others are all certificates of the gate but the one in force.
func (g gateRecord) others() [][]byte {
	if g.Next == nil {
		return g.Former
	}
	return append(slices.Clone(g.Former), g.Next)
}

// superseded reports whether this certificate was renewed and not replaced: the
// last one before that which is in force.
func (g gateRecord) superseded(der []byte) bool {
	return !g.Renewed.IsZero() && len(g.Former) > 0 && bytes.Equal(g.Former[len(g.Former)-1], der)
}

// promote puts a gate's next certificate in force, which it has just used.
func (h *Hub) promote(ctx context.Context, id string, next []byte) (gateRecord, error) {
	g, _, err := update(ctx, h.store.registry, "gate."+id, func(g *gateRecord) error {
		switch {
		case g.Revoked:
			return errRevoked
		case bytes.Equal(g.Certificate, next):
			return errSame // another request was faster
		case !bytes.Equal(g.Next, next):
			return errRevoked
		}
		g.Former = append(g.Former, g.Certificate)
		if extra := len(g.Former) - maxFormer; extra > 0 {
			g.Former = slices.Delete(g.Former, 0, extra)
		}
		g.Certificate, g.Next, g.Renewed = next, nil, h.options.Now().UTC()
		return nil
	})
	if errors.Is(err, errSame) {
		return g, nil
	}
	if err != nil {
		return g, err
	}
	return g, h.audit(ctx, "gate", "gate-renew", id)
}

// reenrol issues the next certificate of a gate that shows one which is in
// force, or was until at most 90 days ago. The same key gets the same answer; another key
// takes the place of an answer that the gate never used.
func (h *Hub) reenrol(ctx context.Context, cert *x509.Certificate, public *ecdsa.PublicKey) ([]byte, error) {
	now, id := h.options.Now().UTC(), cert.Subject.CommonName
	if !gatePattern.MatchString(id) || now.Sub(cert.NotAfter) > afterEnd {
		return nil, errRevoked
	}
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); ok && key.Equal(public) {
		return nil, invalid("a certificate is renewed for a new key")
	}
	g, err := h.gate(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, errRevoked
	}
	if err != nil {
		return nil, err
	}
	if g.Next != nil && bytes.Equal(g.Next, cert.Raw) {
		if _, err := h.promote(ctx, id, cert.Raw); err != nil {
			return nil, err
		}
	}
	der, err := h.ca.certify(id, public, now)
	if err != nil {
		return nil, err
	}
	g, _, err = update(ctx, h.store.registry, "gate."+id, func(g *gateRecord) error {
		if g.Revoked || !bytes.Equal(g.Certificate, cert.Raw) || g.toWipe(cert.Raw) {
			return errRevoked
		}
		if g.Next != nil {
			have, err := x509.ParseCertificate(g.Next)
			if err != nil {
				return fmt.Errorf("next certificate of gate %s: %w", id, err)
			}
			if public.Equal(have.PublicKey) && now.Before(have.NotAfter) {
				return errSame // the answer was lost
			}
		}
		g.Next = der
		return nil
	})
	if err != nil && !errors.Is(err, errSame) {
		return nil, err
	}
	return g.Next, nil
}

// handleReenrol renews a certificate (RFC 7030 section 4.2.2).
func (h *Hub) handleReenrol(w http.ResponseWriter, r *http.Request) {
	cert := shown(r)
	if cert == nil {
		answer(w, http.StatusUnauthorized, errorAnswer{Error: "certificate needed"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		answer(w, http.StatusBadRequest, errorAnswer{Error: "request cut off or too large"})
		return
	}
	public, err := parseRequest(body)
	var der []byte
	if err == nil {
		der, err = h.reenrol(r.Context(), cert, public)
	}
	switch {
	case err == nil:
		h.answerCertificate(w, der)
	case errors.Is(err, ErrInvalid):
		answer(w, http.StatusBadRequest, errorAnswer{Error: "no certificate request for a new P-256 key"})
	case errors.Is(err, errRevoked):
		w.Header().Set("Connection", "close")
		h.log.Warn("certificate not renewed", "gate", cert.Subject.CommonName)
		answer(w, http.StatusForbidden, errorAnswer{Error: "forbidden"})
	case isAway(err), errors.Is(err, ErrConflict):
		h.log.Warn("certificate not renewed", "gate", cert.Subject.CommonName, "err", err)
		answerAway(w)
	default:
		h.log.Error("certificate not renewed", "gate", cert.Subject.CommonName, "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
	}
}
