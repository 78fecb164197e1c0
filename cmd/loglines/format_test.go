package loglines

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"strings"
	"testing"
)

// Each line is one object, whoever wrote it and whatever it holds.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	l := JSON.Open(&b)
	defer Text.Open(io.Discard)
	l.Info("two\nlines", "error", errors.New("what\nhint: \"so\""))
	log.Print("a library's\nown words")
	cause := errors.New("cause\nhint: do this")
	err := JSON.End(l, cause)
	if !errors.Is(err, cause) || err.Error() != cause.Error() || !Told(err) {
		t.Errorf("the end: %v, told: %v", err, Told(err))
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if o["time"] == nil || o["level"] == nil {
			t.Errorf("lacks time or level: %q", line)
		}
		got = append(got, o["msg"].(string))
	}
	if strings.Join(got, "|") != "two\nlines|a library's\nown words|ended" {
		t.Errorf("messages %q", got)
	}
}

// As text the error is main's to print.
func TestText(t *testing.T) {
	var b bytes.Buffer
	var f Format
	l := f.Open(&b)
	defer Text.Open(io.Discard)
	l.Info("begun")
	err := f.End(l, errors.New("cause"))
	if Told(err) || err == nil || strings.Contains(b.String(), "cause") || !strings.Contains(b.String(), "msg=begun") {
		t.Errorf("%v, told: %v; %q", err, Told(err), &b)
	}
	if JSON.End(l, nil) != nil {
		t.Error("an end without an error is one")
	}
}

func TestFlag(t *testing.T) {
	for _, c := range []struct {
		args []string
		want Format
		bad  bool
	}{
		{nil, Text, false}, {[]string{"-log", "json"}, JSON, false}, {[]string{"-log", "text"}, Text, false}, {[]string{"-log", "xml"}, "", true},
	} {
		var f Format
		flags := flag.NewFlagSet("x", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Var(&f, "log", "")
		if err := flags.Parse(c.args); (err != nil) != c.bad {
			t.Errorf("%q: %v", c.args, err)
		} else if err == nil && f.String() != string(c.want) {
			t.Errorf("%q: %q", c.args, f.String())
		}
	}
}
