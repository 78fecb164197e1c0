package gate

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCondition(t *testing.T) {
	for _, c := range []struct {
		text string
		want Condition
	}{
		{"lists=missing age=0 held=0 clock=unset policy=0 map=0", Condition{}},
		{"lists=fresh age=60 held=12 clock=network policy=7 map=3", Condition{Fresh, time.Minute, 12, ClockNetwork, 7, 3}},
		{"lists=too-old age=3153600000 held=4294967295 clock=hub-confirmed policy=18446744073709551615 map=18446744073709551615",
			Condition{TooOld, maxAge, math.MaxUint32, ClockConfirmed, math.MaxUint64, math.MaxUint64}},
	} {
		if len(c.text) > MaxCondition {
			t.Errorf("%s: %d bytes, more than %d", c.text, len(c.text), MaxCondition)
		}
		got, err := ParseCondition(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v", c.text, got, err)
		}
		if c.want.String() != c.text {
			t.Errorf("wrote %s, want %s", c.want, c.text)
		}
	}
	// Lists that were confirmed by a clock a little ahead have no age below none.
	if got := (Condition{Lists: Fresh, Age: -time.Second}).String(); !strings.Contains(got, "age=0") {
		t.Errorf("a negative age is written %s", got)
	}
}

// badConditions are texts that are almost a condition.
var badConditions = []string{
	"",
	"lists=fresh",
	"lists=fresh age=60 held=12 clock=network policy=7",
	"lists=fresh age=60 held=12 clock=network policy=7 map=3 ",
	"lists=fresh age=60 held=12 clock=network policy=7 map=3 more=1",
	" lists=fresh age=60 held=12 clock=network policy=7 map=3",
	"lists=fresh  age=60 held=12 clock=network policy=7 map=3",
	"age=60 lists=fresh held=12 clock=network policy=7 map=3",
	"lists=rotten age=60 held=12 clock=network policy=7 map=3",
	"lists=fresh age=60 held=12 clock=sundial policy=7 map=3",
	"lists=fresh age=060 held=12 clock=network policy=7 map=3",
	"lists=fresh age=+60 held=12 clock=network policy=7 map=3",
	"lists=fresh age=-60 held=12 clock=network policy=7 map=3",
	"lists=fresh age=3153600001 held=12 clock=network policy=7 map=3",
	"lists=fresh age=99999999999999999999 held=12 clock=network policy=7 map=3",
	"lists=fresh age=60 held=4294967296 clock=network policy=7 map=3",
	"lists=fresh age=60 held=12 clock=network policy=7 map=0x3",
	"lists=Fresh age=60 held=12 clock=network policy=7 map=3",
	strings.Repeat("lists=fresh ", 20),
}

func TestBadCondition(t *testing.T) {
	for _, text := range badConditions {
		if c, err := ParseCondition(text); !errors.Is(err, ErrCondition) || c != (Condition{}) {
			t.Errorf("%.80q: got %+v, %v", text, c, err)
		}
	}
}

// Whatever parses is written again as the same bytes.
func FuzzCondition(f *testing.F) {
	f.Add("lists=fresh age=60 held=12 clock=network policy=7 map=3")
	for _, text := range badConditions {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			if !errors.Is(err, ErrCondition) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if c.String() != text {
			t.Errorf("%q is written as %q", text, c)
		}
	})
}
