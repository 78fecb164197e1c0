package hub

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/smallstep/pkcs7"

	"greengate/gate/passage"
)

const (
	// secretBytes of a token's secret.
	secretBytes = 10
	// defaultInvitation and maxInvitation are how long a token is good.
	defaultInvitation, maxInvitation = time.Hour, 7 * 24 * time.Hour
	// maxRequest bounds a certificate request: a real one has 300 bytes.
	maxRequest = 8 << 10
	// maxWrong tokens within wrongWindow, from one address, are answered; more are
	// told to wait. Guessing 80 bits is hopeless; this keeps it from costing anything.
	maxWrong    = 10
	wrongWindow = time.Minute
	// maxWrongFrom bounds the addresses that are remembered.
	maxWrongFrom = 10000
)

// InviteRequest asks for a token with which one gate may enrol, once.
type InviteRequest struct {
	// Gate is the new gate's id: 1 to 64 of a-z, 0-9 and "-".
	Gate string `json:"gate"`
	// Site is where it stands, and County the six digits of GB/T 2260; both may be empty.
	Site   string `json:"site,omitempty"`
	County string `json:"county,omitempty"`
	// HubURL is where this gate finds the hub; the hub's own when empty.
	HubURL string `json:"hub_url,omitempty"`
	// ValidSeconds is how long the token is good; an hour when zero, at most 7 days.
	ValidSeconds int64 `json:"valid_seconds,omitempty"`
	// Replace gives a gate that is known a new identity; the old one ends then.
	Replace bool   `json:"replace,omitempty"`
	By      string `json:"by"`
}

// Invitation is a token in its parts. The secret is given out once and kept only
// as its digest.
type Invitation struct {
	HubURL string `json:"hub_url"`
	Secret []byte `json:"secret"`
	// HubCA (DER) and TUFRoot are what the gate is to know the hub by.
	HubCA   []byte    `json:"hub_ca"`
	TUFRoot []byte    `json:"tuf_root"`
	Until   time.Time `json:"until"`
}

// tokenRecord is kept under token.ID, where ID is the begin of the secret's digest.
type tokenRecord struct {
	Digest  []byte    `json:"digest"`
	Gate    string    `json:"gate"`
	Site    string    `json:"site,omitempty"`
	County  string    `json:"county,omitempty"`
	Replace bool      `json:"replace,omitempty"`
	Until   time.Time `json:"until"`
	By      string    `json:"by"`
	// Key is the SHA-256 of the public key that spent it, and Certificate (DER)
	// what that key got: the same key may ask again, no other may.
	Key         []byte `json:"key,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
}

func tokenKey(digest []byte) string { return "token." + hex.EncodeToString(digest[:8]) }

// InviteGate makes a token for one gate.
func (h *Hub) InviteGate(ctx context.Context, r InviteRequest) (Invitation, error) {
	if err := checkBy(r.By); err != nil {
		return Invitation{}, err
	}
	url, err := h.checkGate(r.Gate, r.Site, r.County, r.HubURL)
	if err != nil {
		return Invitation{}, err
	}
	valid := time.Duration(r.ValidSeconds) * time.Second
	if r.ValidSeconds == 0 {
		valid = defaultInvitation
	}
	if r.ValidSeconds < 0 || valid > maxInvitation || valid < time.Second {
		return Invitation{}, invalid("valid_seconds %d: want 1 to %d", r.ValidSeconds, int64(maxInvitation/time.Second))
	}
	switch _, err := h.gate(ctx, r.Gate); {
	case err == nil && !r.Replace:
		return Invitation{}, fmt.Errorf("gate %s: %w: it is there already", r.Gate, ErrConflict)
	case err != nil && !errors.Is(err, ErrNotFound):
		return Invitation{}, err
	}
	root, err := h.publisher.Root()
	if err != nil {
		return Invitation{}, err
	}
	secret := make([]byte, secretBytes)
	if _, err := rand.Read(secret); err != nil {
		return Invitation{}, err
	}
	rec := tokenRecord{Digest: digest(secret), Gate: r.Gate, Site: r.Site, County: r.County, Replace: r.Replace,
		Until: h.options.Now().UTC().Add(valid), By: r.By}
	if _, err := create(ctx, h.store.registry, tokenKey(rec.Digest), rec); err != nil {
		return Invitation{}, err
	}
	if err := h.audit(ctx, r.By, "gate-invite", r.Gate); err != nil {
		return Invitation{}, err
	}
	return Invitation{HubURL: url, Secret: secret, HubCA: h.ca.cert.Raw, TUFRoot: root, Until: rec.Until}, nil
}

// checkGate checks what an operator says of a gate, and returns where it finds the hub.
func (h *Hub) checkGate(id, site, county, url string) (string, error) {
	if !gatePattern.MatchString(id) {
		return "", invalid("gate %.80q: want 1 to 64 of a-z, 0-9 and \"-\"", id)
	}
	if !validText(site, 0, 128) {
		return "", invalid("site: want up to 128 bytes of text")
	}
	if county != "" && !countyPattern.MatchString(county) {
		return "", invalid("county %.20q: want six digits of GB/T 2260", county)
	}
	if url == "" {
		url = h.config.URL
	}
	host, err := checkURL(url)
	if err != nil {
		return "", invalid("hub_url: %w", err)
	}
	if err := h.cert.Load().Leaf.VerifyHostname(host); err != nil {
		return "", invalid("hub_url: the hub's certificate is not for it: %w", err)
	}
	return url, nil
}

// listsURL is where a gate finds the lists that finds the hub at hubURL.
func (h *Hub) listsURL(hubURL string) string {
	if h.config.ListsURL != "" {
		hubURL = h.config.ListsURL
	}
	return hubURL + "/lists"
}

// askedAt is the URL that a device asked the hub at: one that came by another of
// the hub's names, as its token told it, goes on there. Any other name, which a
// header may hold whatever the device dialled, is answered with the hub's own URL.
func (h *Hub) askedAt(host string) string {
	url := "https://" + host
	name, err := checkURL(url)
	if err != nil || h.cert.Load().Leaf.VerifyHostname(name) != nil {
		return h.config.URL
	}
	return url
}

// errSpent: the token buys nothing, or nothing any more.
var errSpent = errors.New("the token is unknown, too old, or spent by another device")

// errTaken: whoever asks has the token's secret, and another device was first.
var errTaken = fmt.Errorf("%w: another device was first", errSpent)

// enrol spends a token for a public key and returns the certificate.
func (h *Hub) enrol(ctx context.Context, secret []byte, public *ecdsa.PublicKey) (der []byte, err error) {
	sum := digest(secret)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(spki)
	now := h.options.Now().UTC()
	rec, _, err := update(ctx, h.store.registry, tokenKey(sum), func(t *tokenRecord) error {
		switch {
		case subtle.ConstantTimeCompare(t.Digest, sum) != 1:
			return errSpent
		case t.Key != nil && !bytes.Equal(t.Key, key[:]):
			return errTaken
		case !now.Before(t.Until):
			return errSpent
		case t.Key != nil:
			return errSame // the answer was lost
		}
		der, err := h.ca.certify(t.Gate, public, now)
		if err != nil {
			return err
		}
		t.Key, t.Certificate = key[:], der
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil, errSpent
	}
	if err != nil && !errors.Is(err, errSame) {
		return nil, err
	}
	// From here on the token is spent. Whatever is cut below, the same key asks again.
	g := gateRecord{Site: rec.Site, County: rec.County, Added: now, Certificate: rec.Certificate, By: rec.By}
	op := "gate-enrol"
	_, err = create(ctx, h.store.registry, "gate."+rec.Gate, g)
	if errors.Is(err, ErrConflict) {
		_, _, err = update(ctx, h.store.registry, "gate."+rec.Gate, func(g *gateRecord) error {
			if bytes.Equal(g.Certificate, rec.Certificate) {
				return errSame
			}
			if slices.ContainsFunc(g.Former, func(der []byte) bool { return bytes.Equal(der, rec.Certificate) }) {
				return errSpent // another identity has taken its place
			}
			if !rec.Replace {
				return fmt.Errorf("gate %s: %w: it was enrolled meanwhile", rec.Gate, ErrConflict)
			}
			if len(g.Former) >= maxFormer {
				return fmt.Errorf("gate %s: %w: it had %d certificates", rec.Gate, ErrConflict, len(g.Former))
			}
			g.Former = append(g.Former, g.Certificate)
			g.Certificate, g.Revoked, g.By = rec.Certificate, false, rec.By
			g.Next, g.Renewed = nil, time.Time{}
			if rec.Site != "" {
				g.Site = rec.Site
			}
			if rec.County != "" {
				g.County = rec.County
			}
			return nil
		})
		if errors.Is(err, errSame) {
			return rec.Certificate, nil
		}
		op = "gate-enrol-again"
	}
	if err != nil {
		return nil, err
	}
	return rec.Certificate, h.audit(ctx, rec.By, op, rec.Gate)
}

// certify makes the certificate of a gate's own key.
func (c *ca) certify(id string, public *ecdsa.PublicKey, now time.Time) ([]byte, error) {
	t := gateTemplate(id, now)
	var err error
	if t.SerialNumber, err = serial(); err != nil {
		return nil, err
	}
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	if t.NotAfter.After(c.cert.NotAfter) {
		t.NotAfter = c.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, public, c.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of gate %s: %w", id, err)
	}
	return der, nil
}

// parseRequest reads a certificate request as EST sends it: base64 of PKCS #10
// (RFC 7030 section 4.2.1). Its signature proves that the sender has the key;
// the name in it is not looked at.
func parseRequest(body []byte) (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(body), nil)))
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrInvalid, err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrInvalid, err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: certificate request for a key of type %T, want ECDSA on P-256", ErrInvalid, csr.PublicKey)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrInvalid, err)
	}
	return public, nil
}

// wrongTokens counts tokens that were wrong, by address.
type wrongTokens struct {
	mu   sync.Mutex
	from map[string]wrong
}

type wrong struct {
	count int
	until time.Time
}

// allows says whether an address may try now.
func (w *wrongTokens) allows(from string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.from[from]
	return f.count < maxWrong || !now.Before(f.until)
}

// note counts a wrong token.
func (w *wrongTokens) note(from string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.from) >= maxWrongFrom {
		clear(w.from)
	}
	f := w.from[from]
	if !now.Before(f.until) {
		f = wrong{until: now.Add(wrongWindow)}
	}
	f.count++
	w.from[from] = f
}

// enrolmentRoutes serves what a device needs that has no certificate yet.
func (h *Hub) enrolmentRoutes(mux *http.ServeMux) {
	tries := &wrongTokens{from: map[string]wrong{}}
	mux.HandleFunc("GET /.well-known/est/cacerts", func(w http.ResponseWriter, r *http.Request) {
		h.answerCertificate(w, h.ca.cert.Raw)
	})
	mux.HandleFunc("GET /v1/enrolment", func(w http.ResponseWriter, r *http.Request) {
		root, err := h.publisher.Root()
		if err != nil {
			h.log.Error("root of trust not read", "err", err)
			answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
			return
		}
		answer(w, http.StatusOK, enrolmentAnswer{TUFRoot: root, HubKey: passage.MarshalHubKey(h.passages.PublicKey()), ListsURL: h.listsURL(h.askedAt(r.Host))})
	})
	mux.HandleFunc("POST /.well-known/est/simpleenroll", func(w http.ResponseWriter, r *http.Request) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			from = r.RemoteAddr
		}
		now := h.options.Now()
		if !tries.allows(from, now) {
			w.Header().Set("Retry-After", strconv.Itoa(int(wrongWindow/time.Second)))
			answer(w, http.StatusTooManyRequests, errorAnswer{Error: "too many wrong tokens"})
			return
		}
		_, password, ok := r.BasicAuth()
		secret, err := hex.DecodeString(password)
		if !ok || err != nil || len(secret) != secretBytes {
			tries.note(from, now)
			w.Header().Set("WWW-Authenticate", `Basic realm="greengate"`)
			answer(w, http.StatusUnauthorized, errorAnswer{Error: "token needed"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			answer(w, http.StatusBadRequest, errorAnswer{Error: "request cut off or too large"})
			return
		}
		public, err := parseRequest(body)
		if err != nil {
			answer(w, http.StatusBadRequest, errorAnswer{Error: "no certificate request for a P-256 key"})
			return
		}
		der, err := h.enrol(r.Context(), secret, public)
		switch {
		case errors.Is(err, errTaken):
			// No guess, since it has the secret: the next device behind this address
			// is not made to wait for it.
			h.log.Warn("token refused", "from", from, "err", err)
			answer(w, http.StatusForbidden, errorAnswer{Error: "token spent by another device: ask for a new one"})
		case isAway(err):
			h.log.Warn("gate not enrolled", "err", err)
			answerAway(w) // the same key asks again, whatever was written
		case errors.Is(err, errSpent), errors.Is(err, ErrConflict):
			tries.note(from, now)
			h.log.Warn("token refused", "from", from)
			answer(w, http.StatusForbidden, errorAnswer{Error: "token unknown, too old or spent"})
		case err != nil:
			h.log.Error("gate not enrolled", "err", err)
			answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
		default:
			h.answerCertificate(w, der)
		}
	})
}

// enrolmentAnswer is what a hub tells everybody of itself.
type enrolmentAnswer struct {
	TUFRoot  []byte `json:"tuf_root"`
	HubKey   []byte `json:"hub_hpke_public_key"`
	ListsURL string `json:"lists_url"`
}

// answerCertificate answers with one certificate as EST does (RFC 7030 section 4.1.3).
func (h *Hub) answerCertificate(w http.ResponseWriter, der []byte) {
	p, err := pkcs7.DegenerateCertificate(der)
	if err != nil {
		h.log.Error("certificate not written", "err", err)
		answer(w, http.StatusInternalServerError, errorAnswer{Error: "hub failed"})
		return
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")
	w.Header().Set("Cache-Control", "no-store")
	// A client that is gone needs no answer.
	_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString(p))
}
