package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A list of ten million hashes has 340 MB as text. It is the body of its
// request as it is, and what it is about stands in the request's query.

// bodySilence is how long nothing may come of a body.
const bodySilence = 30 * time.Second

// patientBody gives each read its own time, since the server's is for a short request.
type patientBody struct {
	io.Reader
	c *http.ResponseController
}

func (b patientBody) Read(p []byte) (int, error) {
	if err := b.c.SetReadDeadline(time.Now().Add(bodySilence)); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

// serveSetRevocation is POST /v1/revocation-set.
func (h *Hub) serveSetRevocation(w http.ResponseWriter, r *http.Request) {
	var in RevocationRequest
	q, err := url.ParseQuery(r.URL.RawQuery)
	for name, values := range q {
		switch {
		case len(values) != 1:
			err = fmt.Errorf("%s stands more than once", name)
		case name == "scheme":
			in.Scheme = values[0]
		case name == "kid":
			in.KID = values[0]
		case name == "by":
			in.By = values[0]
		case name == "empty" && values[0] == "true":
			in.Empty = true
		default:
			err = fmt.Errorf("unknown: %s", name)
		}
	}
	if err != nil {
		answer(w, http.StatusBadRequest, apiError{Error: "request: " + err.Error(), Kind: "invalid"})
		return
	}
	id, err := revocationKey(in)
	if err != nil {
		h.conclude(w, "revocation-set", RevocationStatus{}, err)
		return
	}
	c := http.NewResponseController(w)
	body := patientBody{http.MaxBytesReader(w, r.Body, maxRevocationText(id.Scheme)+1), c}
	out, err := h.SetRevocation(r.Context(), in, body)
	// Whoever is still sending would not see the answer.
	if _, derr := io.Copy(io.Discard, body); derr != nil && err == nil {
		h.log.Debug("rest of a request not read", "op", "revocation-set", "err", derr)
	}
	// The server's time for an answer began before the list came.
	if derr := c.SetWriteDeadline(time.Now().Add(bodySilence)); derr != nil {
		h.log.Debug("deadline not set", "op", "revocation-set", "err", derr)
	}
	h.conclude(w, "revocation-set", out, err)
}

// SetRevocation sets all that is revoked of one issuer key; see [Hub.SetRevocation].
func (c *Client) SetRevocation(ctx context.Context, r RevocationRequest, text io.Reader) (RevocationStatus, error) {
	fail := func(err error) (RevocationStatus, error) {
		return RevocationStatus{}, fmt.Errorf("hub revocation-set: %w", err)
	}
	q := url.Values{"scheme": {r.Scheme}, "kid": {r.KID}, "by": {r.By}}
	if r.Empty {
		q.Set("empty", "true")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/v1/revocation-set?"+q.Encode(), text)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	// No time is set for the whole: the hub says when nothing comes any more.
	patient := *c.http
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminRequest))
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		var e apiError
		if err := json.Unmarshal(data, &e); err != nil || e.Error == "" {
			return fail(errors.New(resp.Status))
		}
		return RevocationStatus{}, e.remote()
	}
	var out RevocationStatus
	if err := json.Unmarshal(data, &out); err != nil {
		return fail(err)
	}
	return out, nil
}

// DropRevocation takes a key's lists away; see [Hub.DropRevocation].
func (c *Client) DropRevocation(ctx context.Context, r RevocationRequest) (RevocationStatus, error) {
	return call[RevocationRequest, RevocationStatus](ctx, c, "revocation-drop", r)
}

// Revocations describes what is revoked of foreign issuers' keys.
func (c *Client) Revocations(ctx context.Context) ([]RevocationStatus, error) {
	return call[None, []RevocationStatus](ctx, c, "revocations", None{})
}
