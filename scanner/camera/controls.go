package camera

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Controls of linux/v4l2-controls.h.
const (
	ctrlGain             = 0x00980913
	ctrlAutoGain         = 0x00980912
	ctrlExposureAuto     = 0x009a0901
	ctrlExposure         = 0x009a0902 // in 100 µs
	ctrlExposurePriority = 0x009a0903 // 1: exposure may take longer than a frame

	exposureManual = 1

	// Flags of a control that cannot be set: disabled, grabbed, read-only.
	ctrlFixed = 0x0001 | 0x0002 | 0x0004

	exposureUnit = 100 * time.Microsecond
)

// control is what a driver says of one of its controls.
type control struct {
	min, max, preset int32
}

// controls sets what a driver has of the controls that matter for codes, and
// keeps in words what came of it.
type controls struct {
	dev  driver
	said []string
}

func (c *controls) say(format string, a ...any) { c.said = append(c.said, fmt.Sprintf(format, a...)) }

func (c *controls) String() string { return strings.Join(c.said, ", ") }

// ask asks for a control's range. It is false of one that the driver does not
// have, or does not let be set.
func (c *controls) ask(id uint32) (control, bool, error) {
	b := make([]byte, sizeQueryCtrl)
	put32(b, 0, id)
	if err := c.dev.ioctl(abi{}.queryCtrl(), b); err != nil {
		return control{}, false, absent(err)
	}
	return control{min: int32(u32(b, 40)), max: int32(u32(b, 44)), preset: int32(u32(b, 52))}, u32(b, 56)&ctrlFixed == 0, nil
}

// set sets a control.
func (c *controls) set(id uint32, value int32) error {
	b := make([]byte, sizeControl)
	put32(b, 0, id)
	put32(b, 4, uint32(value))
	return c.dev.ioctl(abi{}.setCtrl(), b)
}

// absent is nil for an error that says that the driver does not have a control,
// or not now: none is worth a camera. What is left is a device that is gone.
func absent(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// exposure sets the time that a picture is exposed: longest, or what the camera
// thinks right when that is zero. Either way it may not take longer than the
// camera's rate of pictures allows: in dim light many cameras else give five
// pictures a second, with every moving code smeared.
func (c *controls) exposure(d time.Duration) error {
	mode, ok, err := c.ask(ctrlExposureAuto)
	if err != nil {
		return err
	}
	switch {
	case !ok:
		c.say("exposure cannot be set")
	case d > 0:
		if err := c.set(ctrlExposureAuto, exposureManual); err != nil {
			c.say("exposure cannot be set: %v", err)
			return absent(err)
		}
		if err := c.number("exposure", ctrlExposure, int32(min(d/exposureUnit, 1<<30))); err != nil {
			return err
		}
	default:
		// Drivers do not agree on the number of automatic; it is what they begin with.
		if err := c.set(ctrlExposureAuto, mode.preset); err != nil {
			c.say("exposure left alone: %v", err)
			return absent(err)
		}
		c.say("exposure automatic")
	}
	if _, ok, err := c.ask(ctrlExposurePriority); err != nil || !ok {
		return err
	}
	if err := c.set(ctrlExposurePriority, 0); err != nil {
		return absent(err)
	}
	c.say("within the rate of pictures")
	return nil
}

// gain sets the sensor's amplification; zero leaves it to the camera.
func (c *controls) gain(value int) error {
	if value <= 0 {
		return nil
	}
	if _, ok, err := c.ask(ctrlAutoGain); err != nil {
		return err
	} else if ok {
		if err := c.set(ctrlAutoGain, 0); absent(err) != nil {
			return err
		}
	}
	return c.number("gain", ctrlGain, int32(min(value, 1<<30)))
}

// number sets a control to the nearest value that it can take.
func (c *controls) number(name string, id uint32, value int32) error {
	has, ok, err := c.ask(id)
	if err != nil {
		return err
	}
	if !ok || has.min > has.max {
		c.say("%s cannot be set", name)
		return nil
	}
	value = min(max(value, has.min), has.max)
	if err := c.set(id, value); err != nil {
		c.say("%s cannot be set: %v", name, err)
		return absent(err)
	}
	c.say("%s %d of %d to %d", name, value, has.min, has.max)
	return nil
}
