package enrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// renewEvery is how often a gate looks whether its certificate is due, and
	// how soon it tries again after a failure.
	renewEvery = 6 * time.Hour
	// AfterEnd is how long past its end a certificate may still be renewed. The
	// hub takes it for nothing else then.
	AfterEnd = 90 * 24 * time.Hour
)

// Renewer has a gate's certificate renewed before its end.
type Renewer struct {
	// Path of the identity file, which is written anew.
	Path string
	// Client makes mutual TLS with the identity in force.
	Client *http.Client
	// Clock of the gate.
	Clock Clock
	// Renewed is told the new identity once it is on the disk.
	Renewed func(*Identity)
	Log     *slog.Logger
}

// Once renews the certificate when a third of its life is left or less, and
// reports whether it did. A new key is made each time. A cut between the hub's
// answer and the disk loses nothing: the hub takes the old certificate until the
// new one is first used.
func (r *Renewer) Once(ctx context.Context) (bool, error) {
	id, err := Load(r.Path)
	if err != nil {
		return false, err
	}
	p, err := id.parse()
	if err != nil {
		return false, err
	}
	now, _ := r.Clock.Now()
	if life := p.leaf.NotAfter.Sub(p.leaf.NotBefore); p.leaf.NotAfter.Sub(now) > life/3 {
		return false, nil
	}
	key, err := NewKey()
	if err != nil {
		return false, err
	}
	cert, err := askCertificate(ctx, r.Client, id.HubURL+pathReenrol, key, nil, ErrRefused)
	if errors.Is(err, ErrRefused) {
		r.Client.CloseIdleConnections() // they show what was refused
	}
	if err != nil {
		return false, fmt.Errorf("renew the certificate that ends %s: %w", p.leaf.NotAfter.UTC().Format(time.DateTime), err)
	}
	id.Certificate = certificatePEM(cert.Raw)
	if id.PrivateKey, err = privatePEM(key); err != nil {
		return false, err
	}
	if err := id.Save(r.Path); err != nil {
		return false, err
	}
	r.Renewed(id)
	r.Log.Info("certificate renewed", "ends", cert.NotAfter.UTC().Format(time.DateTime))
	return true, nil
}

// Run calls Once within a minute, for a gate that was away past its certificate's
// end, and every few hours from then on until ctx ends, at times that differ from gate to
// gate. It returns ctx's error.
func (r *Renewer) Run(ctx context.Context) error {
	for wait := rand.N(time.Minute); ; wait = renewEvery/2 + rand.N(renewEvery) {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if _, err := r.Once(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("certificate not renewed", "err", err)
		}
	}
}
