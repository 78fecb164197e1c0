package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"greengate/gate"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// Clock tells the time of day and how far to trust it; *gate.WallClock is one.
type Clock interface {
	Now() (time.Time, gate.ClockQuality)
	// Floor raises the clock's floor to a verified signed time. The clock
	// decides whether it believes a leap; FloorTime then tells.
	Floor(signed time.Time)
	FloorTime() time.Time
}

var _ Clock = (*gate.WallClock)(nil)

// Config of a client. Root, Fetcher, Store, Clock and Log are needed.
type Config struct {
	// Root is the root metadata that came with the enrolment. The store's own
	// is used where it is newer.
	Root []byte
	// Fetcher reads the repository.
	Fetcher Fetcher
	// Store keeps what was verified.
	Store Store
	// Clock gives the reference time of a run, and is told the signed time.
	Clock Clock
	// Regions whose lists are held: prefixes of GB/T 2260, as "33" or "330106".
	Regions []string
	// Foreign are the schemes of foreign codes whose revocation lists are held,
	// of hashlist.Schemes.
	Foreign []string
	// Every is the time between two polls; 60 s by default. Each is up to a
	// tenth longer or shorter, so that gates do not ask in step.
	Every time.Duration
	// Limits on what one run fetches.
	Limits Limits
	// Log is for whoever repairs the gate.
	Log *slog.Logger
}

const (
	// defaultEvery and the hub's publish within 20 s give a recolour at every
	// online gate within 90 s (DESIGN section 4).
	defaultEvery = 60 * time.Second
	// longestWait is the longest back-off when the server does not answer.
	longestWait = 10 * time.Minute
	// restAfter is the least time between two runs, however often it is kicked.
	restAfter = 2 * time.Second
	// rootsEvery is how often the chain of roots is asked for while the
	// timestamp does not change.
	rootsEvery = time.Hour
	// writeEvery is how often at most the signed time is written to disk while
	// nothing else changes.
	writeEvery = 15 * time.Minute
	// longestRun ends a run; what is missing then is for the next.
	longestRun = 30 * time.Minute
	// maxAhead is how far a synchronised clock may be behind the hub's.
	maxAhead = 10 * time.Minute
	// maxWanted is how many absent lists may be asked for at once.
	maxWanted = 64
)

// Client keeps the store up to date. Its methods may be called from several
// goroutines.
type Client struct {
	config Config
	kick   chan struct{}

	// running is held for a run; the fields below it belong to the run.
	running sync.Mutex
	// rootsAt is when the chain of roots was last followed.
	rootsAt time.Time
	// complete: all that the newest timestamp leads to is held.
	complete bool
	// latest is the newest verified timestamp, nil before the first; the
	// stored one may be older by writeEvery.
	latest []byte
	// current are the lists that are held as the newest timestamp has them.
	current []string
	// failed are the lists that were fetched and could not be used.
	failed map[string]failedList
	// currentHashes and failedHashes are the same for the hash lists of foreign codes.
	currentHashes []hashlist.ID
	failedHashes  map[hashlist.ID]failedHashes

	mu sync.Mutex
	// yield cuts the run from the server short that began last; imports is how
	// many wait for that.
	yield   context.CancelCauseFunc
	imports int
	wanted  map[string]bool
	// absent are the wanted lists that did not come, with when.
	absent map[string]time.Time
	status Status
}

// failedList is a list that was fetched, and refused by its checks or the store.
type failedList struct {
	info  statuslist.Info
	err   error
	times int
	at    time.Time
}

// Status is how the last runs went.
type Status struct {
	// LastOK is when a run last went through without an error, zero for never.
	LastOK time.Time
	// LastTry is when the last run ended.
	LastTry time.Time
	// LastError is what was wrong with the last run, nil for nothing.
	LastError error
	// Report of the last run.
	Report Report
	// Totals of all runs since the client was made.
	Totals Totals
}

// Totals count what all runs did.
type Totals struct {
	// Runs, and those of them that ended with an error or found nothing new.
	Runs, Failed, Unchanged uint64
	// Fetched is the number of bytes of all files.
	Fetched uint64
	// Installed and Dropped count keys, policies, maps, roots and lists.
	Installed, Dropped uint64
	// Deltas, Snapshots and Renewed count how lists came in, as in a Report;
	// Evicted those that made room.
	Deltas, Snapshots, Renewed, Evicted uint64
}

// add counts one run.
func (t *Totals) add(r Report, err error) {
	t.Runs++
	if err != nil {
		t.Failed++
	}
	if r.Unchanged {
		t.Unchanged++
	}
	t.Fetched += uint64(max(r.Fetched, 0))
	t.Installed += uint64(len(r.Installed))
	t.Dropped += uint64(len(r.Dropped))
	t.Deltas += uint64(r.Deltas)
	t.Snapshots += uint64(r.Snapshots)
	t.Renewed += uint64(r.Renewed)
	t.Evicted += uint64(len(r.Evicted))
}

// New returns a client. It fails where a Root cannot be trusted by itself.
func New(c Config) (*Client, error) {
	if c.Fetcher == nil || c.Store == nil || c.Clock == nil || c.Log == nil {
		return nil, errors.New("trust: Fetcher, Store, Clock and Log are needed")
	}
	for _, r := range c.Regions {
		if len(r) < 2 || len(r) > 6 || !digits(r) {
			return nil, fmt.Errorf("region %q: want 2 to 6 digits of GB/T 2260", r)
		}
	}
	for _, s := range c.Foreign {
		if !hashlist.Scheme(s).Valid() {
			return nil, fmt.Errorf("foreign scheme %.20q: want any of %s", s, hashlist.Schemes())
		}
	}
	c.Regions, c.Foreign = slices.Clone(c.Regions), slices.Clone(c.Foreign)
	c.Limits = c.Limits.withDefaults()
	if c.Every == 0 {
		c.Every = defaultEvery
	}
	if _, err := newWorkflow(c.Fetcher, c.Limits, c.Root, time.Time{}); err != nil {
		return nil, err
	}
	return &Client{config: c, kick: make(chan struct{}, 1), failed: map[string]failedList{}, failedHashes: map[hashlist.ID]failedHashes{},
		wanted: map[string]bool{}, absent: map[string]time.Time{}}, nil
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Want asks for a list that is not held, at once. Asking again for the same
// costs nothing: one that did not come is for the next poll to try, and a list
// that the authority does not publish is forgotten.
func (c *Client) Want(uri string) error {
	if _, _, err := pathOf(uri); err != nil {
		return err
	}
	c.mu.Lock()
	full := len(c.wanted) >= maxWanted
	at, tried := c.absent[uri]
	already := c.wanted[uri] || tried && time.Since(at) < c.config.Every
	if !full {
		c.wanted[uri] = true
	}
	c.mu.Unlock()
	if full && !already {
		return fmt.Errorf("list %s: %w: %d lists are being asked for", uri, ErrUnavailable, maxWanted)
	}
	if !already {
		c.Kick()
	}
	return nil
}

// Configured says whether a list is of a region that the gate holds by its
// configuration. Another one that is held was asked for by a code.
func (c *Client) Configured(uri string) bool {
	_, region, err := pathOf(uri)
	return err == nil && slices.ContainsFunc(c.config.Regions, func(r string) bool { return overlap(r, region) })
}

// Kick starts a run now instead of at the next poll.
func (c *Client) Kick() {
	select {
	case c.kick <- struct{}{}:
	default: // one is waiting already
	}
}

// Status returns how the last runs went.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Run polls until ctx ends, which is no error. It waits longer each time the
// server does not answer; a list that fails by itself does not slow the others.
func (c *Client) Run(ctx context.Context) error {
	wait := c.config.Every
	for {
		_, err := c.Once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errStopped) {
			wait = min(2*wait, max(longestWait, c.config.Every))
		} else {
			wait = c.config.Every
		}
		if err := c.sleep(ctx, restAfter, false); err != nil {
			return nil
		}
		if err := c.sleep(ctx, jitter(wait)-restAfter, true); err != nil {
			return nil
		}
	}
}

// sleep waits, until it is kicked if it may be.
func (c *Client) sleep(ctx context.Context, d time.Duration, kicked bool) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	kick := c.kick
	if !kicked {
		kick = nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-kick:
	}
	return nil
}

// jitter returns d, a tenth longer or shorter.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
