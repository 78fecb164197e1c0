package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// goodbye is what the machine says when its work is done.
const goodbye = "powercut: done"

// guest is the machine's first process: it mounts the disk, works, and switches off.
func guest(ctx context.Context) {
	err := work(ctx)
	if err == nil {
		fmt.Println(goodbye)
	} else {
		fmt.Println("powercut:", err)
	}
	// Without unmounting: power does not ask. -no-reboot ends the machine.
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("powercut: restart:", err)
	}
}

func work(ctx context.Context) error {
	for _, m := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}} {
		if err := syscall.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[0], err)
		}
	}
	for i, name := range modules {
		if err := insert(fmt.Sprintf("/modules/%d", i)); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	if err := syscall.Mount("/dev/vda", "/data", "ext4", 0, mountData); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	var start int64
	if _, err := fmt.Sscan(os.Getenv("powercut_marks"), &start); err != nil {
		return fmt.Errorf("where marks begin: %w", err)
	}
	m, err := newMarker("/dev/vda", start)
	if err != nil {
		return err
	}
	switch part := os.Getenv("powercut_part"); part {
	case "journal":
		return workJournal(m)
	case "hub":
		return workHub(ctx, m)
	default:
		return fmt.Errorf("no part %q", part)
	}
}

// insert loads a module of the kernel.
func insert(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	none := []byte{0}
	if _, _, e := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&none[0]))); e != 0 {
		return e
	}
	return nil
}

// loopback brings the loopback interface up.
func loopback() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(s)
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); e != 0 {
		return e
	}
	return nil
}
