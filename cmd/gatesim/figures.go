package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/creack/pty"

	"greengate/pass/statuslist"
	"greengate/store"
	"greengate/sync/enrol"
	"greengate/sync/hub"
)

// city is how many codes Hangzhou had on 17 February 2020, and perList how many one list holds.
const (
	city    = 8_620_000
	perList = 1 << 20
)

// runFigures starts the real gated with a city's lists and reads its memory
// and its time to ready from outside.
func runFigures(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "greengate-figures-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	config, closeTTY, err := cityGate(ctx, dir)
	if err != nil {
		return err
	}
	defer closeTTY()
	var ready, resident []float64
	for range 5 {
		r, m, err := startOnce(ctx, filepath.Join(filepath.Dir(exe), "gated"), config, dir)
		if err != nil {
			return err
		}
		ready, resident = append(ready, r), append(resident, m)
	}
	slices.Sort(ready)
	fmt.Fprintf(out, "bench: gated.rss.mib %.1f MiB\n", slices.Max(resident))
	fmt.Fprintf(out, "bench: gated.ready.ms %.0f ms\n", ready[len(ready)/2])
	return nil
}

// cityGate makes an identity, the lists of a city in a store, and a gate.toml.
func cityGate(ctx context.Context, dir string) (config string, done func() error, err error) {
	hubDir, state := filepath.Join(dir, "hub"), filepath.Join(dir, "gate")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return "", nil, err
	}
	if err := hub.Init(ctx, hubDir, hub.Config{Name: "figures", URL: "https://127.0.0.1:1", Provinces: []string{province}}, hub.Options{}); err != nil {
		return "", nil, err
	}
	h, err := hub.Open(ctx, hubDir, hub.Options{})
	if err != nil {
		return "", nil, err
	}
	b, err := h.AddGate(ctx, hub.GateRequest{Gate: gateName, By: "figures"})
	if err := errors.Join(err, h.Close()); err != nil {
		return "", nil, err
	}
	id := enrol.Identity{Gate: b.Gate, HubURL: b.HubURL, ListsURL: b.ListsURL, HubCA: b.HubCA, Certificate: b.Certificate, PrivateKey: b.PrivateKey, TUFRoot: b.TUFRoot, HubKey: b.HubKey}
	if err := id.Save(filepath.Join(state, "identity.json")); err != nil {
		return "", nil, err
	}
	if err := fillCity(filepath.Join(state, "lists.db")); err != nil {
		return "", nil, err
	}
	master, tty, err := pty.Open()
	if err != nil {
		return "", nil, err
	}
	config = filepath.Join(dir, "gate.toml")
	text := fmt.Sprintf("state = %q\n[web]\nlisten = \"127.0.0.1:0\"\n[lists]\nhold = [%q]\n[[reader]]\nkind = \"serial\"\ndevice = %q\n", state, province, tty.Name())
	return config, func() error { return errors.Join(master.Close(), tty.Close()) }, os.WriteFile(config, []byte(text), 0o600)
}

// fillCity installs the lists of a city with the colours of 17 February 2020.
func fillCity(path string) (err error) {
	db, err := store.Open(path, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	now := time.Now().Truncate(time.Second)
	rng := rand.New(rand.NewPCG(1, 2))
	return db.Install(func(tx *store.Tx) error {
		var uris []string
		for i := 0; i*perList < city; i++ {
			n := min(perList, city-i*perList)
			raw := make([]byte, (n+3)/4)
			for k := range n {
				if rng.Float64() >= 0.947 { // 94.7 % green
					raw[k/4] |= byte(2+rng.IntN(2)) << (k % 4 * 2)
				}
			}
			info := statuslist.Info{URI: fmt.Sprintf("jkm:3301/%d", i), Sequence: 1, Issued: now, Expires: now.Add(7 * 24 * time.Hour), Bits: 2, Size: int64(len(raw)), SHA256: sha256.Sum256(raw)}
			if err := tx.PutList(info, raw); err != nil {
				return err
			}
			uris = append(uris, info.URI)
		}
		return tx.Confirm(uris, now)
	})
}

// startOnce starts gated as systemd would, and returns the milliseconds to
// READY=1 and the MiB resident two seconds later.
func startOnce(ctx context.Context, gated, config, dir string) (readyMS, mib float64, err error) {
	socket := filepath.Join(dir, "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(), os.Remove(socket)) }()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, gated, "-config", config)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	cmd.Stderr = &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		if err2 := cmd.Process.Signal(syscall.SIGTERM); err2 != nil && !errors.Is(err2, os.ErrProcessDone) {
			err = errors.Join(err, err2)
		}
		if err2 := cmd.Wait(); err2 != nil {
			err = errors.Join(err, fmt.Errorf("gated: %w\n%s", err2, log.Bytes()))
		}
	}()
	if err := conn.SetReadDeadline(start.Add(20 * time.Second)); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 256)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return 0, 0, fmt.Errorf("gated did not say that it is ready: %w", err)
		}
		if string(buf[:n]) == "READY=1" {
			break
		}
	}
	readyMS = float64(time.Since(start).Microseconds()) / 1000
	if err := pause(ctx, 2*time.Second); err != nil {
		return 0, 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, ok := bytes.Cut(status, []byte("VmRSS:"))
	if !ok {
		return 0, 0, errors.New("no VmRSS in the status of the process")
	}
	kb, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
	return readyMS, kb / 1024, err
}
