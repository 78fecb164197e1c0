package main

import (
	"context"
	"io"
	"net"
	"sync"
)

// network is the wire between gate and hub, which can be pulled.
type network struct {
	listener net.Listener
	hub      string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newNetwork(hub string) (*network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &network{listener: l, hub: hub, conns: map[net.Conn]bool{}}, nil
}

func (n *network) address() string { return n.listener.Addr().String() }

// pull cuts every connection and refuses new ones; plug ends that.
func (n *network) pull() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for c := range n.conns {
		c.Close()
	}
}

func (n *network) plug() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = false
}

// keep remembers a connection unless the wire is pulled.
func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return false
	}
	n.conns[c] = true
	return true
}

func (n *network) drop(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	c.Close()
}

func (n *network) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { n.listener.Close(); n.pull() })()
	for {
		c, err := n.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go n.carry(ctx, c)
	}
}

func (n *network) carry(ctx context.Context, c net.Conn) {
	defer n.drop(c)
	if !n.keep(c) {
		return
	}
	var d net.Dialer
	far, err := d.DialContext(ctx, "tcp", n.hub)
	if err != nil {
		return // the gate sees a cut connection, as it would
	}
	defer n.drop(far)
	if !n.keep(far) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(far, c) // either end closes both: an error is the end
		far.Close()
	}()
	io.Copy(c, far)
	c.Close()
	<-done
}
