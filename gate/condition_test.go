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
		{"lists=fresh age=60 held=12 clock=network policy=7 map=3", Condition{Lists: Fresh, Age: time.Minute, Held: 12, Clock: ClockNetwork, Policy: 7, Map: 3}},
		{"lists=too-old age=3153600000 held=4294967295 clock=hub-confirmed policy=18446744073709551615 map=18446744073709551615",
			Condition{Lists: TooOld, Age: maxAge, Held: math.MaxUint32, Clock: ClockConfirmed, Policy: math.MaxUint64, Map: math.MaxUint64}},
		{"lists=fresh age=60 held=12 clock=network policy=7 map=3 version=v1.2.0 faults=none journal=4",
			Condition{Lists: Fresh, Age: time.Minute, Held: 12, Clock: ClockNetwork, Policy: 7, Map: 3, Version: "v1.2.0", Journal: 4}},
		{"lists=too-old age=3153600000 held=4294967295 clock=hub-confirmed policy=18446744073709551615 map=18446744073709551615" +
			" version=" + strings.Repeat("9", maxVersion) + " faults=thermometer," + strings.Repeat("x", maxFaults-12) + " journal=100",
			Condition{Lists: TooOld, Age: maxAge, Held: math.MaxUint32, Clock: ClockConfirmed, Policy: math.MaxUint64, Map: math.MaxUint64,
				Version: strings.Repeat("9", maxVersion), Faults: "thermometer," + strings.Repeat("x", maxFaults-12), Journal: 100}},
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
	// What a gate has to say is cut to what fits and can be read.
	long := Condition{Version: "(devel) <b>é" + strings.Repeat("1", 99), Journal: 255,
		Faults: "none,,Ouch,store-set-aside," + strings.Repeat("a-long-word,", 40) + "it's"}
	got, err := ParseCondition(long.String())
	if err != nil || !strings.HasPrefix(got.Version, "(devel)__b__") || got.Journal != 100 ||
		!strings.HasPrefix(got.Faults, "store-set-aside,a-long-word") || len(got.Faults) > maxFaults {
		t.Errorf("%s: got %+v, %v", long, got, err)
	}
	// Lists that were confirmed by a clock a little ahead have no age below none.
	if got := (Condition{Lists: Fresh, Age: -time.Second}).String(); !strings.Contains(got, "age=0") {
		t.Errorf("a negative age is written %s", got)
	}
}

// second is what both forms begin with.
const second = "lists=fresh age=60 held=12 clock=network policy=7 map=3"

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
	second + " version= faults=none journal=4",
	second + " version=v1 faults= journal=4",
	second + " version=v1 faults=none",
	second + " version=v1 faults=none journal=101",
	second + " version=v1 faults=none journal=04",
	second + " version=v1 faults=none journal=256",
	second + " version=<b> faults=none journal=4",
	second + " version=v1 faults=none,a journal=4",
	second + " version=v1 faults=a,,b journal=4",
	second + " version=v1 faults=A journal=4",
	second + " version=" + strings.Repeat("1", maxVersion+1) + " faults=none journal=4",
	second + " version=v1 faults=" + strings.Repeat("x", maxFaults) + ",a journal=4",
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
	f.Add(second + " version=v1.2.0 faults=store-set-aside,upload-revoked journal=4")
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
