// Command guest is the first process of the rig's machine. It does what an
// operating system does for the gate: loads the kernel's modules, mounts the
// card, brings the network up, and runs the gate as its unit says. Then it obeys
// the rig. Started again as "guest thermometer" it plays the hardware that QEMU lacks.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "thermometer" {
		if err := playThermometer(os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "thermometer:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the first process of a machine, see deploy/rig/README.md")
		os.Exit(2)
	}
	// The machine ends with its first process; the rig sees why on the console.
	if err := boot(); err != nil {
		fmt.Println("guest:", err)
	}
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("guest: restart:", err)
	}
}
