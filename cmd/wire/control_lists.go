package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"greengate/cmd/control"
	"greengate/gate"
	"greengate/pass"
	"greengate/sync/trust"
)

const (
	// importPrefix names the folders that bundles are unpacked in.
	importPrefix = "import-"
	// spareDisk is left free whatever is imported: the journal is there too, and
	// without it nobody passes.
	spareDisk = 64 << 20
	// bundleSilence is how long nothing may come: long enough for somebody who
	// pastes at a terminal, and an end for a line that was pulled.
	bundleSilence = 5 * time.Minute
	// narrateEvery keeps a slow line free of words.
	narrateEvery = time.Second
)

// heldLists describes the lists held.
func (g *Gate) heldLists() control.Lists {
	now, _ := g.clock.Now()
	out := control.Lists{Time: now, Lists: []control.HeldList{}}
	policy := g.db.Policy()
	for _, info := range g.db.Lists() {
		l := g.db.Lookup(pass.StatusRef{URI: info.URI})
		out.Lists = append(out.Lists, control.HeldList{URI: info.URI, Sequence: info.Sequence, Issued: info.Issued,
			Confirmed: l.Confirmed, Freshness: policy.Freshness(l, now).String(), Bytes: info.Size})
	}
	for _, info := range g.db.HashLists() {
		confirmed := g.db.HashConfirmed(info.ID)
		out.Lists = append(out.Lists, control.HeldList{URI: info.String(), Sequence: info.Sequence, Issued: info.Issued, Confirmed: confirmed,
			Freshness: policy.Freshness(gate.Listing{Found: true, Confirmed: confirmed}, now).String(), Bytes: info.Size()})
	}
	return out
}

// checkLists reads the store's file again.
func (g *Gate) checkLists() control.ListsCheck {
	n, problems := g.db.Check()
	out := control.ListsCheck{Checked: n, Problems: []string{}}
	for _, p := range problems {
		g.log.Error("a list in the file is not what was signed", "error", p)
		out.Problems = append(out.Problems, p.Error())
	}
	return out
}

// sweepImports removes what a crash in an import has left.
func sweepImports(state string) error {
	left, err := filepath.Glob(filepath.Join(state, importPrefix+"*"))
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("bundle of an import that was cut: %w", err)
		}
	}
	return nil
}

// importLists takes a bundle in, unpacks it beside the store, and brings in
// what it holds by the same checks that the hub's lists go through.
func (c *controlServer) importLists(w http.ResponseWriter, r *http.Request) {
	if !c.importing.TryLock() {
		http.Error(w, "another import is on its way", http.StatusConflict)
		return
	}
	line := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	say := func(l control.ImportLine) {
		if err := enc.Encode(l); err != nil {
			c.g.log.Debug("control answer not taken", "error", err)
		} else if err := line.Flush(); err != nil {
			c.g.log.Debug("control answer not taken", "error", err)
		}
	}
	// When the end is told, the folder is gone and the next bundle may come.
	report, err := c.importBundle(r, line, func(doing string) { say(control.ImportLine{Doing: doing}) })
	c.importing.Unlock()
	switch {
	case errors.Is(err, errRoom):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		say(control.ImportLine{End: report})
	}
}

// importBundle unpacks what comes and brings it in. It returns an error for
// what is no bundle, before anything was said.
func (c *controlServer) importBundle(r *http.Request, line *http.ResponseController, say func(string)) (*control.ImportReport, error) {
	dir, err := os.MkdirTemp(c.g.cfg.State, importPrefix)
	if err != nil {
		return nil, fmt.Errorf("folder for the bundle: %w", diskError(err))
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			c.g.log.Warn("bundle not removed; the next start does", "folder", dir, "error", err)
		}
	}()
	u := unpacker{dir: dir, room: func() error { return freeRoom(dir) }}
	err = u.unpack(readerFunc(func(p []byte) (int, error) {
		if err := line.SetReadDeadline(time.Now().Add(bundleSilence)); err != nil {
			return 0, err
		}
		return r.Body.Read(p)
	}))
	if derr := line.SetReadDeadline(time.Time{}); err == nil {
		err = derr
	}
	if err != nil {
		c.g.log.Warn("bundle refused", "error", err)
		return nil, err
	}
	folder, err := trust.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	say(fmt.Sprintf("received %d files, %d bytes", u.files, u.size))
	report, err := c.g.trust.Import(r.Context(), &narrated{Fetcher: folder, say: say})
	return c.g.importReport(report, err), nil
}

// importReport tells how an import ended in words for whoever carried the stick.
func (g *Gate) importReport(r trust.Report, err error) *control.ImportReport {
	out := &control.ImportReport{Timestamp: r.Timestamp, Issued: r.Issued, Installed: r.Installed, Dropped: r.Dropped, Leap: r.Leap}
	if out.Installed == nil {
		out.Installed = []string{}
	}
	for _, f := range r.Failures {
		out.Failures = append(out.Failures, control.ImportFailure{What: f.What, Error: f.Err.Error()})
	}
	if err != nil && len(r.Failures) == 0 {
		out.Refused = err.Error() + g.importHint(err)
	}
	return out
}

// importHint says what to do next.
func (g *Gate) importHint(err error) string {
	now, quality := g.clock.Now()
	switch {
	case errors.Is(err, trust.ErrExpired):
		return fmt.Sprintf("\nhint: make a new one with `gatehub lists export` and bring it before it ends; this gate's clock says %s (%s)",
			now.UTC().Format(time.RFC3339), quality)
	case errors.Is(err, trust.ErrRollback):
		return "\nhint: the gate has newer lists than this already; a new bundle comes from `gatehub lists export`"
	case errors.Is(err, trust.ErrSignature):
		return "\nhint: it is of another authority than the one this gate was enrolled with, or somebody changed it"
	case errors.Is(err, trust.ErrHash), errors.Is(err, trust.ErrMalformed), errors.Is(err, trust.ErrVersion), errors.Is(err, trust.ErrNotFound):
		return "\nhint: it is not whole; write it anew with `gatehub lists export`, and take the stick out only when it was unmounted"
	case errors.Is(err, trust.ErrFuture):
		return fmt.Sprintf("\nhint: this gate's clock says %s; is it right?", now.UTC().Format(time.RFC3339))
	}
	return ""
}

// narrated tells what is read, now and then.
type narrated struct {
	trust.Fetcher
	say  func(string)
	last time.Time
}

// Fetch implements trust.Fetcher.
func (n *narrated) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	if now := time.Now(); now.Sub(n.last) >= narrateEvery {
		n.last = now
		n.say("checking " + path)
	}
	return n.Fetcher.Fetch(ctx, path, limit)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var _ io.Reader = readerFunc(nil)

// freeRoom fails when the disk under the folder has too little left.
func freeRoom(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < spareDisk {
		return fmt.Errorf("%w: %d MiB are free, and %d stay free for the journal\nhint: connect the gate so that it can send its passages, or name fewer regions to `gatehub lists export`",
			errRoom, free>>20, int64(spareDisk)>>20)
	}
	return nil
}
