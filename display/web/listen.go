package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrNotLoopback is wrapped when the page is asked to listen where others
// reach it, without TLS and pairing.
var ErrNotLoopback = errors.New("not a loopback address")

// ListenError says why the page cannot listen, with the next step.
type ListenError struct {
	Addr string
	Err  error
	hint string
}

func (e *ListenError) Error() string { return fmt.Sprintf("gate page on %q: %v", e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Hint returns the next step for a person at a terminal, "" where there is none.
func (e *ListenError) Hint() string { return e.hint }

// Listen opens addr, as "127.0.0.1:8080" or "localhost:8080", for [Server.Serve].
//
// An address that others reach needs a config with TLS and pairing: a server
// certificate, and ClientAuth that requires and verifies a client's. Without,
// the error wraps ErrNotLoopback and nothing is opened.
func Listen(addr string, config *tls.Config) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &ListenError{addr, err, `write host and port, as "127.0.0.1:8080"`}
	}
	paired := config != nil && config.ClientAuth == tls.RequireAndVerifyClientCert && config.ClientCAs != nil
	refusal := &ListenError{addr, ErrNotLoopback, `listen on "127.0.0.1:8080", or set up TLS and pair each tablet with a client certificate`}
	if !paired && !loopback(host) {
		return nil, refusal
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ListenError{addr, err, "is the port taken, or the address not this device's?"}
	}
	// localhost means what the hosts file says; what counts is where we listen now.
	if at, ok := l.Addr().(*net.TCPAddr); !paired && (!ok || !at.IP.IsLoopback()) {
		return nil, errors.Join(refusal, l.Close())
	}
	if config != nil {
		return tls.NewListener(l, config), nil
	}
	return l, nil
}

// loopback tells whether a host, without its port, is this device itself.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
