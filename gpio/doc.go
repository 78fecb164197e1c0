// Package gpio drives the lane's lights, turnstile relays, contacts, buzzer
// and thermometer.
//
// # Roles
//
// The program knows roles (red light, entry relay, fire input …); which line
// of the board plays a role stands in [Config]. Lines are BCM names, as
// "GPIO17", or the line's number on its chip. Every role may be missing: a
// gate without a buzzer is a configuration, not a special case.
//
// # Safe
//
// Safe is: both relays without current, so that the turnstile is locked, and a
// red light. It is the first thing that [New] drives and the last that
// [Panel.Close] drives. A relay has a maximum on-time of its own, which does
// not need the lane to be alive. What this package cannot do is to lock after
// the process was killed: the kernel then turns the lines into inputs, and a
// pull-down resistor beside the relay has to hold it. Some kernels leave the
// lines as they were instead, so the unit runs `gated -safe` behind each end.
// Nor does it replace the fire and exit releases, which are wired past the computer.
//
// # Wiring
//
// A relay belongs on GPIO 9 or above, not on 14 and 15, active-high, with an
// external pull-down: GPIO 0 to 8 pull up while the board starts, and 14
// carries the boot loader's console. [Config.Validate] refuses anything else
// unless AllowUnsafePins is set.
//
// Contacts connect their pin to ground, with the chip's pull-up (Pull "up",
// the default), or to 3.3 V with a pull-down. The fire input and the tamper
// contact rest closed: a cut wire is a fire, and so is a line that cannot be
// read.
//
// # periph
//
// periph is imported by this folder alone, and [Open] and [OpenThermometer]
// are the only callers of host.Init. Lines are requested as line sets, one
// for each: GPIOLine.Read on an output turns it into an input, and
// GPIOLine.Read on an input hides its errors. WaitForEdge is called with
// short positive timeouts only, because drivers disagree on 0 and -1.
package gpio
