package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Lists is what gatectl lists show shows.
type Lists struct {
	// Time of day at the gate.
	Time  time.Time  `json:"time"`
	Lists []HeldList `json:"lists"`
}

// HeldList is one list held: a status list, or a revocation list of foreign
// codes with its name, "eu/0c4b15512be91401/3f", in the place of a URI.
type HeldList struct {
	URI       string    `json:"uri"`
	Sequence  uint64    `json:"sequence"`
	Issued    time.Time `json:"issued"`
	Confirmed time.Time `json:"confirmed"`
	Freshness string    `json:"freshness"`
	// Bytes of the unpacked list.
	Bytes int64 `json:"bytes"`
}

// ListsCheck is what reading the store's file again has shown.
type ListsCheck struct {
	// Checked is how many lists were read.
	Checked int `json:"checked"`
	// Problems are those that are not what was signed.
	Problems []string `json:"problems"`
}

// ImportLine is one line of the answer to an import: what is being done, or
// the end.
type ImportLine struct {
	Doing string        `json:"doing,omitempty"`
	End   *ImportReport `json:"end,omitempty"`
}

// ImportReport is how an import ended.
type ImportReport struct {
	// Timestamp is the version of the bundle's timestamp and Issued its signed
	// time, where it was verified.
	Timestamp int64     `json:"timestamp,omitempty"`
	Issued    time.Time `json:"issued,omitzero"`
	// Installed and Dropped name what is new and what is gone.
	Installed []string `json:"installed"`
	Dropped   []string `json:"dropped,omitempty"`
	// Failures are what could not be brought in.
	Failures []ImportFailure `json:"failures,omitempty"`
	// Refused is why the bundle as a whole was, with a hint; "" where it was not.
	Refused string `json:"refused,omitempty"`
	// Leap: the bundle is more than 30 days ahead of what the gate knew, and no clock agrees.
	Leap bool `json:"leap,omitempty"`
}

// ImportFailure is one thing that could not be brought in.
type ImportFailure struct {
	What  string `json:"what"`
	Error string `json:"error"`
}

// Lists asks which lists are held.
func (c *Client) Lists(ctx context.Context) (Lists, error) {
	return fetch[Lists](ctx, c, http.MethodGet, "/lists")
}

// CheckLists has the store's file read again and compared with what was signed.
func (c *Client) CheckLists(ctx context.Context) (ListsCheck, error) {
	return fetch[ListsCheck](ctx, c, http.MethodPost, "/lists/check")
}

// Import sends a bundle, a tar of a repository, and calls doing for each line
// that tells what the gate does with it.
func (c *Client) Import(ctx context.Context, bundle io.Reader, doing func(string) error) (ImportReport, error) {
	// net/http waits for a body that is being read, and a terminal may never give
	// another byte: so the end of ctx ends a pipe in between. Its writer is left
	// to the next byte, or to the end of the process.
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, bundle)
		w.CloseWithError(err)
	}()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	defer stop()
	defer r.Close()
	body, err := c.send(ctx, http.MethodPost, "/lists/import", r)
	if err != nil {
		return ImportReport{}, err
	}
	defer body.Close()
	for dec := json.NewDecoder(io.LimitReader(body, 16<<20)); ; {
		var l ImportLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return ImportReport{}, errors.New("the gate broke the import off; its log says why")
		} else if err != nil {
			return ImportReport{}, fmt.Errorf("answer of %s: %w", c.socket, err)
		}
		if l.End != nil {
			return *l.End, nil
		}
		if err := doing(l.Doing); err != nil {
			return ImportReport{}, err
		}
	}
}
