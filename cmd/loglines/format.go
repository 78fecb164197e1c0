// Package loglines writes the log of a program: for whoever repairs it, one
// line for each thing that happened, as text for people or as JSON for what
// collects logs. What lies in the journal is another matter.
package loglines

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Format of a log's lines: "text" or "json". It is a flag.Value.
type Format string

// The two formats. The zero value is Text too.
const (
	Text Format = "text"
	JSON Format = "json"
)

// String implements flag.Value.
func (f *Format) String() string {
	if *f == "" {
		return string(Text)
	}
	return string(*f)
}

// Set implements flag.Value.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case Text, JSON:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("%q is neither %q nor %q", s, Text, JSON)
}

// Open makes the program's log. What libraries print by themselves, as
// periph's GPIO driver does, becomes lines of it too.
func (f Format) Open(w io.Writer) *slog.Logger {
	var h slog.Handler = slog.NewTextHandler(w, nil)
	if f == JSON {
		h = slog.NewJSONHandler(w, nil)
	}
	log := slog.New(h)
	slog.SetDefault(log)
	return log
}

// End makes the error that a program ends with the last line of a log of JSON,
// where a bare sentence would be no object. It returns the error, marked so
// that main does not print it again; see [Told].
func (f Format) End(log *slog.Logger, err error) error {
	if f != JSON || err == nil {
		return err
	}
	log.Error("ended", "error", err)
	return told{err}
}

// told is an error that stands in the log.
type told struct{ error }

// Unwrap returns the error itself.
func (t told) Unwrap() error { return t.error }

// Told says whether the log tells of an error already.
func Told(err error) bool { return errors.As(err, new(told)) }
