package gate

import (
	"bytes"
	"fmt"
	"strings"
)

// ParseRiskMapCSV reads a map as a spreadsheet writes it: a line for each
// county, "330106,low", and as first line perhaps "county,level". The day is
// given beside it. A line that is not understood, a county that stands twice
// and an empty map are errors that name the line and wrap [ErrRiskMap].
func ParseRiskMapCSV(data []byte, day string) (RiskMap, error) {
	fail := func(line int, format string, a ...any) (RiskMap, error) {
		return RiskMap{}, fmt.Errorf("%w: line %d: %s", ErrRiskMap, line, fmt.Sprintf(format, a...))
	}
	if len(data) > MaxRiskMap {
		return RiskMap{}, fmt.Errorf("%w: %d bytes, allowed are %d", ErrRiskMap, len(data), MaxRiskMap)
	}
	m := RiskMap{Day: day, Counties: map[string]RiskLevel{}}
	first := map[string]int{}
	// Spreadsheets write a mark of the byte order before the first line, and
	// some end each line in two characters.
	text := string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if number == 1 && line == "county,level" {
			continue
		}
		county, word, found := strings.Cut(line, ",")
		if !found {
			return fail(number, "%.40q is not COUNTY,LEVEL", line)
		}
		if !isCounty(county) {
			return fail(number, "county %.20q is not six digits", county)
		}
		var level RiskLevel
		if err := level.UnmarshalText([]byte(word)); err != nil || level == RiskUnknown {
			return fail(number, "level %.20q is none of low, lower, medium, higher and high", word)
		}
		if before, twice := first[county]; twice {
			return fail(number, "county %s stands in line %d already", county, before)
		}
		if len(first) == MaxCounties {
			return fail(number, "more than %d counties", MaxCounties)
		}
		first[county], m.Counties[county] = number, level
	}
	if len(m.Counties) == 0 {
		return RiskMap{}, fmt.Errorf("%w: no county in it", ErrRiskMap)
	}
	return m, m.Check()
}
