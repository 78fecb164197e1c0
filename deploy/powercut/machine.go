package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules that the kernel needs to see the disk, each after those it needs itself.
var modules = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
	"drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk",
}

// mountData are the mount options of the file system that is tested: the
// kernel's own, with barriers, which are what carries a flush to the disk.
const mountData = "errors=remount-ro"

// machine is a small computer whose disk is logged.
type machine struct {
	dir    string // for its files
	kernel string // a folder that a kernel's package was unpacked to
}

// boot runs this program as a machine's first process, with words of the
// kernel's command line in its environment, until it switches the machine off.
func (m machine) boot(ctx context.Context, disk, log string, env ...string) error {
	kernels, err := filepath.Glob(filepath.Join(m.kernel, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	if len(kernels) != 1 {
		return fmt.Errorf("%s: %d kernels in it, want one", m.kernel, len(kernels))
	}
	initrd := filepath.Join(m.dir, "initramfs")
	if err := m.initramfs(initrd, strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")); err != nil {
		return err
	}
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(log, 4<<30); err != nil { // sparse
		return err
	}
	// The kernel's check of its timer takes a busy host for a broken board. The
	// host need not flush: it is not the one that loses power.
	cmd := exec.CommandContext(ctx, "nice", "-n", "10", "qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-accel", "tcg", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", kernels[0], "-initrd", initrd, "-append", strings.Join(append([]string{"console=ttyS0", "quiet", "no_timer_check", "panic=-1", "reboot=t"}, env...), " "),
		"-blockdev", "driver=file,node-name=f,cache.no-flush=on,filename="+disk,
		"-blockdev", "driver=file,node-name=l,cache.no-flush=on,filename="+log,
		"-blockdev", "driver=blklogwrites,node-name=d,file=f,log=l",
		"-device", "virtio-blk-pci,drive=d,write-cache=on")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("machine: %w: %s", err, out)
	}
	if !bytes.Contains(out, []byte(goodbye)) {
		return fmt.Errorf("machine ended before its work was done: %s", out)
	}
	return nil
}

// initramfs writes a cpio archive of this program and the kernel's modules.
func (m machine) initramfs(path, version string) error {
	var b bytes.Buffer
	add := func(name string, mode uint32, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(data)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, d := range []string{"dev", "proc", "data", "modules", "tmp"} {
		add(d, 0o040755, nil)
	}
	for i, name := range modules {
		data, err := os.ReadFile(filepath.Join(m.kernel, "lib/modules", version, "kernel", name+".ko"))
		if err != nil {
			return err
		}
		add(fmt.Sprintf("modules/%d", i), 0o100644, data)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	add("init", 0o100755, data)
	add("TRAILER!!!", 0, nil)
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// format makes a disk with a file system on all but the marks' room, and lets
// fill put files on it.
func (m machine) format(ctx context.Context, disk string, size int64, fill func(dir string) error) error {
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(disk, size); err != nil {
		return err
	}
	if err := run(ctx, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk, fmt.Sprintf("%dk", (size-markRoom)>>10)); err != nil {
		return err
	}
	return m.mounted(ctx, disk, fill)
}

// mounted mounts a disk's image, which replays the file system's journal as a start of
// the machine does, and unmounts it again.
func (m machine) mounted(ctx context.Context, disk string, work func(dir string) error) (err error) {
	dir := filepath.Join(m.dir, "mounted")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := run(ctx, "mount", "-t", "ext4", "-o", "loop,"+mountData, disk, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run(context.WithoutCancel(ctx), "umount", dir)) }()
	return work(dir)
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
