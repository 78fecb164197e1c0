package gate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Condition is how a gate says it is, to its hub and with each contact: a few
// bytes that an operator of a hundred thousand gates can sort by. It holds
// nothing about persons.
type Condition struct {
	// Lists is the worst grade among the lists held, Age is how long ago the
	// authority last called the oldest of that grade current, in whole seconds,
	// and Held is how many there are.
	Lists Freshness
	Age   time.Duration
	Held  uint32
	Clock ClockQuality
	// Policy and Map are the versions in force, 0 for none.
	Policy, Map uint64
	// Version is the program's, "" for a gate of before it was told: such a one
	// says nothing of what is below either.
	Version string
	// Faults are the words of what is broken now, with a comma between them.
	Faults string
	// Journal is how much of its room the journal has taken, in percent.
	Journal uint8
}

// Bounds of a condition as text.
const (
	// MaxCondition is the most bytes that ParseCondition reads.
	MaxCondition = 448
	// maxVersion and maxFaults bound what a gate says of its build and its faults, in bytes.
	maxVersion = 40
	maxFaults  = 160
	// maxAge is the oldest that lists are said to be.
	maxAge = 100 * 365 * 24 * time.Hour
)

// ErrCondition is wrapped by every error of [ParseCondition].
var ErrCondition = errors.New("bad condition")

// conditionFields in their order; the hub of the next version reads the same.
// Gates of before the last three were added write the first six.
var conditionFields = [...]string{"lists", "age", "held", "clock", "policy", "map", "version", "faults", "journal"}

// firstFields is how many fields the first form has.
const firstFields = 6

// noFaults is written for none: each field has something behind its sign.
const noFaults = "none"

// String writes the condition as ParseCondition reads it:
// "lists=fresh age=60 held=12 clock=network policy=7 map=3 version=v1.2.0 faults=none journal=4".
// What does not fit of the version and the faults is left out.
func (c Condition) String() string {
	text := fmt.Sprintf("lists=%s age=%d held=%d clock=%s policy=%d map=%d",
		c.Lists, min(max(c.Age, 0), maxAge)/time.Second, c.Held, c.Clock, c.Policy, c.Map)
	if c.Version == "" {
		return text
	}
	return fmt.Sprintf("%s version=%s faults=%s journal=%d", text, conditionVersion(c.Version), conditionFaults(c.Faults), min(c.Journal, 100))
}

// conditionVersion is a version without what would not fit into its field.
func conditionVersion(v string) string {
	v = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(".-+()_", r):
			return r
		}
		return '_'
	}, v)
	return v[:min(len(v), maxVersion)]
}

// conditionFaults are the fault words that are words, as many as there is room for.
func conditionFaults(faults string) string {
	var out []byte
	for word := range strings.SplitSeq(faults, ",") {
		if word == "" || word == noFaults || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			len(out)+1+len(word) > maxFaults {
			continue
		}
		if len(out) > 0 {
			out = append(out, ',')
		}
		out = append(out, word...)
	}
	if len(out) == 0 {
		return noFaults
	}
	return string(out)
}

// ParseCondition reads what String writes, and nothing else: all fields of one
// of its two forms, in their order, with one space between them and each number
// in one form. Its errors repeat nothing of the text: they go to the hub's log.
func ParseCondition(text string) (Condition, error) {
	if len(text) > MaxCondition {
		return Condition{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCondition, len(text), MaxCondition)
	}
	parts := strings.Split(text, " ")
	if len(parts) != len(conditionFields) && len(parts) != firstFields {
		return Condition{}, fmt.Errorf("%w: %d fields, want %d or %d", ErrCondition, len(parts), firstFields, len(conditionFields))
	}
	var c Condition
	var numbers [len(conditionFields)]uint64
	for i, name := range conditionFields[:len(parts)] {
		value, ok := strings.CutPrefix(parts[i], name+"=")
		if !ok {
			return Condition{}, fmt.Errorf("%w: field %d is not %s", ErrCondition, i+1, name)
		}
		switch name {
		case "lists":
			for c.Lists = ListMissing; c.Lists.String() != value; c.Lists++ {
				if c.Lists == TooOld {
					return Condition{}, fmt.Errorf("%w: no such lists", ErrCondition)
				}
			}
		case "clock":
			for c.Clock = ClockUnset; c.Clock.String() != value; c.Clock++ {
				if c.Clock == ClockConfirmed {
					return Condition{}, fmt.Errorf("%w: no such clock", ErrCondition)
				}
			}
		case "version":
			c.Version = value
		case "faults":
			if value != noFaults {
				c.Faults = value
			}
		default:
			bits := 64
			switch name {
			case "held":
				bits = 32
			case "journal":
				bits = 8
			}
			n, err := strconv.ParseUint(value, 10, bits)
			if err != nil {
				return Condition{}, fmt.Errorf("%w: no number for %s", ErrCondition, name)
			}
			numbers[i] = n
		}
	}
	if numbers[1] > uint64(maxAge/time.Second) {
		return Condition{}, fmt.Errorf("%w: lists from before there were any", ErrCondition)
	}
	c.Age = time.Duration(numbers[1]) * time.Second
	c.Held, c.Policy, c.Map = uint32(numbers[2]), numbers[4], numbers[5]
	c.Journal = uint8(numbers[8])
	if c.String() != text {
		return Condition{}, fmt.Errorf("%w: not in the one form it has", ErrCondition)
	}
	return c, nil
}
