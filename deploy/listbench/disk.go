package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cardSpeed is how fast the disk of a gate takes bytes, a slow SD card's 10 MB/s.
const cardSpeed = 10 << 20

// throttle slows down what processes write to the disk under a folder.
type throttle struct {
	// how it is done: cgroup1, cgroup2, or none.
	how string
	// why there is none.
	why   error
	group string
}

// newThrottle makes a control group in which the disk under dir is as slow as
// a card. Without the right to, or without a disk under dir, it does nothing,
// and says so.
func newThrottle(dir string) *throttle {
	disk, err := diskUnder(dir)
	if err != nil {
		return &throttle{how: "none", why: err}
	}
	name := fmt.Sprintf("greengate-lists-%d", os.Getpid())
	one := &throttle{how: "cgroup1", group: filepath.Join("/sys/fs/cgroup/blkio", name)}
	err1 := one.make("blkio.throttle.write_bps_device", fmt.Sprintf("%s %d", disk, cardSpeed))
	if err1 == nil {
		return one
	}
	two := &throttle{how: "cgroup2", group: filepath.Join("/sys/fs/cgroup", name)}
	err2 := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+io"), 0)
	if err2 == nil {
		err2 = two.make("io.max", fmt.Sprintf("%s wbps=%d", disk, cardSpeed))
	}
	if err2 == nil {
		return two
	}
	return &throttle{how: "none", why: errors.Join(err1, err2)}
}

func (t *throttle) make(file, limit string) error {
	if _, err := os.Stat(filepath.Dir(t.group)); err != nil {
		return err
	}
	if err := os.Mkdir(t.group, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.group, file), []byte(limit), 0); err != nil {
		return errors.Join(err, os.Remove(t.group))
	}
	return nil
}

// put makes the process one of those that are slowed down.
func (t *throttle) put(pid int) error {
	if t.how == "none" {
		return nil
	}
	return os.WriteFile(filepath.Join(t.group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

func (t *throttle) close() error {
	if t.how == "none" {
		return nil
	}
	return os.Remove(t.group)
}

// diskUnder returns MAJOR:MINOR of the whole disk that dir lies on: a limit on
// a partition is refused.
func diskUnder(dir string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", err
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	device, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", number))
	if err != nil {
		return "", fmt.Errorf("no disk under %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(device, "partition")); err != nil {
		return number, nil
	}
	whole, err := os.ReadFile(filepath.Join(filepath.Dir(device), "dev"))
	return strings.TrimSpace(string(whole)), err
}

// written is how many bytes this process has caused to be written to a disk.
func written() (int64, error) {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	return procField(data, "write_bytes:")
}

// procField reads the number behind a name in a file of /proc.
func procField(data []byte, name string) (int64, error) {
	_, rest, ok := bytes.Cut(data, []byte("\n"+name))
	if !ok {
		return 0, fmt.Errorf("no %s in a file of /proc", name)
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("nothing behind %s in a file of /proc", name)
	}
	return strconv.ParseInt(string(fields[0]), 10, 64)
}

// writeFile writes and flushes the bytes into a new file: the floor of an install.
func writeFile(path string, data []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// forget drops what the kernel has of the file in memory.
func forget(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
