package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"greengate/gate"
	"greengate/sync/hub"
)

// Where a code passed is told to whoever says why it is asked, and that stays.
func TestTraceIsAudited(t *testing.T) {
	h := serveHub(t)
	d := decode[hub.Declaration](t, h.must("declare", "-name", "王建明", "-region", "330106"))
	h.must("review", "-colour", "green", d.ID)
	issued := decode[hub.Issued](t, h.must("issue", d.ID))
	ref := issued.Status.URI + "#" + decodeIndex(issued)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"trace", ref}, "hint: -reason"},
		{[]string{"trace", "-reason", "case 17", issued.Status.URI}, "URI#INDEX"},
		{[]string{"trace", "-reason", "case 17", "-from", "2020-02-17", ref}, "kept for 30 days"},
		{[]string{"trace", "-reason", "case 17", "-gate", "nowhere", ref}, "not found"},
	} {
		if _, _, err := h.try(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("gatehub %q: %v, want %q", c.args, err, c.want)
		}
	}
	if out := h.must("audit", "-op", "trace"); out != "" {
		t.Errorf("in the trail already: %s", out)
	}
	if out := h.must("trace", "-reason", "case 17", ref); !strings.Contains(out, ref) || !strings.Contains(out, "found 0 times in 0 records") || !strings.Contains(out, "gate list") {
		t.Errorf("trace: %s", out)
	}
	if r := decode[hub.TraceReport](t, h.must("trace", "-reason", "case 18", "-json", ref)); r.Status != issued.Status || r.To.Sub(r.From) != 14*24*time.Hour {
		t.Errorf("trace -json: %+v", r)
	}
	lines := strings.Split(strings.TrimSpace(h.must("audit", "-op", "trace")), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "  "+whoami()+"  trace  "+ref+" at all gates, ") || !strings.HasSuffix(lines[0], "  (case 17)") || !strings.HasSuffix(lines[1], "  (case 18)") {
		t.Errorf("audit -op trace: %q", lines)
	}
	var ops []string
	for dec := json.NewDecoder(strings.NewReader(h.must("audit", "-json"))); dec.More(); {
		var l hub.AuditLine
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, l.Op)
	}
	if got := strings.Join(ops, " "); got != "declare review-reviewed issue-static trace trace" {
		t.Errorf("audit -json: %s", got)
	}
	if out := h.must("audit", "-since", time.Now().AddDate(0, 0, 2).Format(time.DateOnly)); out != "" {
		t.Errorf("audit of days to come: %s", out)
	}
	if _, _, err := h.try("audit", "-since", "monday"); !errors.Is(err, hub.ErrInvalid) {
		t.Errorf("audit -since monday: %v", err)
	}
}

func TestPrintTrace(t *testing.T) {
	day := time.Date(2020, 2, 16, 0, 0, 0, 0, time.FixedZone("", 8*3600))
	r := hub.TraceReport{
		Status: hub.Ref{URI: "https://hub.example/3301/1", Index: 7}, From: day, To: day.AddDate(0, 0, 2), More: 1, Records: 9,
		Passages: []hub.TracedPassage{
			{Gate: "east-1", Site: "East", Sequence: 2, At: day.Add(8 * time.Hour), Kind: gate.DecisionRecord, Direction: "entry", Verdict: "admit", Reason: gate.Valid, Outcome: gate.Turned},
			{Gate: "west-1", Sequence: 3, At: day.Add(32 * time.Hour), Clock: "unset", Kind: gate.ActRecord, Direction: "entry", Verdict: "admit", Reason: gate.ByGuard, GuardReason: gate.CallConfirmed},
		},
		Untold: []hub.Untold{{Gate: "north-1", Why: "keys-destroyed", Records: 3, Days: []hub.Days{{From: "2020-02-16", To: "2020-02-16"}, {From: "2020-02-18", To: "2020-02-19"}}}},
		Others: []hub.Ref{{URI: "https://hub.example/3301/1", Index: 8}},
	}
	var b bytes.Buffer
	if err := printTrace(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `https://hub.example/3301/1#7, 2020-02-16 to 2020-02-17: found 3 times in 9 records
  2020-02-16 08:00:00           east-1  entry  admit  valid                 turned  East
  received 2020-02-17 08:00:00  west-1  entry  admit  guard call-confirmed  -       
1 more are not listed: ask for fewer days

nothing can be told of:
  gate north-1  keys-destroyed  3 records  2020-02-16, 2020-02-18 to 2020-02-19

other codes of the same declaration, not looked for:
  https://hub.example/3301/1#8

what gates have not sent yet is not here: ` + "`gatehub gate list` shows their backlogs\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
