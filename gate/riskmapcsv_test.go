package gate

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseRiskMapCSV(t *testing.T) {
	want := RiskMap{Day: "2020-02-17", Counties: map[string]RiskLevel{"330106": RiskLow, "420106": RiskHigh}}
	for _, text := range []string{
		"330106,low\n420106,high\n", "330106,low\n420106,high", "county,level\n330106,low\n420106,high\n", "\xef\xbb\xbf330106,low\r\n420106,high\r\n",
	} {
		if m, err := ParseRiskMapCSV([]byte(text), "2020-02-17"); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	var many strings.Builder
	for i := range MaxCounties + 1 {
		fmt.Fprintf(&many, "%06d,low\n", 100000+i)
	}
	for _, row := range []struct{ text, day, want string }{
		{"330106,low\n420106;high\n", "2020-02-17", "line 2"},
		{"330106,low\n\n420106,high\n", "2020-02-17", "line 2"},
		{"330106,low\n33010,low\n", "2020-02-17", `line 2: county "33010"`},
		{"330106,low\n330107,purple\n", "2020-02-17", `line 2: level "purple"`},
		{"330106,low\n330107,off\n", "2020-02-17", `line 2: level "off"`},
		{"330106, low\n", "2020-02-17", `line 1: level " low"`},
		{"330106,low,x\n", "2020-02-17", `line 1: level "low,x"`},
		{"\"330106\",low\n", "2020-02-17", "line 1"},
		{"330106,low\n420106,high\n330106,high\n", "2020-02-17", "line 3: county 330106 stands in line 1"},
		{"330106,low\ncounty,level\n", "2020-02-17", "line 2"},
		{"330106,low\r", "2020-02-17", ""},
		{"", "2020-02-17", "no county"},
		{"county,level\n", "2020-02-17", "no county"},
		{"330106,low\n", "", "day"},
		{"330106,low\n", "17.2.2020", "day"},
		{many.String(), "2020-02-17", fmt.Sprintf("line %d: more than", MaxCounties+1)},
		{strings.Repeat("x", MaxRiskMap+1), "2020-02-17", "allowed are"},
	} {
		_, err := ParseRiskMapCSV([]byte(row.text), row.day)
		if row.want == "" {
			if err != nil {
				t.Errorf("%.40q: %v", row.text, err)
			}
			continue
		}
		if !errors.Is(err, ErrRiskMap) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40q: %v, want %q", row.text, err, row.want)
		}
	}
}

// What is read of any bytes is a map that can be signed, and no colour is lost on the way.
func FuzzParseRiskMapCSV(f *testing.F) {
	f.Add([]byte("county,level\n330106,low\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseRiskMapCSV(data, "2020-02-17")
		if err != nil {
			return
		}
		text, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseRiskMap(text); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
