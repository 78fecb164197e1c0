package enrol

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"greengate/gate/wipe"
)

// pathWiped is where a gate says that it has obeyed.
const pathWiped = "/v1/wiped"

// ErrNotOrdered: the hub knows of no order for this device, or no longer.
var ErrNotOrdered = errors.New("the hub did not order this")

// OpenWipe verifies an order to wipe the device that shows this certificate,
// against the authority that the identity pins. now is zero where the device
// does not know the time. Errors wrap [wipe.ErrOrder] or [ErrBadIdentity].
func (i *Identity) OpenWipe(order []byte, shown *x509.Certificate, now time.Time) (wipe.Order, error) {
	p, err := i.parse()
	if err != nil {
		return wipe.Order{}, fmt.Errorf("%w: %w", ErrBadIdentity, err)
	}
	if shown == nil {
		shown = p.leaf
	}
	return wipe.Open(order, i.Gate, shown, p.ca, now)
}

// TellWiped tells the hub that all but the device's key is destroyed, and how
// many records went with it that were never sent. The error wraps
// [ErrNotOrdered], or is the network's and worth another try.
func TellWiped(ctx context.Context, client *http.Client, hub string, unsent uint64) error {
	body, err := json.Marshal(struct {
		Unsent uint64 `json:"unsent"`
	}{unsent})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hub+pathWiped, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("tell the hub: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHubAnswer))
	if err != nil {
		return fmt.Errorf("tell the hub: %w", err)
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("tell the hub: %w (status %d)", ErrNotOrdered, resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("tell the hub: it answers status %d %.100q", resp.StatusCode, text)
	}
	return nil
}
