package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"greengate/sync/hub"
)

// trace is `gatehub trace`.
func trace(f *flag.FlagSet) action {
	var r hub.TraceRequest
	f.StringVar(&r.Reason, "reason", "", "why it is asked, as the number of a case; it stays in the audit trail, so no name in this `text`")
	f.StringVar(&r.From, "from", "", "the first `day`, as 2020-02-17; 14 days with the last one where nothing is said")
	f.StringVar(&r.To, "to", "", "the last `day`, which is included; today where nothing is said")
	f.StringVar(&r.Gate, "gate", "", "only at this `gate`")
	asJSON := f.Bool("json", false, "print the report as JSON")
	return func(ctx context.Context, c call) error {
		var err error
		if r.Status, err = parseRef(c.args[0]); err != nil {
			return err
		}
		if strings.TrimSpace(r.Reason) == "" {
			return errors.New("trace needs -reason\nhint: -reason 'case 2020-0217', as it shall stand in the audit trail; no name")
		}
		r.By = whoami()
		report, err := c.hub.Trace(ctx, r, func(p hub.TraceProgress) {
			if p.Of > 0 {
				fmt.Fprintf(c.stderr, "read %d of %d batches, compared %d records\n", p.Batches, p.Of, p.Records)
			}
		})
		if ctx.Err() != nil {
			return errors.New("stopped; that it was asked stands in the audit trail")
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return c.print(report)
		}
		return printTrace(c.stdout, report)
	}
}

// printTrace writes where a code passed, and what that leaves open.
func printTrace(w io.Writer, r hub.TraceReport) error {
	var b bytes.Buffer
	window := hub.Days{From: r.From.Format(time.DateOnly), To: r.To.AddDate(0, 0, -1).Format(time.DateOnly)}
	fmt.Fprintf(&b, "%s, %s: found %d times in %d records\n", r.Status, window, uint64(len(r.Passages))+r.More, r.Records)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, p := range r.Passages {
		why := strings.TrimSpace(string(p.Reason) + " " + string(p.GuardReason))
		at := p.At.Format("2006-01-02 15:04:05")
		if p.Clock == "unset" {
			at = "received " + at
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", at, p.Gate, p.Direction, p.Verdict, why, cmp.Or(string(p.Outcome), "-"), p.Site)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "%d more are not listed: ask for fewer days\n", r.More)
	}
	if len(r.Untold) > 0 {
		fmt.Fprint(&b, "\nnothing can be told of:\n")
		for _, u := range r.Untold {
			var days []string
			for _, d := range u.Days {
				days = append(days, d.String())
			}
			fmt.Fprintf(t, "  gate %s\t%s\t%d records\t%s\n", u.Gate, u.Why, u.Records, strings.Join(days, ", "))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Others) > 0 {
		fmt.Fprint(&b, "\nother codes of the same declaration, not looked for:\n")
		for _, o := range r.Others {
			fmt.Fprintf(&b, "  %s\n", o)
		}
	}
	fmt.Fprint(&b, "\nwhat gates have not sent yet is not here: `gatehub gate list` shows their backlogs\n")
	_, err := w.Write(b.Bytes())
	return err
}

// audit is `gatehub audit`.
func audit(f *flag.FlagSet) action {
	var r hub.AuditRequest
	f.StringVar(&r.Since, "since", "", "only from this `day` on, as 2020-02-17")
	f.StringVar(&r.Op, "op", "", "only this `operation`, as trace")
	asJSON := f.Bool("json", false, "print one JSON object a line")
	return func(ctx context.Context, c call) error {
		out := bufio.NewWriter(c.stdout)
		enc := json.NewEncoder(out)
		for l, err := range c.hub.Audit(ctx, r) {
			if err == nil && *asJSON {
				err = enc.Encode(l)
			} else if err == nil {
				_, err = fmt.Fprintln(out, auditLine(l))
			}
			if err != nil {
				return errors.Join(err, out.Flush())
			}
		}
		return out.Flush()
	}
}

// auditLine is a line for people; times are of where it is read.
func auditLine(l hub.AuditLine) string {
	s := fmt.Sprintf("%s  %s  %s  %s", l.At.Local().Format("2006-01-02 15:04:05 -0700"), l.By, l.Op, l.Object)
	if l.Reason != "" {
		s += "  (" + l.Reason + ")"
	}
	return s
}
