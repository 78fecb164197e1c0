package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"greengate/gate"
	"greengate/gate/passage"
	"greengate/store/journal"
	"greengate/sync/enrol"
	"greengate/sync/upload"
)

// runRecorder is a gate without a lane, in a process of its own that is killed:
// the real journal and the real uploader. For each line on in, which holds a
// number, it writes a decision that carries it, and says "decided SEQ NUMBER"
// once that is durable; between them it says "acknowledged SEQ". It ends when
// in ends and the hub has everything.
func runRecorder(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	id, err := enrol.Load(filepath.Join(dir, "identity.json"))
	if err != nil {
		return err
	}
	hubKey, err := passage.ParseHubKey(id.HubKey)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Small segments, so that the kills also strike where one ends and the next begins.
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{Gate: id.Gate, Hub: hubKey, SegmentBytes: 64 << 10, Rand: rand.Reader, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	config, err := id.TLSConfig(deviceClock{})
	if err != nil {
		return err
	}
	signer, err := id.Signer()
	if err != nil {
		return err
	}
	wake := make(chan struct{}, 1)
	u := &upload.Uploader{Journal: outgoing{j}, Client: upload.NewClient(config), URL: id.HubURL, Gate: id.Gate, Signer: signer, Wake: wake,
		Timeout: 20 * time.Second, Heartbeat: time.Second, Log: log}
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() {
		if err := u.Run(ctx); err != nil && ctx.Err() == nil {
			log.Error("upload ended", "err", err)
		}
	})
	say := bufio.NewWriter(out)
	told := uint64(0)
	acknowledged := func() error {
		if n := j.State().Acknowledged; n != told {
			told = n
			fmt.Fprintf(say, "acknowledged %d\n", n)
		}
		return say.Flush()
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var number uint64
		if _, err := fmt.Sscan(strings.TrimSpace(lines.Text()), &number); err != nil {
			return fmt.Errorf("number %q: %w", lines.Text(), err)
		}
		seq, err := j.Append(decision(number))
		if err != nil {
			return err
		}
		fmt.Fprintf(say, "decided %d %d\n", seq, number)
		if err := acknowledged(); err != nil {
			return err
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := until(ctx, 5*time.Minute, "the hub has everything", func() (bool, error) {
		at := j.State()
		return at.Acknowledged+1 == at.Next, acknowledged()
	}); err != nil {
		return fmt.Errorf("%w: %+v", err, u.State())
	}
	return acknowledged()
}

// outgoing is the journal as the uploader sees it.
type outgoing struct{ *journal.Log }

// Acknowledged implements upload.Journal.
func (o outgoing) Acknowledged() uint64 { return o.State().Acknowledged }

// Last implements upload.Journal.
func (o outgoing) Last() uint64 { return o.State().Next - 1 }

// deviceClock is the machine's clock, taken as the hub's.
type deviceClock struct{}

// Now implements enrol.Clock.
func (deviceClock) Now() (time.Time, gate.ClockQuality) { return time.Now(), gate.ClockNetwork }

// FloorTime implements enrol.Clock.
func (deviceClock) FloorTime() time.Time { return time.Time{} }
