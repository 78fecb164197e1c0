package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	card   = "/dev/mmcblk0"
	state  = "/var/lib/greengate"
	tty    = "/dev/ttyS1"
	usbNet = "usb0"
	// address of the machine in QEMU's network, whose 10.0.2.2 is the host.
	address, netmask = "10.0.2.15", "255.255.255.0"
	// unitFile is the unit that is shipped.
	unitFile = "/etc/systemd/system/gated.service"
)

// boot brings the machine up and obeys orders until the console ends.
func boot() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := setClock(); err != nil {
		return err
	}
	if err := insertModules("/modules"); err != nil {
		return err
	}
	if err := appears(card); err != nil {
		return err
	}
	if err := unix.Mount(card, state, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount the card: %w", err)
	}
	if err := bringUp("lo", "127.0.0.1", "255.0.0.0"); err != nil {
		return err
	}
	sensor, err := startSensor()
	if err != nil {
		return err
	}
	unit, err := readUnit(unitFile)
	if err != nil {
		return err
	}
	// USB takes its second, and the gate does not wait for it.
	usb := make(chan error, 1)
	go func() { usb <- network() }()
	s := newSupervisor(unit)
	go s.run()
	o, err := openOffice(s, sensor)
	if err != nil {
		return err
	}
	if err := <-usb; err != nil {
		return err
	}
	return o.serve()
}

// setClock plays the network's time: a board without a clock chip begins in 1970.
func setClock() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(string(line)) {
		text, ok := strings.CutPrefix(word, "rig.clock=")
		if !ok {
			continue
		}
		began, err := strconv.ParseInt(text, 10, 64) // milliseconds, when the power came
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		now := time.UnixMilli(began).Add(uptime())
		tv := unix.NsecToTimeval(now.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			return fmt.Errorf("set the clock: %w", err)
		}
	}
	return nil
}

// uptime is the time since the kernel began.
func uptime() time.Duration {
	var t unix.Timespec
	// CLOCK_BOOTTIME is there in every kernel that runs here.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// insertModules loads the kernel's modules in the order of their names.
func insertModules(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("module %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// appears waits for a file that the kernel makes.
func appears(path string) error {
	for range 600 {
		if _, err := os.Stat(path); err == nil {
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s: not there after half a minute", path)
}

func network() error {
	if err := appears("/sys/class/net/" + usbNet); err != nil {
		return err
	}
	return bringUp(usbNet, address, netmask)
}

// bringUp gives an interface its address and switches it on.
func bringUp(name, address, mask string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(request uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := fill(r); err != nil {
			return err
		}
		return unix.IoctlIfreq(s, request, r)
	}
	ip := func(text string) func(*unix.Ifreq) error {
		var b [4]byte
		_, err := fmt.Sscanf(text, "%d.%d.%d.%d", &b[0], &b[1], &b[2], &b[3])
		return func(r *unix.Ifreq) error { return errors.Join(err, r.SetInet4Addr(b[:])) }
	}
	err = errors.Join(set(unix.SIOCSIFADDR, ip(address)), set(unix.SIOCSIFNETMASK, ip(mask)),
		set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }))
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return nil
}

// startSensor starts the played hardware, which hears orders on a pipe.
func startSensor() (*os.File, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd := exec.Command("/proc/self/exe", "thermometer")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		// It ends with the machine; anything else is worth a line.
		fmt.Println("guest: the thermometer ended:", cmd.Wait())
	}()
	return out, appears("/dev/i2c-1")
}
