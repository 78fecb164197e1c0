// Package keyboard reads codes from scanners that type them like a keyboard.
//
// The device is taken for this program alone (EVIOCGRAB), so that a code is
// never typed into a console, and its key codes are read as on a US keyboard,
// whatever the layout of the machine: that is what such scanners assume from
// the factory.
package keyboard
