package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// site is hubs behind one address.
type site struct {
	b        *bench
	hubs     []*hubProcess
	balancer *balancer
	starting sync.WaitGroup // hubs that were killed
	mu       sync.Mutex
	failed   error
}

// newSite makes a hub with its embedded server, behind a balancer.
func (b *bench) newSite(ctx context.Context, name string) (s *site, err error) {
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s = &site{b: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, front.Close(), s.close())
		}
	}()
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := b.initHub(ctx, name, front.Addr().String())
	if err != nil {
		return nil, err
	}
	h, err := b.serveHub(ctx, name+"-hub", dir, address)
	if h != nil {
		s.hubs = append(s.hubs, h)
	}
	if err != nil {
		return nil, err
	}
	s.balancer = newBalancer(front, []string{address})
	return s, nil
}

// strikeHub kills a hub, and starts it again after a while.
func (s *site) strikeHub() (string, error) {
	s.starting.Wait()
	h := s.hubs[rand.N(len(s.hubs))]
	if err := h.kill(); err != nil {
		return "", err
	}
	s.starting.Go(func() {
		time.Sleep(rand.N(500 * time.Millisecond))
		if err := h.start(); err != nil {
			s.mu.Lock()
			s.failed = errors.Join(s.failed, err)
			s.mu.Unlock()
		}
	})
	return h.name, nil
}

// ready waits until every hub answers.
func (s *site) ready(ctx context.Context) error {
	s.starting.Wait()
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, h := range s.hubs {
		if err := h.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) close() error {
	s.starting.Wait()
	var err error
	if s.balancer != nil {
		err = s.balancer.l.Close()
	}
	for _, h := range s.hubs {
		err = errors.Join(err, h.close())
	}
	if s.balancer != nil {
		s.balancer.done.Wait()
	}
	return err
}
