package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the peer
)

// change is one recolour, for the peer.
type change struct {
	Code  int
	Value byte
}

// peer is SQLite with the same lists: a row for each code, or a row for each
// list with its bytes. WAL and FULL, as durable as the store is.
type peer struct {
	setup
	rows bool
	db   *sql.DB
}

func (p *peer) open(ctx context.Context) (err error) {
	// One connection: what is measured is SQLite, not the pool.
	if p.db, err = sql.Open("sqlite", "file:"+p.Path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"); err != nil {
		return err
	}
	p.db.SetMaxOpenConns(1)
	table := "CREATE TABLE list (list INTEGER PRIMARY KEY, bits BLOB NOT NULL)"
	if p.rows {
		table = "CREATE TABLE code (list INTEGER, idx INTEGER, status INTEGER NOT NULL, PRIMARY KEY (list, idx)) WITHOUT ROWID"
	}
	_, err = p.db.ExecContext(ctx, table)
	return err
}

func (p *peer) close() error {
	if p.db == nil {
		return nil
	}
	return p.db.Close()
}

func (p *peer) obey(ctx context.Context, o order) (a answer, err error) {
	switch o.Do {
	case "load":
		if err := p.open(ctx); err != nil {
			return a, err
		}
		err = p.load(ctx)
	case "change":
		err = p.change(ctx, o.Changes)
	case "lookup":
		a.Nanoseconds, err = p.lookup(ctx)
	default:
		err = fmt.Errorf("a peer does not know %q", o.Do)
	}
	if err != nil {
		return a, err
	}
	a.File, err = filesBytes(p.Path)
	return a, err
}

// filesBytes sums up a database and what lies beside it.
func filesBytes(path string) (sum int64, err error) {
	files, err := filepath.Glob(path + "*")
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, err
}

// in runs f with a prepared statement in one transaction.
func (p *peer) in(ctx context.Context, query string, f func(*sql.Stmt) error) (err error) {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	stmt, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	if err := errors.Join(f(stmt), stmt.Close()); err != nil {
		return err
	}
	return tx.Commit()
}

func (p *peer) load(ctx context.Context) error {
	raw, err := os.ReadFile(p.Raw)
	if err != nil {
		return err
	}
	if !p.rows {
		return p.in(ctx, "INSERT INTO list VALUES (?, ?)", func(s *sql.Stmt) error {
			for n := 0; n*perList/4 < len(raw); n++ {
				if _, err := s.ExecContext(ctx, n, raw[n*perList/4:(n+1)*perList/4]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	// Many rows a statement, since one each takes longer; all sizes are multiples of 32.
	const many = 32
	insert := "INSERT INTO code VALUES " + strings.Repeat("(?, ?, ?), ", many-1) + "(?, ?, ?)"
	return p.in(ctx, insert, func(s *sql.Stmt) error {
		args := make([]any, 0, 3*many)
		for code := range p.Codes {
			args = append(args, code/perList, code%perList, raw[code/4]>>(code%4*2)&3)
			if len(args) < cap(args) {
				continue
			}
			if _, err := s.ExecContext(ctx, args...); err != nil {
				return err
			}
			args = args[:0]
		}
		return nil
	})
}

func (p *peer) change(ctx context.Context, changes []change) error {
	if p.rows {
		return p.in(ctx, "UPDATE code SET status = ? WHERE list = ? AND idx = ?", func(s *sql.Stmt) error {
			for _, c := range changes {
				if _, err := s.ExecContext(ctx, c.Value, c.Code/perList, c.Code%perList); err != nil {
					return err
				}
			}
			return nil
		})
	}
	lists := map[int][]byte{}
	for _, c := range changes {
		bits := lists[c.Code/perList]
		if bits == nil {
			if err := p.db.QueryRowContext(ctx, "SELECT bits FROM list WHERE list = ?", c.Code/perList).Scan(&bits); err != nil {
				return err
			}
			lists[c.Code/perList] = bits
		}
		b, shift := &bits[c.Code%perList/4], c.Code%4*2
		*b = *b&^(3<<shift) | c.Value<<shift
	}
	return p.in(ctx, "UPDATE list SET bits = ? WHERE list = ?", func(s *sql.Stmt) error {
		for n, bits := range lists {
			if _, err := s.ExecContext(ctx, bits, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// lookup looks random codes up with a prepared statement.
func (p *peer) lookup(ctx context.Context) (ns float64, err error) {
	query, n := "SELECT status FROM code WHERE list = ? AND idx = ?", 20_000
	if !p.rows {
		query, n = "SELECT substr(bits, ? / 4 + 1, 1) FROM list WHERE list = ?", 2000
	}
	s, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rng := rand.New(rand.NewPCG(5, 6))
	start := time.Now()
	for range n {
		code := rng.IntN(p.Codes)
		if p.rows {
			var v int
			err = s.QueryRowContext(ctx, code/perList, code%perList).Scan(&v)
		} else {
			var v []byte
			err = s.QueryRowContext(ctx, code%perList, code/perList).Scan(&v)
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n), nil
}

// sqlite measures the peer and the store in turn: what a gate does with its
// lists, each in a process of its own, on the disk as it is.
func (b *bench) sqlite(ctx context.Context) error {
	rows := city
	if b.short {
		rows = size{"1m", perList}
	}
	if err := b.beside(ctx, "rows", rows); err != nil {
		return err
	}
	return b.beside(ctx, "blobs", province)
}

func (b *bench) beside(ctx context.Context, kind string, s size) error {
	return b.temp(func(dir string) (err error) {
		c := newColours(s, 1)
		a, err := newAuthority(dir)
		if err != nil {
			return err
		}
		if _, err := a.publish(ctx, c, time.Second); err != nil {
			return err
		}
		raw := filepath.Join(dir, "raw")
		if err := os.WriteFile(raw, c.joined(), 0o600); err != nil {
			return err
		}
		set := setup{Path: filepath.Join(dir, "lists.db"), Repository: a.dir, Root: a.root, Raw: raw, Codes: s.codes}
		own, err := startChild(ctx, "gate", set, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.close()) }()
		set.Path = filepath.Join(dir, "peer.sqlite")
		other, err := startChild(ctx, kind, set, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, other.close()) }()

		name := "sqlite." + kind + "." + s.name
		load, err := own.tell(order{Do: "fresh", Now: a.now})
		if err != nil {
			return err
		}
		peerLoad, err := other.tell(order{Do: "load"})
		if err != nil {
			return err
		}
		b.beat(name, "load", "s", load.Seconds, peerLoad.Seconds)
		var lookups, peerLookups, deltas, peerDeltas, wrote, peerWrote, ownFile, peerFile []float64
		for range b.rounds(5, 2) {
			l, err := own.tell(order{Do: "lookup", Now: a.now})
			if err != nil {
				return err
			}
			pl, err := other.tell(order{Do: "lookup"})
			if err != nil {
				return err
			}
			before := c.joined()
			c.change(0.01)
			if _, err := a.publish(ctx, c, time.Minute); err != nil {
				return err
			}
			d, err := own.tell(order{Do: "poll", Now: a.now})
			if err != nil {
				return err
			}
			pd, err := other.tell(order{Do: "change", Changes: c.changesSince(before)})
			if err != nil {
				return err
			}
			lookups, peerLookups = append(lookups, l.Nanoseconds), append(peerLookups, pl.Nanoseconds)
			deltas, peerDeltas = append(deltas, d.Seconds), append(peerDeltas, pd.Seconds)
			wrote, peerWrote = append(wrote, float64(d.Written)/1e6), append(peerWrote, float64(pd.Written)/1e6)
			ownFile, peerFile = append(ownFile, float64(d.File)/1e6), append(peerFile, float64(pd.File)/1e6)
		}
		b.beat(name, "lookup", "ns", median(lookups), median(peerLookups))
		b.beat(name, "delta.1pc", "s", median(deltas), median(peerDeltas))
		b.beat(name, "written.1pc", "MB", median(wrote), median(peerWrote))
		b.beat(name, "file", "MB", ownFile[len(ownFile)-1], peerFile[len(peerFile)-1])
		const mib = 1 << 20
		b.beat(name, "rss", "MiB", float64(load.Anon)/mib, float64(peerLoad.Anon)/mib)
		return nil
	})
}

// beat prints the peer's figure, and ours as a part of it.
func (b *bench) beat(name, what, unit string, own, peer float64) {
	b.say(name+"."+what, peer, unit)
	b.say("vs_"+name+"."+what+".ratio", own/peer, "ratio")
}
