package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"greengate/sync/enrol"
	"greengate/sync/hub"
)

const (
	gateName = "rig-1"
	region   = "330106"
	// hostAddress is this machine, seen from the emulated one.
	hostAddress = "10.0.2.2"
)

// site is an authority with its hub on this machine, and the codes that it issued.
type site struct {
	hub    *hub.Hub
	bundle hub.Bundle
	codes  []string // green ones, each for one passage
	shown  int      // how many of them were shown to the gate, whole
	stop   context.CancelFunc
	served chan error
}

// newSite makes a hub below dir, a gate of it and so many green codes, and serves it.
func newSite(ctx context.Context, dir string, codes int) (_ *site, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	folder := filepath.Join(dir, "hub")
	options := hub.Options{PublishDelay: -1, Heartbeat: -1}
	if err := hub.Init(ctx, folder, hub.Config{Name: "Rig", URL: "https://" + net.JoinHostPort(hostAddress, port), Provinces: []string{region[:2]}}, options); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &site{served: make(chan error, 1)}
	if s.hub, err = hub.Open(ctx, folder, options); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	serving, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() { s.served <- s.hub.Serve(serving, l, nil, nil) }()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.bundle, err = s.hub.AddGate(ctx, hub.GateRequest{Gate: gateName, Site: "bench", By: "rig"}); err != nil {
		return nil, err
	}
	for range codes {
		code, err := s.issue(ctx)
		if err != nil {
			return nil, err
		}
		s.codes = append(s.codes, code)
	}
	_, err = s.hub.Publish(ctx)
	return s, err
}

// issue makes a green static code.
func (s *site) issue(ctx context.Context) (string, error) {
	d, err := s.hub.Declare(ctx, hub.DeclareRequest{Name: "王建明", Region: region})
	if err != nil {
		return "", err
	}
	if _, err := s.hub.Review(ctx, hub.ReviewRequest{Declaration: d.ID, Colour: "green", Reviewer: "rig"}); err != nil {
		return "", err
	}
	i, err := s.hub.Issue(ctx, hub.IssueRequest{Declaration: d.ID, Kind: "static", By: "rig"})
	return i.Code, err
}

// code gives out one that nobody has shown yet.
func (s *site) code() (string, error) {
	if len(s.codes) == 0 {
		return "", errors.New("no codes left: more are shown than were issued")
	}
	code := s.codes[0]
	s.codes = s.codes[1:]
	return code, nil
}

func (s *site) close() error {
	s.stop()
	return errors.Join(<-s.served, s.hub.Close())
}

// cardBytes is the size of the SD card; QEMU wants a power of two.
const cardBytes = 64 << 20

// card makes the gate's SD card: a file system with its identity, and nothing else.
func (s *site) card(ctx context.Context, path string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), "card")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := s.bundle
	id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate,
		PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	if err := id.Save(filepath.Join(dir, "identity.json")); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, cardBytes); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-E", "root_owner=0:0,lazy_itable_init=0", "-d", dir, path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}
