package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"greengate/gate"
	"greengate/sync/enrol"
	"greengate/sync/upload"
)

// ErrWiped: by its operator's order this device has destroyed all it held, and
// is no gate any more.
var ErrWiped = errors.New("this gate was wiped by its operator's order\nhint: `gatectl enrol TOKEN` makes it a gate again")

// Files of an order in the state folder: accepted, and being carried out. Both
// are there to go on behind a cut.
const (
	orderFile = "wipe.order"
	begunFile = "wipe.begun"
)

const (
	// sendFor is how long a gate tries to send what it has before it obeys. It
	// serves on meanwhile. lastFor is for what the lane wrote at its end.
	sendFor, lastFor = 10 * time.Minute, 15 * time.Second
	// sendLook is how often it looks whether all is sent.
	sendLook = 250 * time.Millisecond
	// tellTries is how often it tries to tell the hub, tellPause apart, before it
	// destroys its key.
	tellTries, tellPause = 3, 5 * time.Second
	// wipeBlock is what is overwritten at a time.
	wipeBlock = 1 << 20
)

// begun is what begunFile holds.
type begun struct {
	Unsent uint64 `json:"unsent"`
	// Certificate is the SHA-256 of the one that is wiped, where it is known.
	Certificate []byte `json:"certificate,omitempty"`
}

// ordered takes an order that came with an answer of the hub. One that is not
// for this device changes nothing.
func (g *Gate) ordered(data []byte) {
	now, quality := g.clock.Now()
	if quality < gate.ClockNetwork {
		now = time.Time{}
	}
	if _, err := g.id.OpenWipe(data, g.worn.pair.Load().Leaf, now); err != nil {
		g.log.Warn("an order to wipe is not obeyed", "err", err)
		return
	}
	if g.toWipe.Swap(true) {
		return
	}
	g.log.Warn("this gate is to be wiped: it sends what it has, and destroys what it holds then", "within", sendFor)
	if err := writeWhole(filepath.Join(g.cfg.State, orderFile), data); err != nil {
		// It is obeyed all the same; only a cut would make it wait for the next contact.
		g.log.Error("order to wipe not kept", "err", err)
	}
	close(g.order)
}

// reread takes up an order that was accepted before the last end. Its age is not
// judged again.
func (g *Gate) reread() {
	path := filepath.Join(g.cfg.State, orderFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		g.log.Error("an order to wipe cannot be read; the next contact brings it again", "err", err)
		return
	}
	if _, err := g.id.OpenWipe(data, nil, time.Time{}); err != nil {
		// Left behind by another identity of this device.
		g.log.Warn("an order to wipe in the state folder is not for this gate", "err", err, "removed", os.Remove(path))
		return
	}
	g.toWipe.Store(true)
	close(g.order)
}

// awaitOrder ends the gate with errObey once it was ordered and has tried to send all.
func (g *Gate) awaitOrder(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.order:
	}
	deadline := time.NewTimer(sendFor)
	defer deadline.Stop()
	look := time.NewTicker(sendLook)
	defer look.Stop()
	for {
		// A hub that refuses will not take more for asking again.
		if s := g.uploader.State(); s.Backlog == 0 || s.Stop != upload.Running && s.Stop != upload.StopRecord {
			return errObey
		}
		select {
		case <-ctx.Done():
			return nil
		case <-deadline.C:
			return errObey
		case <-look.C:
		}
	}
}

// errObey ends all parts of a gate that is to be wiped.
var errObey = errors.New("the gate is to be wiped")

// obey sends what the lane wrote last, and then destroys what the gate holds.
// The lane has ended and left the turnstile locked.
func (g *Gate) obey() error {
	defer beating(g.opt.Beat)()
	ctx, cancel := context.WithTimeout(context.Background(), lastFor)
	defer cancel()
	for s := g.uploader.State(); s.Backlog > 0 && s.Stop == upload.Running; s = g.uploader.State() {
		if _, err := g.uploader.Once(ctx); err != nil {
			g.log.Warn("the last passages are not sent", "err", err)
			break
		}
	}
	unsent := g.uploader.State().Backlog
	own := sha256.Sum256(g.worn.pair.Load().Leaf.Raw)
	text, err := json.Marshal(begun{unsent, own[:]})
	if err == nil {
		err = writeWhole(filepath.Join(g.cfg.State, begunFile), text)
	}
	if err != nil {
		// A full disk, perhaps: that helps nobody out of being wiped.
		g.log.Error("a cut would not be gone on from", "err", err)
	}
	if err := g.Close(); err != nil {
		g.log.Warn("closed in disorder before wiping", "err", err)
	}
	w := wiping{cfg: g.cfg, log: g.log, unsent: unsent, id: g.id, client: g.uploader.Client}
	return w.carryOut(context.Background())
}

// goOn carries on a wiping that a cut ended, before anything is opened. It
// returns nil where none was begun, or only one of the identity before.
func goOn(cfg Config, opt Options) error {
	text, err := os.ReadFile(filepath.Join(cfg.State, begunFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	defer beating(opt.Beat)()
	var b begun
	if err := json.Unmarshal(text, &b); err != nil {
		opt.Log.Warn("the wiping's own file is damaged; it goes on", "err", err)
	}
	w := wiping{cfg: cfg, log: opt.Log, unsent: b.Unsent}
	if id, err := enrol.Load(cfg.Identity); err == nil {
		leaf, err := id.Leaf()
		if err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
		if sum := sha256.Sum256(leaf.Raw); len(b.Certificate) > 0 && !bytes.Equal(b.Certificate, sum[:]) {
			opt.Log.Warn("a wiping of the identity before was not finished; this one is not wiped", "left", cfg.State)
			return os.Remove(filepath.Join(cfg.State, begunFile))
		}
		clock := gate.NewWallClock(opt.Now, opt.Synchronised, opt.Log)
		if since, err := id.Since(); err == nil {
			clock.Floor(since)
		}
		config, err := id.TLSConfig(clock)
		if err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
		w.id, w.client = id, upload.NewClient(config)
	} else {
		opt.Log.Warn("the hub is not told of the wiping", "err", err)
	}
	return w.carryOut(context.Background())
}

// wiping destroys what a gate holds.
type wiping struct {
	cfg    Config
	log    *slog.Logger
	unsent uint64
	// id is who the gate is, and client makes mutual TLS as that; nil where the
	// key is gone already.
	id     *enrol.Identity
	client *http.Client
	// removing is told each file before it is destroyed; an error of it ends the
	// wiping there, as a cut would. Nil but in tests.
	removing func(name string) error
}

// carryOut destroys all in the state folder and the PINs, tells the hub, and
// destroys the key last. A cut in between is gone on from by goOn. It returns
// [ErrWiped], or what went wrong.
func (w *wiping) carryOut(ctx context.Context) error {
	root, err := os.OpenRoot(w.cfg.State)
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	defer root.Close()
	var files []string
	// Nothing is followed out of the folder.
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(w.cfg.State, name)
		if !d.IsDir() && name != begunFile && path != filepath.Clean(w.cfg.Identity) {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wipe %s: %w", w.cfg.State, err)
	}
	w.log.Warn("wiping", "folder", w.cfg.State, "files", len(files), "unsent", w.unsent)
	var failed []error
	for _, name := range files {
		if err := w.destroy(root, name); errors.Is(err, errCut) {
			return err
		} else if err != nil {
			failed = append(failed, err)
		}
	}
	if err := w.outside(w.cfg.Guards); err != nil {
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		// The key goes all the same: without it nobody is let in by it.
		w.log.Error("not everything could be destroyed", "err", errors.Join(failed...))
	} else if w.id != nil {
		w.tell(ctx)
	}
	if err := w.outside(w.cfg.Identity); err != nil {
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return fmt.Errorf("wipe: %w\nhint: it goes on at the next start; else destroy the card", errors.Join(failed...))
	}
	if err := w.destroy(root, begunFile); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	return ErrWiped
}

// errCut ends a wiping half-way; tests make it.
var errCut = errors.New("cut")

// tell tells the hub, a few times.
func (w *wiping) tell(ctx context.Context) {
	for try := 1; ; try++ {
		err := enrol.TellWiped(ctx, w.client, w.id.HubURL, w.unsent)
		if err == nil {
			return
		}
		w.log.Warn("the hub is not told of the wiping", "try", try, "of", tellTries, "err", err)
		if try == tellTries || errors.Is(err, enrol.ErrNotOrdered) {
			return
		}
		timer := time.NewTimer(tellPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// outside destroys a file that may lie elsewhere.
func (w *wiping) outside(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return w.destroy(root, filepath.Base(path))
}

// destroy overwrites one file and removes it. What is not a plain file is
// removed only. A card may keep an older copy of a block that it moved; what
// lies there is sealed to the hub, but for the key, which the hub takes no more.
func (w *wiping) destroy(root *os.Root, name string) error {
	if w.removing != nil {
		if err := w.removing(name); err != nil {
			return err
		}
	}
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		if err := overwrite(root, name, info.Size()); err != nil {
			// A file that cannot be written may still be removed.
			w.log.Warn("not overwritten before it is removed", "file", name, "err", err)
		}
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func overwrite(root *os.Root, name string, size int64) (err error) {
	f, err := root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zero := make([]byte, min(size, wipeBlock))
	for at := int64(0); at < size; at += wipeBlock {
		if _, err := f.WriteAt(zero[:min(size-at, wipeBlock)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// beating feeds the watchdog while the lane does not run any more, until the
// function that it returns is called. Each step of a wiping has its own end.
func beating(beat func()) (stop func()) {
	if beat == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			beat()
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// writeWhole makes a file appear whole or not at all, for its owner alone.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
