package gpio

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/physic"

	"greengate/gate"
)

// The vectors of Melexis' application note 390119061402 and of 0xB4 0x07 0xB5 0xD2 0x3A.
func TestPEC(t *testing.T) {
	for _, row := range []struct {
		bytes []byte
		want  byte
	}{
		{[]byte{0x00, 0x2E, 0x00, 0x00}, 0x6F},
		{[]byte{0x00, 0x2E, 0x5A, 0x00}, 0xE1},
		{[]byte{0xB4, 0x07, 0xB5, 0xD2, 0x3A}, 0x30},
		{nil, 0},
	} {
		if got := pec(row.bytes...); got != row.want {
			t.Errorf("pec(% x) = %#02x, want %#02x", row.bytes, got, row.want)
		}
	}
}

// said is one transfer with a correct PEC.
func said(reg byte, raw uint16) i2ctest.IO {
	lo, hi := byte(raw), byte(raw>>8)
	return i2ctest.IO{Addr: 0x5a, W: []byte{reg}, R: []byte{lo, hi, pec(0xB4, reg, 0xB5, lo, hi)}}
}

func wrongPEC(reg byte, raw uint16) i2ctest.IO {
	op := said(reg, raw)
	op.R[2] ^= 1
	return op
}

func raw(m gate.MilliCelsius) uint16 { return uint16((m + 273150) / 20) }

// sample is one sample of both temperatures.
func sample(ambient, object gate.MilliCelsius) []i2ctest.IO {
	return []i2ctest.IO{said(0x06, raw(ambient)), said(0x07, raw(object))}
}

func ops(parts ...[]i2ctest.IO) []i2ctest.IO {
	var all []i2ctest.IO
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func times(n int, op i2ctest.IO) []i2ctest.IO {
	var all []i2ctest.IO
	for range n {
		all = append(all, op)
	}
	return all
}

func TestTransfer(t *testing.T) {
	for _, row := range []struct {
		name string
		r    [3]byte
		want gate.MilliCelsius
		err  error
	}{
		{"28.01 °C of the application note", [3]byte{0xD2, 0x3A, 0x30}, 28010, nil},
		{"its PEC with a bit wrong", [3]byte{0xD2, 0x3A, 0x31}, 0, ErrPEC},
		{"its value with a bit wrong", [3]byte{0xD3, 0x3A, 0x30}, 0, ErrPEC},
		{"-70.01 °C, the least", [3]byte{0xAD, 0x27, pec(0xB4, 7, 0xB5, 0xAD, 0x27)}, 0, ErrImplausible},
		{"382.19 °C, the most", [3]byte{0xFF, 0x7F, pec(0xB4, 7, 0xB5, 0xFF, 0x7F)}, 0, ErrImplausible},
		{"error flag", [3]byte{0xD2, 0xBA, pec(0xB4, 7, 0xB5, 0xD2, 0xBA)}, 0, ErrFlag},
		{"all ones, a bus without a sensor", [3]byte{0xFF, 0xFF, 0xFF}, 0, ErrPEC},
		{"all zeros", [3]byte{}, 0, ErrPEC},
	} {
		got, err := celsius(0x5a, 7, row.r)
		if got != row.want || !errors.Is(err, row.err) {
			t.Errorf("%s: % x = %d, %v, want %d, %v", row.name, row.r, got, err, row.want, row.err)
		}
		if err != nil && !errors.Is(err, gate.ErrThermometer) {
			t.Errorf("%s: %v is no gate.ErrThermometer", row.name, err)
		}
	}
}

// Each row is what the bus said, transfer by transfer; none may be left over.
func TestMeasure(t *testing.T) {
	warm := ops(sample(24010, 41010), sample(24010, 41010)) // two samples after power-on, wrong and discarded
	for _, row := range []struct {
		name string
		cfg  ThermometerConfig
		ops  []i2ctest.IO
		want gate.Reading
		err  error
	}{
		{"median of three", ThermometerConfig{}, ops(warm, sample(24010, 36510), sample(24030, 39910), sample(23990, 36410)),
			gate.Reading{Object: 36510, Ambient: 24010, Adjusted: 36510}, nil},
		{"one sample", ThermometerConfig{Samples: 1}, ops(warm, sample(24010, 36610)), gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 36610}, nil},
		{"a wrong PEC, then right", ThermometerConfig{Samples: 1},
			ops(warm, times(1, wrongPEC(6, raw(24010))), times(1, said(6, raw(24010))), times(3, wrongPEC(7, raw(36610))), times(1, said(7, raw(36610)))),
			gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 36610}, nil},
		{"PEC always wrong", ThermometerConfig{Retries: 2}, times(3, wrongPEC(6, raw(24010))), gate.Reading{}, ErrPEC},
		{"error flag always", ThermometerConfig{Retries: 1}, ops(times(1, said(6, raw(24010))), times(2, said(7, 0x8000|raw(36610)))), gate.Reading{}, ErrFlag},
		{"implausible always", ThermometerConfig{Retries: 1}, ops(times(1, said(6, raw(24010))), times(2, said(7, raw(80010)))), gate.Reading{}, ErrImplausible},
		{"no answer", ThermometerConfig{Retries: 1}, nil, gate.Reading{}, ErrBus},
		{"nobody at the mark", ThermometerConfig{Samples: 1}, ops(warm, sample(24010, 29990)), gate.Reading{Object: 29990, Ambient: 24010, Adjusted: 29990, TooFar: true}, nil},
		{"just at the mark", ThermometerConfig{Samples: 1}, ops(warm, sample(24010, 30010)), gate.Reading{Object: 30010, Ambient: 24010, Adjusted: 30010}, nil},
		{"cold hall", ThermometerConfig{Samples: 1}, ops(warm, sample(15990, 36610)), gate.Reading{Object: 36610, Ambient: 15990, Adjusted: 36610, OutOfRange: true}, nil},
		{"hot sun", ThermometerConfig{Samples: 1}, ops(warm, sample(35030, 36610)), gate.Reading{Object: 36610, Ambient: 35030, Adjusted: 36610, OutOfRange: true}, nil},
		{"validated elsewhere", ThermometerConfig{Samples: 1, AmbientMin: 5000, AmbientMax: 20000}, ops(warm, sample(24010, 36610)),
			gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 36610, OutOfRange: true}, nil},
		{"offset", ThermometerConfig{Samples: 1, Offset: 400}, ops(warm, sample(24010, 36610)), gate.Reading{Object: 36610, Ambient: 24010, Adjusted: 37010}, nil},
		{"slope, colder", ThermometerConfig{Samples: 1, Slope: -50}, ops(warm, sample(17010, 36010)), gate.Reading{Object: 36010, Ambient: 17010, Adjusted: 36409}, nil},
		{"slope, warmer", ThermometerConfig{Samples: 1, Offset: 100, Slope: -50}, ops(warm, sample(33010, 36010)), gate.Reading{Object: 36010, Ambient: 33010, Adjusted: 35710}, nil},
		{"never more than a degree", ThermometerConfig{Samples: 1, Slope: 900}, ops(warm, sample(33010, 36010)), gate.Reading{Object: 36010, Ambient: 33010, Adjusted: 37010}, nil},
		{"never less than a degree", ThermometerConfig{Samples: 1, Offset: -500, Slope: 900}, ops(warm, sample(17010, 36010)), gate.Reading{Object: 36010, Ambient: 17010, Adjusted: 35010}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := &i2ctest.Playback{Ops: row.ops, DontPanic: true}
				th, err := NewThermometer(bus, row.cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
				if err != nil {
					t.Fatal(err)
				}
				got, err := th.Measure(t.Context())
				if got != row.want || !errors.Is(err, row.err) {
					t.Errorf("Measure = %#v, %v, want %#v, %v", got, err, row.want, row.err)
				}
				if err != nil && !errors.Is(err, gate.ErrThermometer) {
					t.Errorf("%v is no gate.ErrThermometer", err)
				}
				if err := bus.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// adapter is an I²C adapter that can be pulled out. As the kernel has it, it
// comes back only when nobody holds its bus open any more, and a bus that was
// open before stays dead.
type adapter struct {
	open, opened, closed int
	gone, plugged        bool
}

func (a *adapter) Open() (i2c.BusCloser, error) {
	if a.gone && a.plugged && a.open == 0 {
		a.gone = false
	}
	if a.gone {
		return nil, errors.New("no such file or directory")
	}
	a.open++
	a.opened++
	return &adapterBus{a: a}, nil
}

type adapterBus struct {
	a            *adapter
	dead, closed bool
}

func (b *adapterBus) String() string                  { return "adapter" }
func (b *adapterBus) SetSpeed(physic.Frequency) error { return nil }

func (b *adapterBus) Tx(_ uint16, w, r []byte) error {
	b.dead = b.dead || b.a.gone
	if b.dead || b.closed {
		return errors.New("connection timed out")
	}
	copy(r, said(w[0], raw(36600)).R)
	return nil
}

func (b *adapterBus) Close() error {
	if b.closed {
		return errors.New("closed twice")
	}
	b.closed = true
	b.a.open--
	b.a.closed++
	return nil
}

// Seen on a real kernel with a USB adapter: while its bus was held open it did
// not come back, however often it was plugged in.
func TestThermometerGivesADeadBusBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(adapter)
		th, err := openThermometer(a.Open, ThermometerConfig{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		measure := func(when string, want error) {
			t.Helper()
			r, err := th.Measure(t.Context())
			if !errors.Is(err, want) || want == nil && r.Object < 36590 {
				t.Errorf("%s: Measure = %v, %v, want %v", when, r.Object, err, want)
			}
		}
		measure("at first", nil)
		measure("again", nil)
		if a.opened != 1 {
			t.Errorf("a bus that works was opened %d times, want once", a.opened)
		}
		a.gone = true
		measure("unplugged", ErrBus)
		if a.open != 0 {
			t.Error("a dead bus is held open")
		}
		measure("still unplugged", ErrBus)
		a.plugged = true
		measure("plugged in again", nil)
		for range 2 {
			if err := th.Close(); err != nil {
				t.Error(err)
			}
		}
		measure("closed", ErrBus)
		if a.open != 0 || a.opened != 2 {
			t.Errorf("%d left open of %d, want 0 of 2", a.open, a.opened)
		}
	})
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &i2ctest.Playback{Ops: ops(sample(24000, 36000), sample(24000, 36000)), DontPanic: true}
		th, err := NewThermometer(bus, ThermometerConfig{Interval: 100 * time.Millisecond}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err = th.Measure(ctx)
		if !errors.Is(err, ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gate.ErrThermometer) {
			t.Errorf("Measure = %v, want ErrDeadline", err)
		}
		if took := time.Since(began); took != 150*time.Millisecond {
			t.Errorf("took %v, want 150ms", took)
		}
		synctest.Wait()
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestThermometerConfig(t *testing.T) {
	for _, row := range []struct {
		cfg  ThermometerConfig
		want string // "": valid
	}{
		{ThermometerConfig{}, ""},
		{ThermometerConfig{Offset: -1000, Slope: 1000}, ""},
		{ThermometerConfig{Addr: 0x80}, "address 128"},
		{ThermometerConfig{Samples: 16, Timeout: 10 * time.Second}, "samples 16"},
		{ThermometerConfig{Samples: -1}, "samples -1"},
		{ThermometerConfig{Interval: -1}, "interval 0"},
		{ThermometerConfig{Retries: 11}, "retries 11"},
		{ThermometerConfig{Timeout: time.Minute}, "timeout 60000"},
		{ThermometerConfig{Discard: 21, Timeout: 5 * time.Second}, "discard 21"},
		{ThermometerConfig{Offset: 1001}, "offset 1001"},
		{ThermometerConfig{Slope: -1001}, "slope -1001"},
		{ThermometerConfig{AmbientMin: 30000, AmbientMax: 20000}, "is empty"},
		{ThermometerConfig{AmbientMin: 30000, AmbientMax: 90000}, "ambient maximum 90000"},
		{ThermometerConfig{MinSkin: 40000}, "coldest skin 40000"},
		{ThermometerConfig{Samples: 10, Interval: 100 * time.Millisecond}, "do not fit"},
	} {
		err := row.cfg.Validate()
		if row.want == "" && err != nil {
			t.Errorf("%+v: %v, want nil", row.cfg, err)
		}
		if row.want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%+v: %v, want an ErrConfig with %q", row.cfg, err, row.want)
		}
		if _, newErr := NewThermometer(&i2ctest.Playback{DontPanic: true}, row.cfg, slog.Default()); (newErr == nil) != (err == nil) {
			t.Errorf("%+v: NewThermometer = %v, Validate = %v", row.cfg, newErr, err)
		}
	}
}
