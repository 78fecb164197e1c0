package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"greengate/gate/passage"
)

// postgres is the peer: a server of its own on the same disk, with its defaults,
// which flush each transaction.
type postgres struct {
	bench  *bench
	server *process
	pool   *pgxpool.Pool
}

// newPostgres starts one; nil where the machine has none.
func newPostgres(ctx context.Context, b *bench) (_ *postgres, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	bin := filepath.Dir(found[len(found)-1])
	dir := filepath.Join(b.dir, "postgres")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		// It refuses to run as root.
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := errors.Join(os.Chown(dir, int(uid), int(gid)), os.Chmod(b.dir, 0o711)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "bench", "--no-instructions")
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	p := &postgres{bench: b}
	if p.server, err = b.process("postgres", filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses="); err != nil {
		return nil, err
	}
	if err := p.server.startAs(as, dir); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig("host=" + dir + " user=bench dbname=postgres pool_max_conns=32")
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := until(ctx, 30*time.Second, "PostgreSQL answers", func() (bool, error) {
		err := p.pool.Ping(ctx)
		return err == nil, err
	}); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *postgres) close() error {
	if p.pool != nil {
		p.pool.Close()
	}
	return p.server.stop()
}

const (
	rowTable = `CREATE TABLE passages (gate text, seq bigint, segment bigint, clear bytea, sealed bytea, PRIMARY KEY (gate, seq))`
	rowQuery = `INSERT INTO passages SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[]) ON CONFLICT (gate, seq) DO NOTHING`

	batchTable = `CREATE TABLE batches (gate text, first bigint, body bytea, PRIMARY KEY (gate, first))`
	batchQuery = `INSERT INTO batches VALUES ($1, $2, $3) ON CONFLICT (gate, first) DO NOTHING`
)

// ingest stores the records of as many gates, each batch in a transaction: a
// row for each record, or for each batch with its bytes as they travelled.
func (p *postgres) ingest(ctx context.Context, gates, batches int, whole bool) (float64, error) {
	if _, err := p.pool.Exec(ctx, choose(whole, batchTable, rowTable)); err != nil {
		return 0, err
	}
	key, err := passage.NewHubKey()
	if err != nil {
		return 0, err
	}
	var fleet []*simulated
	for i := range gates {
		g, err := selfMade(fmt.Sprintf("peer-%d", i+1), key.PublicKey())
		if err != nil {
			return 0, err
		}
		fleet = append(fleet, g)
	}
	all, err := prepare(fleet, batches)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	for _, g := range all {
		group.Go(func() error {
			for i, batch := range g.batches {
				if whole {
					if _, err := p.pool.Exec(gctx, batchQuery, batch.Gate, int64(batch.First()), g.bodies[i]); err != nil {
						return err
					}
					continue
				}
				var seq, segment []int64
				var clear, sealed [][]byte
				for _, e := range batch.Entries {
					seq, segment = append(seq, int64(e.Seq)), append(segment, int64(e.Segment))
					clear, sealed = append(clear, e.Clear), append(sealed, e.Sealed)
				}
				if _, err := p.pool.Exec(gctx, rowQuery, batch.Gate, seq, segment, clear, sealed); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, fmt.Errorf("PostgreSQL: %w", err)
	}
	took := time.Since(start)
	var stored int64
	count := choose(whole, `SELECT count(*) * $1::bigint FROM batches`, `SELECT count(*) * 500 / $1::bigint FROM passages`)
	if err := p.pool.QueryRow(ctx, count, passage.MaxBatchRecords).Scan(&stored); err != nil {
		return 0, err
	}
	if want := int64(gates * batches * passage.MaxBatchRecords); stored != want {
		return 0, fmt.Errorf("PostgreSQL holds %d records of %d", stored, want)
	}
	return float64(stored) / took.Seconds(), nil
}
