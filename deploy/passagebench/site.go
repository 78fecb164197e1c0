package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// site is hubs behind one address, and the nodes below them where there are any.
type site struct {
	b        *bench
	hubs     []*hubProcess
	nodes    map[string]*process
	balancer *balancer
	starting sync.WaitGroup // what was killed
	mu       sync.Mutex
	failed   error
}

// newSite makes hubs behind a balancer: on a cluster of three nodes on this
// machine, or one with its server embedded where nodes is 0.
func (b *bench) newSite(ctx context.Context, name string, nodes, hubs int) (s *site, err error) {
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s = &site{b: b, nodes: map[string]*process{}}
	defer func(begun *site) { // s is nil where an error is returned
		if err != nil {
			err = errors.Join(err, front.Close(), begun.close())
		}
	}(s)
	var args, serve []string
	if nodes > 0 {
		args = []string{"-cluster"}
	}
	dir, err := b.initHub(ctx, name, front.Addr().String(), args...)
	if err != nil {
		return nil, err
	}
	if nodes > 0 {
		addresses, err := s.startNodes(ctx, name, dir, nodes)
		if err != nil {
			return nil, err
		}
		serve = []string{"-nats", addresses}
	}
	var to []string
	for i := range hubs {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			// A further hub has the keys of the first and nothing else of it.
			further := fmt.Sprintf("%s-%d", dir, i+1)
			if out, err := exec.CommandContext(ctx, b.gatehub, "join", "-from", dir, "-dir", further).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("gatehub join: %w\n%s", err, out)
			}
			dir = further
		}
		h, err := b.serveHub(ctx, fmt.Sprintf("%s-hub%d", name, i+1), dir, address, serve...)
		if h != nil {
			s.hubs = append(s.hubs, h)
		}
		if err != nil {
			return nil, err
		}
		to = append(to, address)
	}
	s.balancer = newBalancer(front, to)
	return s, nil
}

// startNodes starts the nodes of the hub in dir and returns where hubs find them.
func (s *site) startNodes(ctx context.Context, name, dir string, n int) (addresses string, err error) {
	var clients, routes []string
	for range n {
		for _, list := range []*[]string{&clients, &routes} {
			a, err := freeAddress()
			if err != nil {
				return "", err
			}
			*list = append(*list, a)
		}
	}
	for i := range n {
		node := fmt.Sprintf("n%d", i+1)
		folder := filepath.Join(s.b.dir, name+"-"+node)
		if out, err := exec.CommandContext(ctx, s.b.gatehub, "node", "add", node, "-dir", dir, "-host", "127.0.0.1", "-out", folder).CombinedOutput(); err != nil {
			return "", fmt.Errorf("gatehub node add: %w\n%s", err, out)
		}
		args := []string{"node", "-dir", folder, "-name", node, "-listen", clients[i], "-cluster", routes[i]}
		for j, r := range routes {
			if j != i {
				args = append(args, "-route", r)
			}
		}
		p, err := s.b.process(name+"-"+node, s.b.gatehub, args...)
		if err != nil {
			return "", err
		}
		if err := p.start(); err != nil {
			return "", err
		}
		s.nodes[node] = p
		if addresses != "" {
			addresses += ","
		}
		addresses += "nats://" + clients[i]
	}
	return addresses, nil
}

// strikeHub kills a hub, and starts it again after a while.
func (s *site) strikeHub() (string, error) {
	s.starting.Wait()
	return s.strike(s.hubs[rand.N(len(s.hubs))].process)
}

// strikeNode kills the node that leads the passages, or another one.
func (s *site) strikeNode(ctx context.Context, leader bool) (victim string, err error) {
	if err := s.ready(ctx); err != nil {
		return "", err
	}
	// With two of three down nothing is acknowledged, which is shown elsewhere:
	// here the one before must be back.
	if err := until(ctx, time.Minute, "all nodes are current", func() (bool, error) {
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		list, err := s.hubs[0].client.Nodes(ask)
		if err != nil || len(list) != len(s.nodes) {
			return false, err
		}
		var others []string
		for _, n := range list {
			if !n.Current {
				return false, fmt.Errorf("%s is behind", n.Node)
			}
			if n.Leads == leader {
				others = append(others, n.Node)
			}
		}
		victim = others[rand.N(len(others))]
		return true, nil
	}); err != nil {
		return "", err
	}
	return s.strike(s.nodes[victim])
}

func (s *site) strike(p *process) (string, error) {
	if err := p.kill(); err != nil {
		return "", err
	}
	s.starting.Go(func() {
		time.Sleep(rand.N(500 * time.Millisecond))
		if err := p.start(); err != nil {
			s.mu.Lock()
			s.failed = errors.Join(s.failed, err)
			s.mu.Unlock()
		}
	})
	return p.name, nil
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
	for _, n := range s.nodes {
		err = errors.Join(err, n.stop())
	}
	if s.balancer != nil {
		s.balancer.done.Wait()
	}
	return err
}
