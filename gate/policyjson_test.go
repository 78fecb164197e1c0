package gate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestParsePolicy(t *testing.T) {
	data, err := DefaultPolicy().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ParsePolicy(data); err != nil || p != DefaultPolicy() {
		t.Errorf("got %+v, %v", p, err)
	}
	if p, err := ParsePolicy([]byte(`{"version": 3, "hold_paper": true}`)); err != nil || p.Version != 3 || !p.HoldPaper || p.FeverAt != 37300 {
		t.Errorf("what is left out is not the default: %+v, %v", p, err)
	}
	for _, bad := range []string{
		``, `null`, `[]`, `7`, `{`, `{} {}`, `{} x`,
		`{"fever": 1}`,
		`{"version": -1}`,
		`{"fever_at_millicelsius": 34999}`, `{"fever_at_millicelsius": 42001}`,
		`{"fever_readings": 0}`, `{"fever_readings": 6}`,
		`{"closer_tries": 0}`, `{"closer_tries": 11}`,
		`{"permit_within_seconds": 0}`, `{"permit_within_seconds": 301}`,
		`{"passback_window_seconds": -1}`,
		`{"stale_after_seconds": 0}`, `{"stale_after_seconds": 9223372036854775807}`,
		`{"too_old_after_seconds": 60}`,
		`{"risk_hold_at": 4}`, `{"risk_hold_at": 0}`, `{"risk_hold_at": true}`,
		`{"risk_hold_at": "unknown"}`, `{"risk_hold_at": "High"}`, `{"risk_hold_at": " high"}`, `{"risk_hold_at": ""}`, `{"risk_hold_at": "4"}`,
		`{"hold_paper": 1}`,
		`{"version": 1` + strings.Repeat(" ", MaxPolicy) + `}`,
	} {
		if p, err := ParsePolicy([]byte(bad)); !errors.Is(err, ErrPolicy) || p != (Policy{}) {
			t.Errorf("ParsePolicy(%.60q) = %+v, %v", bad, p, err)
		}
	}
	if _, err := (Policy{}).Marshal(); !errors.Is(err, ErrPolicy) {
		t.Errorf("the zero policy was marshalled: %v", err)
	}
}

// Levels are written as words, so that an operator can write a policy or a map by hand.
func TestRiskWords(t *testing.T) {
	p := DefaultPolicy()
	p.RiskHoldAt = RiskUnknown
	data, err := p.Marshal()
	if err != nil || !strings.Contains(string(data), `"risk_hold_at":"off","risk_notice_at":"medium"`) {
		t.Errorf("policy %s, %v", data, err)
	}
	byHand := `{"version":1,"day":"2020-02-17","counties":{"110101":"low","110102":"lower","330106":"medium","330108":"higher","420102":"high"}}`
	m, err := ParseRiskMap([]byte(byHand))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]RiskLevel{"110101": RiskLow, "110102": RiskLower, "330106": RiskMedium, "330108": RiskHigher, "420102": RiskHigh}
	if !maps.Equal(m.Counties, want) {
		t.Errorf("counties %v, want %v", m.Counties, want)
	}
	if data, err := m.Marshal(); err != nil || string(data) != byHand {
		t.Errorf("written again: %s, %v", data, err)
	}
	if text, err := (RiskHigh + 1).MarshalText(); err == nil {
		t.Errorf("a level without a word is written %q", text)
	}
}

func FuzzParsePolicy(f *testing.F) {
	data, err := DefaultPolicy().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"fever_at_millicelsius":1e99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if err != nil {
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("error %v is not ErrPolicy", err)
			}
			return
		}
		out, err := p.Marshal()
		if err != nil {
			t.Fatalf("parsed %+v does not marshal: %v", p, err)
		}
		if q, err := ParsePolicy(out); err != nil || q != p {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
	})
}

func TestParseRiskMap(t *testing.T) {
	m := RiskMap{Version: 4, Day: "2020-02-17", Counties: map[string]RiskLevel{"330106": RiskLow, "420102": RiskHigh}}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRiskMap(data)
	if err != nil || got.Version != 4 || got.Day != m.Day || !maps.Equal(got.Counties, m.Counties) {
		t.Errorf("got %+v, %v", got, err)
	}
	if r := got.Risk("420102"); r != RiskHigh {
		t.Errorf("420102 is %s", r)
	}
	if r := got.Risk("110101"); r != RiskUnknown {
		t.Errorf("110101 is %s", r)
	}
	many := RiskMap{Day: "2020-02-17", Counties: map[string]RiskLevel{}}
	for i := range MaxCounties + 1 {
		many.Counties[fmt.Sprintf("%06d", i)] = RiskLow
	}
	if _, err := many.Marshal(); !errors.Is(err, ErrRiskMap) {
		t.Errorf("%d counties were marshalled", len(many.Counties))
	}
	for _, bad := range []string{
		``, `null`, `{}`, `{"day":"17.2.2020"}`, `{"day":"2020-02-30"}`, `{"day":"2020-02-17"}x`,
		`{"day":"2020-02-17","colours":{}}`,
		`{"day":"2020-02-17","counties":{"33010":"low"}}`,
		`{"day":"2020-02-17","counties":{"33010x":"low"}}`,
		`{"day":"2020-02-17","counties":{"330106":"off"}}`,
		`{"day":"2020-02-17","counties":{"330106":"unknown"}}`,
		`{"day":"2020-02-17","counties":{"330106":"red"}}`,
		`{"day":"2020-02-17","counties":{"330106":1}}`,
		`{"day":"2020-02-17","counties":{"330106":null}}`,
		`{"day":"2020-02-17"` + strings.Repeat(" ", MaxRiskMap) + `}`,
	} {
		if _, err := ParseRiskMap([]byte(bad)); !errors.Is(err, ErrRiskMap) {
			t.Errorf("ParseRiskMap(%.60q): %v", bad, err)
		}
	}
}

func FuzzParseRiskMap(f *testing.F) {
	f.Add([]byte(`{"version":1,"day":"2020-02-17","counties":{"330106":"low"}}`))
	f.Add([]byte(`{"day":"2020-02-17","counties":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseRiskMap(data)
		if err != nil {
			if !errors.Is(err, ErrRiskMap) {
				t.Fatalf("error %v is not ErrRiskMap", err)
			}
			return
		}
		out, err := m.Marshal()
		if err != nil {
			t.Fatalf("parsed %+v does not marshal: %v", m, err)
		}
		n, err := ParseRiskMap(out)
		if err != nil || !maps.Equal(n.Counties, m.Counties) {
			t.Fatalf("%+v came back as %+v, %v", m, n, err)
		}
		if again, err := n.Marshal(); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%s then %s, %v", out, again, err)
		}
	})
}
