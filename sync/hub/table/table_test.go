package table

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

func rows(n int) []Row {
	start := time.Date(2020, 2, 17, 8, 0, 0, 123456000, time.UTC)
	var out []Row
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second)
		r := Row{Gate: "north", Sequence: uint64(i + 1), Received: at.Add(time.Minute), Digest: strings.Repeat("ab", 32)}
		if r.Tombstone = i%7 == 3; !r.Tombstone {
			r.At, r.Kind, r.Clock, r.Direction, r.Verdict, r.Reason = &at, "decision", "confirmed", "in", "admit", "valid"
			r.Notices, r.Policy, r.List, r.Of, r.Outcome = "lists-stale notice", 3, 1<<63+uint64(i), uint64(i), "门卫, \"老王\""
		}
		out = append(out, r)
	}
	return out
}

func write(t *testing.T, format string, rows []Row) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := New(format, &b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readParquet(t *testing.T, data []byte) []Row {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(f.Schema().Fields()); got != len(columns) {
		t.Errorf("%d columns, want %d", got, len(columns))
	}
	for i, field := range f.Schema().Fields() {
		if field.Name() != columns[i] {
			t.Errorf("column %d is %s, want %s", i, field.Name(), columns[i])
		}
	}
	r := parquet.NewGenericReader[Row](f)
	defer r.Close()
	out := make([]Row, f.NumRows())
	for n := 0; n < len(out); {
		got, err := r.Read(out[n:])
		if n += got; err != nil && !errors.Is(err, io.EOF) || got == 0 {
			t.Fatalf("row %d of %d: %v", n, len(out), err)
		}
	}
	return out
}

// What the library reads out of the Parquet file is line by line what the CSV
// file says, over more than one group.
func TestFormatsSayTheSame(t *testing.T) {
	in := rows(groupRows + 300)
	lines, err := csv.NewReader(bytes.NewReader(write(t, "csv", in))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != len(in)+1 || strings.Join(lines[0], ",") != strings.Join(columns, ",") {
		t.Fatalf("%d lines, the first %q", len(lines), lines[0])
	}
	got := readParquet(t, write(t, "parquet", in))
	if len(got) != len(in) {
		t.Fatalf("%d rows, want %d", len(got), len(in))
	}
	again := write(t, "csv", got)
	back, err := csv.NewReader(bytes.NewReader(again)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		if g, w := strings.Join(back[i], "|"), strings.Join(lines[i], "|"); g != w {
			t.Fatalf("line %d: parquet %q, csv %q", i, g, w)
		}
	}
	if line := lines[1]; line[1] != "1" || line[6] != "2020-02-17T08:00:00.123456Z" || line[13] != strconv.FormatUint(1<<63, 10) || line[15] != `门卫, "老王"` {
		t.Errorf("first line %q", line)
	}
	if line := lines[4]; line[3] != "true" || line[6] != "" || line[5] != "" {
		t.Errorf("tombstone %q", line)
	}
}

// What a gate sends is not run by a spreadsheet, and is UTF-8 whatever it was.
func TestCSVIsSafe(t *testing.T) {
	for in, want := range map[string]string{
		`=HYPERLINK("http://x")`: `"'=HYPERLINK(""http://x"")"`, "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\rx": "\"'x\"",
		"guard": "guard", "a=b": "a=b", "a,b": `"a,b"`, "\xff": "\uFFFD", "": "",
	} {
		got := string(write(t, "csv", []Row{{Gate: "g", Outcome: in}}))
		lines := strings.SplitN(got, "\r\n", 2)
		if len(lines) != 2 || !strings.HasSuffix(lines[1], ","+want+",,0\r\n") {
			t.Errorf("%q: %q, want it to have %q", in, lines[len(lines)-1], want)
		}
	}
}

func TestEmptyAndUnknown(t *testing.T) {
	if got := string(write(t, "csv", nil)); got != strings.Join(columns, ",")+"\r\n" {
		t.Errorf("csv of nothing: %q", got)
	}
	if got := readParquet(t, write(t, "parquet", nil)); len(got) != 0 {
		t.Errorf("parquet of nothing: %d rows", len(got))
	}
	if _, err := New("xls", io.Discard); !errors.Is(err, ErrFormat) {
		t.Errorf("xls: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A file that could not be written is told of, at the latest at its end.
func TestFailedWriteIsTold(t *testing.T) {
	for _, format := range []string{"csv", "parquet"} {
		w, err := New(format, failing{})
		for _, r := range rows(10) {
			if err == nil {
				err = w.Write(r)
			}
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%s: %v", format, err)
		}
	}
}
