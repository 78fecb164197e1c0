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
}

// Bounds of a condition as text.
const (
	// MaxCondition is the most bytes that ParseCondition reads.
	MaxCondition = 160
	// maxAge is the oldest that lists are said to be.
	maxAge = 100 * 365 * 24 * time.Hour
)

// ErrCondition is wrapped by every error of [ParseCondition].
var ErrCondition = errors.New("bad condition")

// conditionFields in their order; the hub of the next version reads the same.
var conditionFields = [...]string{"lists", "age", "held", "clock", "policy", "map"}

// String writes the condition as ParseCondition reads it:
// "lists=fresh age=60 held=12 clock=network policy=7 map=3".
func (c Condition) String() string {
	return fmt.Sprintf("lists=%s age=%d held=%d clock=%s policy=%d map=%d",
		c.Lists, min(max(c.Age, 0), maxAge)/time.Second, c.Held, c.Clock, c.Policy, c.Map)
}

// ParseCondition reads what String writes, and nothing else: all fields, in
// their order, with one space between them and each number in one form.
func ParseCondition(text string) (Condition, error) {
	if len(text) > MaxCondition {
		return Condition{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCondition, len(text), MaxCondition)
	}
	parts := strings.Split(text, " ")
	if len(parts) != len(conditionFields) {
		return Condition{}, fmt.Errorf("%w: %d fields, want %d", ErrCondition, len(parts), len(conditionFields))
	}
	var c Condition
	var numbers [len(conditionFields)]uint64
	for i, name := range conditionFields {
		value, ok := strings.CutPrefix(parts[i], name+"=")
		if !ok {
			return Condition{}, fmt.Errorf("%w: field %d is not %s", ErrCondition, i+1, name)
		}
		switch name {
		case "lists":
			for c.Lists = ListMissing; c.Lists.String() != value; c.Lists++ {
				if c.Lists == TooOld {
					return Condition{}, fmt.Errorf("%w: lists %.20q", ErrCondition, value)
				}
			}
		case "clock":
			for c.Clock = ClockUnset; c.Clock.String() != value; c.Clock++ {
				if c.Clock == ClockConfirmed {
					return Condition{}, fmt.Errorf("%w: clock %.20q", ErrCondition, value)
				}
			}
		default:
			bits := 64
			if name == "held" {
				bits = 32
			}
			n, err := strconv.ParseUint(value, 10, bits)
			if err != nil {
				return Condition{}, fmt.Errorf("%w: %s %.24q", ErrCondition, name, value)
			}
			numbers[i] = n
		}
	}
	if numbers[1] > uint64(maxAge/time.Second) {
		return Condition{}, fmt.Errorf("%w: lists of %d seconds", ErrCondition, numbers[1])
	}
	c.Age = time.Duration(numbers[1]) * time.Second
	c.Held, c.Policy, c.Map = uint32(numbers[2]), numbers[4], numbers[5]
	if c.String() != text {
		return Condition{}, fmt.Errorf("%w: not in the one form it has", ErrCondition)
	}
	return c, nil
}
