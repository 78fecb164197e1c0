package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"greengate/gate/passage"
)

// gateRecord is one gate in the registry, under gate.ID.
type gateRecord struct {
	Site string `json:"site,omitempty"`
	// County it stands in, six digits of GB/T 2260; "" where nobody said.
	County string    `json:"county,omitempty"`
	Added  time.Time `json:"added"`
	// Certificate in force, DER: no other of this name is let in.
	Certificate []byte `json:"certificate"`
	// Former are the certificates before it: batches that they signed still verify.
	Former [][]byte `json:"former,omitempty"`
	// Next was issued to the gate and not used yet; its first use puts it in force.
	Next []byte `json:"next,omitempty"`
	// Renewed is when that last happened. For a moment after it the certificate
	// before may finish what it is at.
	Renewed time.Time `json:"renewed,omitzero"`
	Revoked bool      `json:"revoked,omitempty"`
	// Wipe is the order to destroy what the gate holds, nil for none.
	Wipe *wipeRecord `json:"wipe,omitempty"`
	By   string      `json:"by"`
}

// maxFormer is how many certificates one gate may have had.
const maxFormer = 64

// AddGate makes the identity of a gate: a key, a certificate, and everything
// that the gate must trust. The private key is not kept here.
func (h *Hub) AddGate(ctx context.Context, r GateRequest) (Bundle, error) {
	if err := checkBy(r.By); err != nil {
		return Bundle{}, err
	}
	url, err := h.checkGate(r.Gate, r.Site, r.County, r.HubURL)
	if err != nil {
		return Bundle{}, err
	}
	now := h.options.Now().UTC()
	der, key, err := h.ca.gateCertificate(r.Gate, now)
	if err != nil {
		return Bundle{}, err
	}
	private, err := marshalKey(key)
	if err != nil {
		return Bundle{}, fmt.Errorf("key of gate %s: %w", r.Gate, err)
	}
	root, err := h.publisher.Root()
	if err != nil {
		return Bundle{}, err
	}
	rec := gateRecord{Site: r.Site, County: r.County, Added: now, Certificate: der, By: r.By}
	op := "gate-add"
	_, err = create(ctx, h.store.registry, "gate."+r.Gate, rec)
	if errors.Is(err, ErrConflict) && r.Replace {
		op = "gate-replace"
		_, _, err = update(ctx, h.store.registry, "gate."+r.Gate, func(g *gateRecord) error {
			if len(g.Former) >= maxFormer {
				return fmt.Errorf("gate %s: %w: it had %d certificates", r.Gate, ErrConflict, len(g.Former))
			}
			g.Former = append(g.Former, g.Certificate)
			g.Certificate, g.Revoked, g.By = der, false, r.By
			g.Next, g.Renewed = nil, time.Time{}
			if r.Site != "" {
				g.Site = r.Site
			}
			if r.County != "" {
				g.County = r.County
			}
			return nil
		})
	}
	if err != nil {
		return Bundle{}, err
	}
	if err := h.audit(ctx, r.By, op, r.Gate); err != nil {
		return Bundle{}, err
	}
	// Asked for when the certificate before is in force no more.
	history, err := h.history(ctx, r.Gate)
	if err != nil {
		return Bundle{}, err
	}
	return Bundle{Gate: r.Gate, History: history, HubURL: url, ListsURL: h.listsURL(url), HubCA: string(certPEM(h.ca.cert.Raw)),
		Certificate: string(certPEM(der)), PrivateKey: string(private), TUFRoot: root,
		HubKey: passage.MarshalHubKey(h.passages.PublicKey())}, nil
}

// RevokeGate ends a gate's certificate. The gate keeps what it has not sent.
func (h *Hub) RevokeGate(ctx context.Context, r GateRef) error {
	if err := checkBy(r.By); err != nil {
		return err
	}
	if !gatePattern.MatchString(r.Gate) {
		return invalid("gate %.80q", r.Gate)
	}
	if _, _, err := update(ctx, h.store.registry, "gate."+r.Gate, func(g *gateRecord) error {
		g.Revoked, g.By = true, r.By
		return nil
	}); err != nil {
		return err
	}
	return h.audit(ctx, r.By, "gate-revoke", r.Gate)
}

// gate returns a gate's record.
func (h *Hub) gate(ctx context.Context, id string) (gateRecord, error) {
	if !gatePattern.MatchString(id) {
		return gateRecord{}, invalid("gate %.80q", id)
	}
	g, _, err := load[gateRecord](ctx, h.store.registry, "gate."+id)
	return g, err
}

// superseded is what an old certificate's use is told by.
var superseded = wording{"a certificate was used after the one that replaced it: is there a second device with this gate's identity?",
	"已被替换的证书仍在使用：是否有第二台设备使用该闸机的身份？"}

// errRevoked: the gate's certificate is not, or no longer, one that may speak.
var errRevoked = errors.New("this certificate is not in force")

// authenticate returns the gate that shows this certificate, which chains to
// the hub's authority already.
func (h *Hub) authenticate(ctx context.Context, cert *x509.Certificate) (string, gateRecord, error) {
	id := cert.Subject.CommonName
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return "", gateRecord{}, errRevoked
	}
	g, err := h.gate(ctx, id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		return "", gateRecord{}, errRevoked
	}
	if err != nil {
		return "", gateRecord{}, err
	}
	now := h.options.Now()
	switch {
	case g.Revoked || now.After(cert.NotAfter):
	case bytes.Equal(g.Certificate, cert.Raw):
		return id, g, nil
	case g.Next != nil && bytes.Equal(g.Next, cert.Raw):
		promoted, err := h.promote(ctx, id, cert.Raw)
		if errors.Is(err, errRevoked) {
			return id, g, err
		}
		return id, promoted, err
	case g.superseded(cert.Raw):
		if now.Sub(g.Renewed) < handover {
			return id, g, nil
		}
		if err := h.raise(ctx, id, AlarmFork, superseded); err != nil {
			return id, g, err
		}
	}
	return id, g, errRevoked
}

// Gates lists all gates by id.
func (h *Hub) Gates(ctx context.Context) ([]GateStatus, error) {
	out := []GateStatus{}
	err := list(ctx, h.store.registry, "gate.", func(id string, g gateRecord) error {
		out = append(out, GateStatus{Gate: id, Site: g.Site, County: g.County, Added: g.Added, Revoked: g.Revoked, Wipe: g.wipeStatus()})
		return nil
	})
	now := h.options.Now()
	for i := range out {
		h.fleet.fill(&out[i], now)
	}
	slices.SortFunc(out, func(a, b GateStatus) int { return strings.Compare(a.Gate, b.Gate) })
	return out, err
}

// digest is the SHA-256 as a slice.
func digest(data []byte) []byte {
	d := sha256.Sum256(data)
	return d[:]
}
