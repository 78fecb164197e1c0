// Command rig boots an emulated Raspberry Pi with the gate's own program and
// configuration on it, plays the lane around it, and prints what happened.
// `make rig` runs it.
//
// The kernel's interfaces are real: GPIO, serial ports, USB, I²C, card and
// network. This program is at the far end of each, and of nothing else: it sees
// the lines by the registers of the chip, not by what the gate says. It is a
// module of its own, since it joins a hub with the hardware's far ends.
package main
