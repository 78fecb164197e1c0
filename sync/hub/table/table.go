// Package table writes the clear parts of passages as files that other programs
// read: CSV (RFC 4180) for spreadsheets and Apache Parquet for everything else.
// A row is a record of a gate's journal. Nothing is held but the rows of one
// Parquet group, so a year of a province takes the memory of a minute.
package table

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Row is one record. A field that a record does not have is empty; At is nil in
// a tombstone. The names of the columns must never change.
type Row struct {
	Gate        string     `parquet:"gate,dict"`
	Sequence    uint64     `parquet:"sequence"`
	Received    time.Time  `parquet:"received,timestamp(microsecond)"`
	Tombstone   bool       `parquet:"tombstone"`
	Digest      string     `parquet:"digest"` // SHA-256 of the clear part, in hex
	Kind        string     `parquet:"kind,dict"`
	At          *time.Time `parquet:"at,optional,timestamp(microsecond)"`
	Clock       string     `parquet:"clock,dict"`
	Direction   string     `parquet:"direction,dict"`
	Verdict     string     `parquet:"verdict,dict"`
	Reason      string     `parquet:"reason,dict"`
	Notices     string     `parquet:"notices,dict"` // words with a space between
	Policy      uint64     `parquet:"policy"`
	List        uint64     `parquet:"list"`
	Of          uint64     `parquet:"of"`
	Outcome     string     `parquet:"outcome,dict"`
	GuardReason string     `parquet:"guard_reason,dict"`
	Dropped     uint64     `parquet:"dropped"`
}

// columns are the names in the order of the file; those of Row's tags.
var columns = []string{"gate", "sequence", "received", "tombstone", "digest", "kind", "at", "clock", "direction", "verdict", "reason",
	"notices", "policy", "list", "of", "outcome", "guard_reason", "dropped"}

// Writer writes rows. What was written is whole only after Close returned nil.
type Writer interface {
	Write(Row) error
	// Close ends the file; it does not close what it was written to.
	Close() error
}

// ErrFormat: no such format.
var ErrFormat = errors.New("unknown format")

// New returns the writer of a format, "csv" or "parquet". Errors wrap [ErrFormat].
func New(format string, w io.Writer) (Writer, error) {
	switch format {
	case "csv":
		return newCSV(w)
	case "parquet":
		return newParquet(w), nil
	}
	return nil, fmt.Errorf("%w %q: csv or parquet", ErrFormat, format)
}

type csvWriter struct{ csv *csv.Writer }

func newCSV(w io.Writer) (*csvWriter, error) {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write(columns); err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	return &csvWriter{c}, nil
}

// stamp is as exact as Parquet's column, so that both files say the same.
const stamp = "2006-01-02T15:04:05.000000Z"

// text makes a word safe for a spreadsheet: one that begins like a formula would
// be run as one there, and what a gate sends is a stranger's.
func text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// Write writes a line.
func (c *csvWriter) Write(r Row) error {
	at := ""
	if r.At != nil {
		at = r.At.UTC().Format(stamp)
	}
	return c.csv.Write([]string{text(r.Gate), number(r.Sequence), r.Received.UTC().Format(stamp), strconv.FormatBool(r.Tombstone), text(r.Digest),
		text(r.Kind), at, text(r.Clock), text(r.Direction), text(r.Verdict), text(r.Reason), text(r.Notices), number(r.Policy), number(r.List),
		number(r.Of), text(r.Outcome), text(r.GuardReason), number(r.Dropped)})
}

// Close writes what is left.
func (c *csvWriter) Close() error {
	c.csv.Flush()
	return c.csv.Error()
}

// groupRows is how many rows a Parquet group has: some 4 MiB in memory.
const groupRows = 20_000

type parquetWriter struct {
	to   *parquet.GenericWriter[Row]
	rows []Row
}

func newParquet(w io.Writer) *parquetWriter {
	return &parquetWriter{to: parquet.NewGenericWriter[Row](w, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(groupRows),
		parquet.CreatedBy("greengate", "1", ""))}
}

// Write takes a row; some hundred of them are written at once.
func (p *parquetWriter) Write(r Row) error {
	p.rows = append(p.rows, r)
	if len(p.rows) < 256 {
		return nil
	}
	return p.flush()
}

func (p *parquetWriter) flush() error {
	_, err := p.to.Write(p.rows)
	p.rows = p.rows[:0]
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Close writes what is left and the file's footer.
func (p *parquetWriter) Close() error {
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.to.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}
