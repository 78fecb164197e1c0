package hub

import (
	"regexp"
	"strings"
	"testing"
)

// TestCounties: Zhejiang's 37 districts, 20 cities and 33 counties of 2020, each
// with the number of its own kind and its kind in both languages; others are digits.
func TestCounties(t *testing.T) {
	form := regexp.MustCompile(`^33(0[1-9]|1[01])[0-8][0-9]$`)
	kinds := map[string]int{}
	short := map[string]string{}
	for code, c := range counties {
		kind, english, low, high := "区", " District", "01", "20"
		switch {
		case strings.HasSuffix(c.zh, "县"):
			kind, english, low, high = "县", " County", "21", "80"
		case strings.HasSuffix(c.zh, "市"):
			kind, english, low, high = "市", " City", "81", "99"
		}
		kinds[kind]++
		if n := code[4:]; !form.MatchString(code) || !strings.HasSuffix(c.zh, kind) || !strings.HasSuffix(c.en, english) || n < low || n > high {
			t.Errorf("%s: %+v", code, c)
		}
		s := shortCounty(code)
		if n := len([]rune(s)); n != 2 || short[s] != "" {
			t.Errorf("%s is %q on its tile, as is %q", code, s, short[s])
		}
		short[s] = code
	}
	if kinds["区"] != 37 || kinds["市"] != 20 || kinds["县"] != 33 {
		t.Errorf("%v", kinds)
	}
	for code, want := range map[string]string{"330106": "西湖区 Xihu District", "331127": "景宁畲族自治县 Jingning She Autonomous County", "420102": "420102 420102"} {
		if got := chinese.county(code) + " " + english.county(code); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	if countyTitle("110101") != "110101" || shortCounty("110101") != "110101" {
		t.Error("a county that is not in the table has a name")
	}
}
