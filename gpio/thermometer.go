package gpio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"

	"greengate/gate"
)

// Words of the MLX90614's RAM (Melexis application note 390119061402).
const (
	ramAmbient = 0x06 // Ta, the sensor's own temperature
	ramObject  = 0x07 // Tobj1, what it looks at
)

// Range outside which a temperature in front of a gate is no measurement.
const (
	leastPlausible gate.MilliCelsius = -20000
	mostPlausible  gate.MilliCelsius = 60000
)

// maxAdjustment bounds the ambient adjustment, whatever the calibration says.
const maxAdjustment gate.MilliCelsius = 1000

// adjustAt is the ambient temperature at which Slope adds nothing.
const adjustAt gate.MilliCelsius = 25000

// ThermometerConfig is how the MLX90614 is read and what its numbers mean.
type ThermometerConfig struct {
	// Bus is the I²C bus by name or number, as "1"; "" takes the first one.
	Bus string
	// Addr is the sensor's SMBus address, 0x01 to 0x7f; 0x5a where 0.
	Addr uint16
	// Samples are taken for one reading, whose median counts: 1 to 15; 3 where 0.
	Samples int
	// Interval between samples, up to 1 s; 50 ms where 0.
	Interval time.Duration
	// Retries of each transfer that failed, 1 to 10; 3 where 0.
	Retries int
	// Timeout of one measurement, 100 ms to 10 s; 1 s where 0. An earlier deadline of the context counts.
	Timeout time.Duration
	// Discard is how many samples are thrown away at the start and after a
	// failure, because the first ones after power-on are wrong: up to 20; 2 where 0.
	Discard int
	// Offset and Slope adjust linearly, from calibration data only:
	// Adjusted = Object + Offset + Slope × (Ambient − 25 °C), bounded to ±1 °C
	// together. Slope is in thousandths of a degree for each degree. Offset is
	// within ±1 °C and Slope within ±1 °C/°C; neither is the default.
	Offset, Slope gate.MilliCelsius
	// AmbientMin and AmbientMax are the range in which the thermometer was
	// validated; 16 °C to 35 °C where both are 0.
	AmbientMin, AmbientMax gate.MilliCelsius
	// MinSkin is the coldest that can be a forehead at the mark; 30 °C where 0.
	MinSkin gate.MilliCelsius
}

func (c ThermometerConfig) withDefaults() ThermometerConfig {
	if c.Addr == 0 {
		c.Addr = 0x5a
	}
	if c.Samples == 0 {
		c.Samples = 3
	}
	if c.Interval == 0 {
		c.Interval = 50 * time.Millisecond
	}
	if c.Retries == 0 {
		c.Retries = 3
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Discard == 0 {
		c.Discard = 2
	}
	if c.AmbientMin == 0 && c.AmbientMax == 0 {
		c.AmbientMin, c.AmbientMax = 16000, 35000
	}
	if c.MinSkin == 0 {
		c.MinSkin = 30000
	}
	return c
}

// Validate returns everything that is wrong with the configuration, joined, or nil. Each error is an ErrConfig.
func (c ThermometerConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	within := func(name string, v, low, high int64, unit string) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%w: thermometer %s %d: not within %d to %d%s", ErrConfig, name, v, low, high, unit))
		}
	}
	within("address", int64(c.Addr), 1, 0x7f, "")
	within("samples", int64(c.Samples), 1, 15, "")
	within("interval", c.Interval.Milliseconds(), 1, 1000, " ms")
	within("retries", int64(c.Retries), 1, 10, "")
	within("timeout", c.Timeout.Milliseconds(), 100, 10000, " ms")
	within("discard", int64(c.Discard), 1, 20, "")
	within("offset", int64(c.Offset), int64(-maxAdjustment), int64(maxAdjustment), " thousandths of a degree")
	within("slope", int64(c.Slope), -1000, 1000, " thousandths of a degree for each degree")
	within("ambient minimum", int64(c.AmbientMin), int64(leastPlausible), int64(mostPlausible), " thousandths of a degree")
	within("ambient maximum", int64(c.AmbientMax), int64(leastPlausible), int64(mostPlausible), " thousandths of a degree")
	within("coldest skin", int64(c.MinSkin), 20000, 36000, " thousandths of a degree")
	if c.AmbientMin >= c.AmbientMax {
		errs = append(errs, fmt.Errorf("%w: thermometer ambient range %v to %v is empty", ErrConfig, c.AmbientMin, c.AmbientMax))
	}
	if need := time.Duration(c.Samples+c.Discard-1) * c.Interval; need >= c.Timeout {
		errs = append(errs, fmt.Errorf("%w: thermometer timeout %v: %d samples every %v do not fit", ErrConfig, c.Timeout, c.Samples+c.Discard, c.Interval))
	}
	return errors.Join(errs...)
}

// Thermometer is a Melexis MLX90614, a contactless infrared thermometer on
// I²C. It screens; it does not diagnose: skin reads below the body's core, and
// a high reading wants a second device.
type Thermometer struct {
	cfg ThermometerConfig
	log *slog.Logger
	// one is held by the measurement under way. A transfer that hangs keeps it,
	// so that a hung bus costs one goroutine and not one for each person.
	one chan struct{}
	// cold: the next samples are discarded. Belongs to the holder of one.
	cold bool

	mu sync.Mutex
	// bus is nil after Close, and between two measurements after it failed.
	bus i2c.Bus
	// open opens the bus, and own closes it; both nil where the caller owns it.
	open func() (i2c.BusCloser, error)
	own  io.Closer
}

var _ gate.Thermometer = (*Thermometer)(nil)

// NewThermometer makes a thermometer on a bus that the caller owns.
func NewThermometer(bus i2c.Bus, cfg ThermometerConfig, log *slog.Logger) (*Thermometer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Thermometer{bus: bus, cfg: cfg, log: log, one: make(chan struct{}, 1), cold: true}, nil
}

// Close gives the bus back if OpenThermometer opened it. A measurement under way fails.
func (t *Thermometer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = nil
	return t.release()
}

// release closes the bus where it is ours, with mu held. The kernel does not
// let an adapter that was pulled out come back while its bus is open.
func (t *Thermometer) release() error {
	if t.own == nil {
		return nil
	}
	err := t.own.Close()
	t.bus, t.own = nil, nil
	return err
}

// dead gives a bus that failed back, so that the next measurement opens it anew.
func (t *Thermometer) dead() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.release(); err != nil {
		t.log.Warn("thermometer's bus does not close", "error", err)
	}
}

// opened returns the bus, opening it where it was given back.
func (t *Thermometer) opened() (i2c.Bus, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bus != nil {
		return t.bus, nil
	}
	if t.open == nil {
		return nil, errors.New("thermometer is closed")
	}
	bus, err := t.open()
	if err != nil {
		return nil, err
	}
	t.bus, t.own = bus, bus
	return bus, nil
}

// Measure takes a reading: the median of some samples. It returns by the
// deadline of ctx or the configured timeout, whichever is earlier, even when
// the bus hangs; then, and while the bus still hangs, the error is
// ErrDeadline. Otherwise it is ErrBus, ErrPEC, ErrFlag or ErrImplausible, when
// a transfer failed that way every time it was tried. Every error is a
// gate.ErrThermometer.
func (t *Thermometer) Measure(ctx context.Context) (gate.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	select {
	case t.one <- struct{}{}:
	case <-ctx.Done():
		return gate.Reading{}, fmt.Errorf("%w: bus is busy: %w", ErrDeadline, ctx.Err())
	}
	type result struct {
		reading gate.Reading
		err     error
	}
	answer := make(chan result, 1)
	go func() {
		r, err := t.measure(ctx)
		t.cold = err != nil
		if errors.Is(err, ErrBus) {
			t.dead()
		}
		<-t.one
		answer <- result{r, err}
	}()
	select {
	case a := <-answer:
		return a.reading, a.err
	case <-ctx.Done():
		return gate.Reading{}, fmt.Errorf("%w: %w", ErrDeadline, ctx.Err())
	}
}

// measure runs with one held. It may hang in the bus.
func (t *Thermometer) measure(ctx context.Context) (gate.Reading, error) {
	skip := 0
	if t.cold {
		skip = t.cfg.Discard
	}
	var objects, ambients []gate.MilliCelsius
	for i := 0; len(objects) < t.cfg.Samples; i++ {
		if i > 0 {
			if err := sleep(ctx, t.cfg.Interval); err != nil {
				return gate.Reading{}, err
			}
		}
		ambient, err := t.word(ctx, ramAmbient)
		if err != nil {
			return gate.Reading{}, fmt.Errorf("ambient temperature: %w", err)
		}
		object, err := t.word(ctx, ramObject)
		if err != nil {
			return gate.Reading{}, fmt.Errorf("object temperature: %w", err)
		}
		if i >= skip {
			objects, ambients = append(objects, object), append(ambients, ambient)
		}
	}
	return t.cfg.reading(median(objects), median(ambients)), nil
}

// word reads one temperature, trying again where the transfer failed.
func (t *Thermometer) word(ctx context.Context, reg byte) (gate.MilliCelsius, error) {
	var err error
	for try := 0; ; try++ {
		var m gate.MilliCelsius
		if m, err = t.transfer(reg); err == nil {
			return m, nil
		}
		if try == t.cfg.Retries {
			return 0, fmt.Errorf("%d transfers: %w", try+1, err)
		}
		t.log.Debug("thermometer transfer failed", "register", reg, "error", err)
		if late := sleep(ctx, 5*time.Millisecond); late != nil {
			return 0, errors.Join(late, err)
		}
	}
}

// transfer is one read word with its packet error code: one transfer with a repeated start.
func (t *Thermometer) transfer(reg byte) (gate.MilliCelsius, error) {
	bus, err := t.opened()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBus, err)
	}
	var r [3]byte
	if err := bus.Tx(t.cfg.Addr, []byte{reg}, r[:]); err != nil {
		return 0, fmt.Errorf("%w: address 0x%02x register 0x%02x: %w", ErrBus, t.cfg.Addr, reg, err)
	}
	return celsius(byte(t.cfg.Addr), reg, r)
}

// celsius checks what a register said, low byte first and its PEC last.
func celsius(addr, reg byte, r [3]byte) (gate.MilliCelsius, error) {
	if want := pec(addr<<1, reg, addr<<1|1, r[0], r[1]); r[2] != want {
		return 0, fmt.Errorf("%w: register 0x%02x: got 0x%02x, want 0x%02x", ErrPEC, reg, r[2], want)
	}
	raw := uint16(r[1])<<8 | uint16(r[0])
	if raw&0x8000 != 0 {
		return 0, fmt.Errorf("%w: register 0x%02x: 0x%04x", ErrFlag, reg, raw)
	}
	m := gate.MilliCelsius(raw)*20 - 273150 // 0.02 K a step
	if m < leastPlausible || m > mostPlausible {
		return 0, fmt.Errorf("%w: register 0x%02x: %v °C", ErrImplausible, reg, m)
	}
	return m, nil
}

// reading says what the two temperatures mean.
func (c ThermometerConfig) reading(object, ambient gate.MilliCelsius) gate.Reading {
	by := c.Offset + c.Slope*(ambient-adjustAt)/1000
	return gate.Reading{
		Object:     object,
		Ambient:    ambient,
		Adjusted:   object + max(-maxAdjustment, min(maxAdjustment, by)),
		OutOfRange: ambient < c.AmbientMin || ambient > c.AmbientMax,
		TooFar:     object < c.MinSkin,
	}
}

func median(v []gate.MilliCelsius) gate.MilliCelsius {
	slices.Sort(v)
	return v[len(v)/2]
}

// sleep waits, or returns an ErrDeadline when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	pause(ctx, d)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDeadline, err)
	}
	return nil
}

// pec is the SMBus packet error code: CRC-8 with x⁸+x²+x+1, most significant
// bit first, over every byte of the transfer with its addresses.
func pec(b ...byte) byte {
	var crc byte
	for _, v := range b {
		crc ^= v
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 0x07
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
